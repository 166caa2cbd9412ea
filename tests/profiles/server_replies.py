"""Replies of real servers to one request, and the expected result of each.

Each row of `ROWS` is a quirk of a server. All rows answer `REQUEST`, so that texts can be checked against its data.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from spike_dgl.profiles.llm.material import system_message, user_message
from spike_dgl.profiles.llm.prompts import load_prompts
from spike_dgl.profiles.llm.requests import CompletionOptions, Request
from tests.profiles.openai_server import Json, Reply

_PROMPT = load_prompts("movies_tv").item
_DATA = {
    "title": ["Heat (1995)"],
    "description": [],
    "facts": [
        "Heat (1995) is directed by Michael Mann.",
        "Heat (1995) stars Al Pacino.",
        "Heat (1995) is of the genre Crime.",
    ],
    "related_facts": [],
    "reviews": [],
}
REQUEST = Request(
    node_type="item",
    node="42",
    system=system_message(_PROMPT),
    prompt=user_message(_PROMPT, _DATA, 3000),
    max_words=_PROMPT.max_words,
    options=CompletionOptions(extra_body={"top_k": 20}),
)

TEXT = (
    "Heat (1995) is Michael Mann's duel of a master thief and a tired detective in Los Angeles. "
    "For those who like crime told slowly and exactly."
)
COUNTED = math.ceil(REQUEST.prompt_bytes / 4), math.ceil(len(TEXT) / 4)
"""Tokens if the server reports none."""
USAGE = {"prompt_tokens": 120, "completion_tokens": 40, "total_tokens": 160}


@dataclass(frozen=True)
class Kept:
    """A text is stored."""

    text: str = TEXT


@dataclass(frozen=True)
class Failed:
    """The node fails with a reason and a detail."""

    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Stops:
    """The run ends at once with a message, and the node does not count as failed."""

    words: str
    more: str = ""


@dataclass(frozen=True)
class SentAgain:
    """The request is retried."""


@dataclass(frozen=True)
class Row:
    """A reply and its expected result.

    Parameters
    ----------
    name
        Server and quirk.
    reply
        Reply of the server.
    becomes
        Expected result.
    tokens
        Tokens of prompt and answer that must be recorded.
    """

    name: str
    reply: Reply
    becomes: Kept | Failed | Stops | SentAgain
    tokens: tuple[int, int] = (120, 40)


def completion(message: Json, finish: object = "stop", usage: object = USAGE, **more: Any) -> Reply:
    """Create a chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return Reply(
        body={
            "id": "1",
            "object": "chat.completion",
            "model": "m",
            "choices": [choice],
            "usage": usage,
            **more,
        }
    )


def says(content: object, finish: object = "stop", **message: object) -> Reply:
    """Create a chat completion with a content."""
    return completion({"content": content, **message}, finish)


def counts(usage: object, content: str = TEXT) -> Reply:
    """Create a chat completion with a usage."""
    return completion({"content": content}, usage=usage)


def named(*rows: tuple[Any, ...]) -> list[Row]:
    """Create rows from name, reply, expected result and tokens."""
    return [Row(*row) for row in rows]


THOUGHTS = "The user wants a film. Title: Heat. I should mention Al Pacino.\n\nOkay."

