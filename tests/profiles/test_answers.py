"""Reading of arbitrary chat completions; `server_replies` has those of real servers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spike_dgl.errors import LanguageModelError
from spike_dgl.profiles.llm.answers import read_body, read_completion, read_usage
from spike_dgl.profiles.llm.client import ClientOptions
from spike_dgl.profiles.llm.connection import server_error
from spike_dgl.profiles.llm.failures import ErrorBody, Failure, read_error
from spike_dgl.profiles.llm.requests import Asked
from spike_dgl.profiles.llm.server_errors import meaning_of

MARKS = '{"persuasiveness": 4, "relevance": 5, "faithfulness": 3}'


def asked(max_words: int = 150, node_type: str = "item") -> Asked:
    return Asked("key", node_type, "m", 400, max_words)


def completion(text: object, finish: object = "stop", **message: object) -> dict[str, Any]:
    return {
        "choices": [{"message": {"content": text, **message}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3},
        "model": "m",
    }


def reason(body: object, max_words: int = 150) -> str:
    result = read_body(body, asked(max_words)).result
    return result.reason if isinstance(result, Failure) else ""


def test_length_is_counted_in_words_with_some_tolerance() -> None:
    words = [f"word{number}" for number in range(126)]
    assert reason(completion(" ".join(words[:125])), max_words=100) == ""
    assert reason(completion(" ".join(words)), max_words=100) == "too long"


def test_a_judge_answers_in_json() -> None:
    for text in (
        MARKS,
        f"```json\n{MARKS}\n```",
        f"<think>Four?</think>{MARKS}<|im_end|>",
        f"Marks: {MARKS}",
    ):
        result = read_body(completion(text), asked(40, "judge")).result
        assert isinstance(result, str)
        assert MARKS in result
    assert reason(completion(MARKS)) == "markup"
    refused = read_body(completion("I cannot assist with that."), asked(40, "judge")).result
    assert isinstance(refused, Failure)


@pytest.mark.parametrize(
    "text", ["[]", "{}", "null", "1", '{"choices": []}', '{"choices": [{}]}', "", "<html>"]
)
def test_other_bodies_are_unreadable(text: str) -> None:
    result = read_completion(text, asked()).result
    assert isinstance(result, Failure)
    assert result.reason == "unreadable"


NAMES = [
    "choices",
    "message",
    "content",
    "usage",
    "prompt_tokens",
    "total_tokens",
    "model",
    "finish_reason",
    "text",
    "type",
    "error",
    "detail",
    "loc",
    "msg",
    "code",
    "param",
    "refusal",
    "reasoning",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(JSON, JSON)
def test_any_body_is_an_answer_or_a_failure(body: object, content: object) -> None:
    for sent in (body, completion(content)):
        read = read_body(sent, asked())
        assert isinstance(read.result, Failure) or read.result.encode("utf-8")
        assert read.prompt_tokens >= 0
        assert read.completion_tokens >= 0


@given(JSON)
def test_any_usage_is_read(usage: object) -> None:
    for sizes in (read_usage({"usage": usage}), read_usage(usage)):
        assert all(isinstance(size, int) and size >= 0 for size in sizes)


def test_lone_surrogates_are_replaced() -> None:
    assert read_completion(json.dumps(completion("A \ud800 film")), asked()).result == "A ? film"


def test_error_bodies_of_all_formats() -> None:
    assert read_error({"error": {"message": "no", "code": "bad"}}) == ErrorBody("no", "bad")
    assert read_error([{"error": {"message": "no", "status": "BAD"}}]) == ErrorBody("no", "BAD")
    assert read_error({"message": "no", "code": None}) == ErrorBody("no")
    assert read_error({"error": "no"}) == ErrorBody("no")
    assert read_error({"detail": "no"}) == ErrorBody("no")
    assert read_error("no") == ErrorBody("no")
    assert read_error(None) == ErrorBody()
    complaint = {"loc": ["body", "seed"], "msg": "no"}
    assert read_error({"detail": [complaint]}) == ErrorBody("body.seed: no", "", "seed")
    assert read_error({"message": {"detail": [complaint]}, "code": 7}) == ErrorBody(
        "body.seed: no", "7", "seed"
    )


@given(JSON)
@example({"detail": [{"loc": 3}]})
@example({"message": "{" * 99_999})
def test_any_error_body_gives_a_message(body: object) -> None:
    for sent in (body, {"detail": body}, {"error": {"message": body, "code": body, "param": body}}):
        read = read_error(sent)
        assert all(isinstance(part, str) for part in (read.message, read.code, read.parameter))


@given(JSON, st.sampled_from([200, 201, 400, 401, 404, 418, 422, 429, 500, 503]), st.text(max_size=9))
def test_any_error_is_classified(body: object, status: int, wait: str) -> None:
    error = server_error(status, {"retry-after": wait}, json.dumps(body).encode())
    assert status < 400 or error is not None
    if error is not None:
        sent = {"model": "m", "seed": 1}
        assert isinstance(meaning_of(error, ClientOptions(), sent), Failure | LanguageModelError)
