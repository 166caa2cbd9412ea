"""Extraction of an answer's text from what models and servers put around it.

`STEPS` are applied until none of them changes the text: a code fence may contain JSON, and JSON may contain reasoning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_THOUGHTS = r"think|thinking|thoughts?|reasoning|reflection|scratchpad|analysis|seed:think"
_ANSWERS = r"answer|final_answer|final|response|output|result|solution|profile|paragraph|text"

# The names in angle brackets first; then Mistral, Kimi, OpenThinker, Cohere, MedGemma, Gemma 4.
THOUGHT_OPENS = (
    rf"<(?:{_THOUGHTS})(?:\s[^<>]*)?>|\[THINK\]|◁think▷|<\|begin_of_thought\|>|<\|START_THINKING\|>|<unused94>"
    r"|<\|channel>(?:thought|analysis)"
)
THOUGHT_ENDS = (
    rf"</(?:{_THOUGHTS})\s*>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|<\|END_THINKING\|>|<unused95>"
    r"|<channel\|>"
)
TOKEN = (
    r"<\|[^<>|\n]{1,40}\|>|<｜[^<>｜\n]{1,40}｜>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>"
    r"|<(?:bos|eos|pad|unk)>|\[(?:BOS|EOS|PAD)\]|<0x[0-9A-F]{2}>"
)
"""Special tokens of chat templates, which a server should have removed."""

_THOUGHT_TAG = re.compile(f"(?P<open>{THOUGHT_OPENS})|{THOUGHT_ENDS}", re.IGNORECASE)
_HARMONY = re.compile(
    # gpt-oss, also if a server has removed the special tokens but left the words between them.
    r".*<\|channel\|>\s*final\b[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>"
    r"|^analysis(?=\S).*assistant\s?final(?=\S)|^(?:assistant)?final(?=[A-Z])",
    re.DOTALL,
)
_LEADING_TOKENS = re.compile(rf"^(?:\s*(?:{TOKEN})(?:\s*(?:assistant|model)\b)?)+")
_TOKEN = re.compile(TOKEN)
_FENCE = re.compile(r"^(```|~~~)[\w-]*[ \t]*\n(.*?)\n?\1$|^```([^`\n]+)```$|^`([^`]+)`$", re.DOTALL)
_ANSWER_TAG = re.compile(rf"^<({_ANSWERS})>(.*)</\1>$", re.DOTALL | re.IGNORECASE)

_KIND = r"(?:profile|paragraph|description|summary|answer|response|overview|write-?up|text)"
_YES = (
    r"Sure(?: thing)?|Certainly|Of course|Absolutely|Okay|OK|Alright|Great|Gladly|Got it|Understood|No problem"
    r"|Claro|Por supuesto|Bien sûr|Natürlich|Gerne|Certo|Конечно|当然(?:可以)?|好的"
    r"|もちろん(?:です)?|承知(?:いた)?しました|물론(?:이죠|입니다)?"
)
_HERE = r"以下|下面|这是|Voici|Voilà|Aquí (?:está|tiene)|Aqui está|Hier (?:ist|sind)|Ecco|Вот|Oto|다음은"
_PREFACES = tuple(
    map(
        re.compile,
        (
            # "Sure!", and "Sure, here is ..."; a comma alone may belong to a sentence.
            rf"^(?:{_YES})(?: ?[!！。]+(?!\s*[a-z])|[.,，、](?=\s*(?:[Hh]ere|[Bb]elow|{_HERE})))",
            # A line that announces the answer and ends in a colon.
            rf"^[*_]*(?:[Hh]ere(?:['’]s| is| are)|[Bb]elow is|The following is)\b[^\n]*\b{_KIND}\b[^\n]*:[*_]*\s*\n",
            rf"^(?:{_HERE})[^\n]*[:：]\s*\n|^(?:以下|下面)[^\n。]{{0,60}}[:：]",
            r"^[Hh]ere(?:['’]s| is) (?:a|an|the|your|my) (?:[\w-]+,? ){0,4}?(?:profile|paragraph)\b[^:\n.]*:\s",
            # A heading.
            r"^[#*_ ]*(?:(?:Item|User|Entity|Film|Movie|Book|Music|Artist|Business|Taste|Final) )?"
            r"(?:Profile|Paragraph|Answer|Response|Output)[*_ ]*(?:[:：][*_]*|(?=\n))\s*",
        ),
    )
)
_REMARKS = tuple(
    map(
        re.compile,
        (
            r"\n\s*(?:[-*_]{3,}\s*\n\s*)?(?:(?:Please )?[Ll]et me know|I hope (?:this|that)|Feel free to"
            r"|Would you like me|If you(?:['’]d| would) like me|Is there anything|\(?Note:)[^\n]*$",
            r"\s*[(\[](?i:word count:? *\d+(?: words)?|\d+ words)[)\]]\s*$|\n\s*(?i:word count:? *\d+)[^\n]*$",
        ),
    )
)


def unwrap(text: str, *, prose: bool = True) -> str:
    """Remove reasoning, special tokens, fences, one-field JSON, prefaces and closing remarks from a text.

    Parameters
    ----------
    text
        Answer of a model. Unknown markup stays, and `spike_dgl.profiles.llm.rejections` rejects it.
    prose
        False for an answer in JSON, from which only reasoning, tokens and fences are removed.
    """
    text = _visible(text)
    while True:
        before = text
        for step, for_prose_alone in STEPS.items():
            if prose or not for_prose_alone:
                text = step(text).strip()
        if text == before:
            return text


def _visible(text: str) -> str:
    """Return the text without control characters, and without leading and trailing spaces of any width."""
    kept = "".join(each for each in text if each in "\n\t" or each.isprintable() or ord(each) > 0x9F)
    return kept.strip().strip("\u200b\u200c\u200d\u2060\ufeff\u00ad").strip()


def without_thoughts(text: str) -> str:
    """Return the text outside of reasoning tags; all of it if a tag is not closed.

    Some models' chat templates contain the opening tag. So without one, all text before a closing tag is reasoning.
    """
    kept, start, is_thought = [], 0, False
    for tag in _THOUGHT_TAG.finditer(text):
        if tag["open"]:
            if not is_thought:
                kept.append(text[start : tag.start()])
            is_thought = True
        else:
            if not is_thought:
                kept.clear()
            is_thought, start = False, tag.end()
    return text if is_thought else "".join(kept) + text[start:]


def _final_channel(text: str) -> str:
    before = _HARMONY.match(text)
    return text[before.end() :] if before else text


def _first_turn(text: str) -> str:
    """Return the text up to the first special token that is not leading; all of it if reasoning tags are left."""
    if _THOUGHT_TAG.search(text) or "<|channel" in text:
        return text
    return _TOKEN.split(_LEADING_TOKENS.sub("", text), maxsplit=1)[0]


def _without_fence(text: str) -> str:
    fenced = _FENCE.match(text)
    inside = next(filter(None, fenced.groups()[1:]), "") if fenced else None
    return text if inside is None or "```" in inside else inside


def _without_tag(text: str) -> str:
    tagged = _ANSWER_TAG.match(text)
    return tagged[2] if tagged else text


def _only_field(text: str) -> str:
    """Return the only string in JSON, not counting reasoning, or else the text itself."""
    if not text.startswith(("{", "[", '"')):
        return text
    try:
        inside = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return text
    while isinstance(inside, (Mapping, list)):
        values = _answers(inside) if isinstance(inside, Mapping) else inside
        if len(values) != 1:
            return text
        inside = values[0]
    return inside if isinstance(inside, str) else text


def _answers(fields: Mapping[str, Any]) -> list[Any]:
    return [value for name, value in fields.items() if not re.fullmatch(_THOUGHTS, name, re.IGNORECASE)]


def _without_preface(text: str) -> str:
    for preface in _PREFACES:
        text = preface.sub("", text, count=1).lstrip() or text
    return text


def _without_remark(text: str) -> str:
    for remark in _REMARKS:
        text = remark.sub("", text, count=1).rstrip() or text
    return text


STEPS: Mapping[Callable[[str], str], bool] = {
    _final_channel: False,
    without_thoughts: False,
    _first_turn: False,
    _without_fence: False,
    _without_tag: True,
    _only_field: True,
    _without_preface: True,
    _without_remark: True,
}
"""Steps in order, and whether each is only for prose."""