WRAPPED: Mapping[str, str] = {
    "plain": TEXT,
    "DeepSeek R1": f"<think>\n{THOUGHTS}\n</think>\n\n{TEXT}",
    "Qwen3 with thinking off": f"<think>\n\n</think>\n\n{TEXT}",
    "R1, whose template ends with the opening tag": f"{THOUGHTS}\n</think>\n\n{TEXT}",
    "two thoughts": f"<think>{THOUGHTS}</think><think>again</think>{TEXT}",
    "thoughts about thinking": f"<think>I must end with </think> and then write. {THOUGHTS}</think>\n{TEXT}",
    "thoughts behind": f"{TEXT}\n<think>Was that good?</think>",
    "thinking": f"<thinking>{THOUGHTS}</thinking>\n{TEXT}",
    "Gemini": f"<thought>{THOUGHTS}</thought>{TEXT}",
    "capitals": f"<THINK>{THOUGHTS}</THINK>{TEXT}",
    "Magistral": f"[THINK]{THOUGHTS}[/THINK]{TEXT}",
    "Kimi": f"◁think▷{THOUGHTS}◁/think▷{TEXT}",
    "Seed": f"<seed:think>{THOUGHTS}</seed:think>{TEXT}",
    "OpenThinker": f"<|begin_of_thought|>{THOUGHTS}<|end_of_thought|><|begin_of_solution|>{TEXT}<|end_of_solution|>",
    "Command R": f"<|START_THINKING|>{THOUGHTS}<|END_THINKING|><|START_RESPONSE|>{TEXT}<|END_RESPONSE|>",
    "MedGemma": f"<unused94>thought\n{THOUGHTS}<unused95>{TEXT}",
    "Gemma 4": f"<|channel>thought\n{THOUGHTS}<channel|>{TEXT}",
    "Hunyuan": f"<think>{THOUGHTS}</think>\n<answer>\n{TEXT}\n</answer>",
    "Ernie": f"{THOUGHTS}</think>\n\n<response>\n{TEXT}\n</response>",
    "gpt-oss": f"<|channel|>analysis<|message|>{THOUGHTS}<|end|><|start|>assistant<|channel|>final<|message|>{TEXT}",
    "gpt-oss to the end": f"<|channel|>analysis<|message|>{THOUGHTS}<|channel|>final<|message|>{TEXT}<|return|>",
    "gpt-oss final alone": f"<|start|>assistant<|channel|>final<|message|>{TEXT}<|end|>",
    "gpt-oss without its tokens": f"analysisWe need a profile. {THOUGHTS}assistantfinal{TEXT}",
    "ChatML": f"{TEXT}<|im_end|>",
    "ChatML that goes on": f"{TEXT}<|im_end|>\n<|im_start|>user\nAnd Ali?<|im_end|>\n<|im_start|>assistant\nAli is",
    "ChatML from the start": f"<|im_start|>assistant\n{TEXT}<|im_end|>",
    "Llama 3": f"<|start_header_id|>assistant<|end_header_id|>\n\n{TEXT}<|eot_id|>",
    "Llama 2": f"<s> [/INST] {TEXT} </s>",
    "Gemma": f"<start_of_turn>model\n{TEXT}<end_of_turn>",
    "DeepSeek": f"{TEXT}<｜end▁of▁sentence｜>",
    "GLM": f"<|begin_of_box|>{TEXT}<|end_of_box|>",
    "a fence": f"```\n{TEXT}\n```",
    "a fence with a language": f"```markdown\n{TEXT}\n```",
    "JSON": json.dumps({"profile": TEXT}),
    "JSON in a fence": f"```json\n{json.dumps({'profile': TEXT}, indent=2)}\n```",
    "JSON in JSON": json.dumps({"response": {"text": TEXT}}),
    "JSON with thoughts": json.dumps({"reasoning": THOUGHTS, "profile": TEXT}),
    "a list": json.dumps([TEXT]),
    "a JSON string": json.dumps(TEXT),
    "all of it": f"<think>{THOUGHTS}</think>Sure!\n```json\n{json.dumps({'profile': TEXT})}\n```<|im_end|>",
    "Sure": f"Sure! Here is a concise profile of Heat (1995):\n\n{TEXT}",
    "Certainly": f"Certainly, here's the paragraph you asked for:\n{TEXT}",
    "one line": f"Here is a profile of the film: {TEXT}",
    "bold": f"**Here is the profile:**\n\n{TEXT}",
    "a heading": f"## Profile\n\n{TEXT}",
    "a label": f"**Profile:** {TEXT}",
    "Chinese": f"当然！以下是《盗火线》的简介：\n\n{TEXT}",
    "Japanese": f"もちろんです。以下は紹介文です：\n{TEXT}",
    "French": f"Bien sûr ! Voici le profil du film :\n\n{TEXT}",
    "German": f"Natürlich! Hier ist das Profil:\n\n{TEXT}",
    "a remark": f"{TEXT}\n\nLet me know if you would like another tone!",
    "a word count": f"{TEXT}\n\n(Word count: 31)",
    "words in brackets": f"{TEXT} (31 words)",
    "blanks of no width": f"\ufeff\u200b{TEXT}\u200b\n",
    "control characters": f"\x00{TEXT}\x1b",
    "half a character": f"{TEXT} \ud83d",
}  # fmt: skip

REJECTED: Mapping[str, tuple[str, str]] = {
    "nothing": ("", "empty"),
    "blanks": (" \n\t ", "empty"),
    "blanks of no width": ("\u200b\u2060\ufeff", "empty"),
    "N/A": ("N/A", "empty"),
    "dots": ("...", "empty"),
    "one dot": ("…", "empty"),
    "an object": ("{}", "empty"),
    "a list": ("[]", "empty"),
    "None": ("None", "empty"),
    "null in JSON": ('{"profile": null}', "markup"),
    "nothing in JSON": ('{"profile": ""}', "empty"),
    "nothing but thoughts": (f"<think>{THOUGHTS}</think>", "empty"),
    "nothing but a token": ("<|im_end|>", "empty"),
    "thoughts without end": (f"<think>{THOUGHTS}", "cut off"),
    "thinking without end": (f"<thinking>\n{THOUGHTS}", "cut off"),
    "gpt-oss without an answer": (f"<|channel|>analysis<|message|>{THOUGHTS}<|end|>", "cut off"),
    "gpt-oss without its tokens": (f"analysisWe need a profile. {THOUGHTS}", "cut off"),
    "thoughts that open behind": (f"{TEXT} <think>Was that", "markup"),
    "an escaped tag": (f"&lt;think&gt;{THOUGHTS}&lt;/think&gt;", "markup"),
    "JSON of several fields": (json.dumps({"title": "Heat", "profile": TEXT}), "markup"),
    "JSON that ends early": ('{"profile": "Heat (1995) is a film that', "markup"),
    "a fence in the middle": (f"{TEXT}\n```\nprint('Heat')\n```", "markup"),
    "a call of a tool": ('<tool_call>{"name": "search", "arguments": {"query": "Heat"}}</tool_call>', "markup"),
    "tags of the prompt": (f"<title>Heat (1995)</title> {TEXT}", "markup"),
    "a loop of words": ("Heat is a film " + "about heat and " * 30, "repetitive"),
    "a loop of sentences": (TEXT + " It is a film that everybody should have seen once in a while." * 4, "repetitive"),
    "the answer twice": (f"{TEXT}\n\n{TEXT}", "repetitive"),
    "one letter": ("Heat (1995) is so goo" + "o" * 80, "repetitive"),
    "exclamation marks, as of a model that overflows": ("!" * 400, "empty"),
    "another film": ("A girl finds a doll's house by the sea, and learns to trust her brother again.", "off topic"),
    "a sentence for everything": ("It is a film for those who like to see what it is about.", "off topic"),
    "far too long": (" ".join(f"Heat{number}" for number in range(200)), "too long"),
    "far too long, in characters": ("熱" + "".join(chr(0x4E00 + number) for number in range(600)), "too long"),
    "English": ("I'm sorry, but I can't help with that.", "refused"),
    "no data": ("I don't have enough information to describe this film.", "refused"),
    "a question": ("Could you please provide the film's title?", "refused"),
    "a greeting": ("Hello! How can I assist you today?", "refused"),
    "behind thoughts": ("<think>No.</think>I cannot provide a profile of this.", "refused"),
    "Spanish": ("Lo siento, pero no puedo ayudarte con eso.", "refused"),
    "Portuguese": ("Desculpe, mas não posso ajudar com isso.", "refused"),
    "French": ("Je suis désolé, mais je ne peux pas répondre à cette demande.", "refused"),
    "Italian": ("Mi dispiace, ma non posso aiutarti.", "refused"),
    "German": ("Es tut mir leid, aber ich kann dabei nicht helfen.", "refused"),
    "Dutch": ("Het spijt me, maar ik kan je daar niet mee helpen.", "refused"),
    "Swedish": ("Tyvärr kan jag inte hjälpa dig med det.", "refused"),
    "Polish": ("Przykro mi, ale nie mogę w tym pomóc.", "refused"),
    "Russian": ("Извините, но я не могу помочь с этим.", "refused"),
    "Turkish": ("Üzgünüm, bu konuda yardımcı olamam.", "refused"),
    "Indonesian": ("Maaf, saya tidak dapat membantu.", "refused"),
    "Vietnamese": ("Xin lỗi, tôi không thể giúp bạn.", "refused"),
    "Chinese": ("很抱歉，我无法提供这方面的帮助。", "refused"),
    "Chinese, traditional": ("對不起，我無法協助您。", "refused"),
    "Chinese, as a model": ("作为一个人工智能语言模型，我没有观影体验。", "refused"),
    "Japanese": ("申し訳ございませんが、お手伝いできません。", "refused"),
    "Korean": ("죄송하지만 도와드릴 수 없습니다.", "refused"),
    "Arabic": ("عذراً، لا أستطيع مساعدتك في ذلك.", "refused"),
    "Hindi": ("मुझे खेद है, मैं इसमें मदद नहीं कर सकता।", "refused"),
}  # fmt: skip

COMPLETIONS = named(
    ("Magistral: parts", says([{"type": "thinking", "thinking": [{"type": "text", "text": THOUGHTS}]},
                               {"type": "text", "text": TEXT}]), Kept()),
    ("parts that are texts", says([TEXT[:50], TEXT[50:]]), Kept()),
    ("one part", says({"type": "text", "text": TEXT}), Kept()),
    ("output_text", says([{"type": "output_text", "text": TEXT, "annotations": []}]), Kept()),
    ("parts without any text", says([{"type": "thinking", "thinking": []}]), Failed("empty")),
    ("parts of an unknown kind", says([1, 2]), Failed("unreadable")),
    ("a number", says(3), Failed("unreadable")),
    ("vLLM: thoughts apart", says(TEXT, reasoning_content=THOUGHTS, tool_calls=[]), Kept()),
    ("Ollama: all of it thoughts", says("", reasoning=THOUGHTS), Failed("empty", "only reasoning")),
    ("Ollama: thoughts to the limit", says("", "length", reasoning=THOUGHTS), Failed("cut off", "during reasoning")),
    ("cut off", says(TEXT[:60], "length"), Failed("cut off")),
    ("Mistral: cut off", says(TEXT[:60], "model_length"), Failed("cut off")),
    ("TGI: ended", says(TEXT, "eos_token"), Kept()),
    ("Azure: filtered", completion({}, "content_filter"), Failed("refused")),
    ("Gemini: filtered", completion({}, "content_filter: PROHIBITED_CONTENT"), Failed("refused")),
    ("OpenAI: refusal apart", says(None, refusal="I can't."), Failed("refused")),
    ("DeepSeek: out of resources", says("Heat", "insufficient_system_resource"), Failed("server error")),
    ("OpenRouter: broken off, and paid",
     Reply(body={"choices": [{"error": {"code": 502, "message": "Provider returned error"}, "finish_reason": "error",
                              "message": {"role": "assistant", "content": "Heat is"}}], "usage": USAGE}),
     Failed("server error", "Provider returned error")),
    ("Gemini: thoughts in the sum alone", counts({**USAGE, "total_tokens": 900}), Kept(), (120, 780)),
    ("usage under other names", counts({"input_tokens": 7, "output_tokens": 3}), Kept(), (7, 3)),
    ("usage as text", counts({"prompt_tokens": "7", "completion_tokens": "3"}), Kept(), (7, 3)),
    ("no usage", counts(None), Kept(), COUNTED),
    ("usage of zeros", counts({"prompt_tokens": 0, "completion_tokens": 0}), Kept(), COUNTED),
    ("usage that is no object", counts([1]), Kept(), COUNTED),
    ("a rejected answer without usage", counts(None, "word " * 300), Failed("too long"), (COUNTED[0], 375)),
    ("no choice, but usage", Reply(body={"choices": [], "usage": USAGE}), Failed("unreadable")),
    ("half a document", Reply(body=b'{"id": "1", "choices": [{"mess'), Failed("unreadable"), (0, 0)),
    ("a stream", Reply(body=b'data: {"choices": [{"delta": {}}]}\n\ndata: [DONE]\n'), Failed("unreadable"), (0, 0)),
)  # fmt: skip


def _read_error(entry: Mapping[str, Any]) -> Row:
    """Create a row from an entry of ``server_errors.yaml``."""
    content = json.dumps(entry["body"]) if "body" in entry else entry["text"]
    becomes: Kept | Failed | Stops | SentAgain = SentAgain()
    if "fails" in entry:
        becomes = Failed(entry["fails"])
    elif "stops" in entry:
        becomes = Stops(*entry["stops"])
    return Row(entry["name"], Reply(entry["status"], entry.get("headers", {}), content.encode()), becomes)


ERRORS = list(map(_read_error, yaml.safe_load(Path(__file__).with_name("server_errors.yaml").read_text())))

ROWS = [
    *(Row(f"text: {name}", says(content), Kept(TEXT if "half" not in name else f"{TEXT} ?"))
      for name, content in WRAPPED.items()),
    *(Row(f"rejected: {name}", says(content), Failed(reason))
      for name, (content, reason) in REJECTED.items()),
    *COMPLETIONS,
    *ERRORS,
]  # fmt: skip
