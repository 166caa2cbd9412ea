"""What counts as an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_dgl.profiles.llm.answers import Failure, read_body, read_completion, read_error


def completion(text: object, finish: object = "stop", **message: object) -> dict[str, Any]:
    return {
        "choices": [{"message": {"content": text, **message}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3},
        "model": "m",
    }


def reason(body: object, max_words: int = 150) -> str:
    result = read_body(body, max_words).result
    return result.reason if isinstance(result, Failure) else ""


@pytest.mark.parametrize(
    "text",
    [
        "I Can't Help Myself is a song by the Four Tops.",
        "I Can't Make You Love Me is a ballad by Bonnie Raitt.",
        "I’m Sorry is a song by Brenda Lee.",
        "Sorry is a single by Justin Bieber.",
        "Sorry We Missed You follows a delivery driver.",
        "As an album, Kid A divides its listeners.",
        "As an Aide to the president, she sees it all.",
        "I, Robot is a thriller about machines.",
        "Unfortunately, the sequel lost the wit of the first film.",
        "I Am Unable to Sleep is a short film.",
    ],
)
def test_texts_about_titles_that_sound_like_refusals_pass(text: str) -> None:
    assert read_body(completion(text), 150).result == text


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't assist with that request.",
        "I’m sorry, I cannot provide a profile.",
        "I am sorry, but as an AI I have no opinion.",
        "Sorry, I can't do that.",
        "I apologize, but I cannot write about this.",
        "I cannot provide information on this person.",
        "I can’t help with that.",
        "I won't write this.",
        "I'm unable to create a profile for this user.",
        "As an AI language model, I do not have preferences.",
        "As a language model, I lack data.",
        "Unfortunately, I do not have enough information.",
    ],
)
def test_refusals_are_recognised(text: str) -> None:
    assert reason(completion(text)) == "refused"


def test_length_is_counted_in_words_with_some_tolerance() -> None:
    assert reason(completion("word " * 125), max_words=100) == ""
    assert reason(completion("word " * 126), max_words=100) == "too long"


def test_thoughts_are_dropped() -> None:
    assert read_body(completion("<think>\nWell, a film.\n</think>\n\nA film."), 150).result == "A film."
    assert reason(completion("<think>no end")) == "cut off"
    assert reason(completion("<think>only thoughts</think>")) == "empty"


def test_finish_reasons() -> None:
    assert reason(completion("Text", None)) == ""
    assert reason(completion("Text", "length")) == "cut off"
    assert reason(completion("Text", "content_filter")) == "refused"
    assert reason(completion(None, refusal="I will not.")) == "refused"
    assert reason(completion(None, "tool_calls")) == "empty"


@pytest.mark.parametrize(
    "text", ["[]", "{}", "null", "1", '{"choices": []}', '{"choices": [{}]}', "", "<html>"]
)
def test_anything_else_is_unreadable(text: str) -> None:
    result = read_completion(text, 100).result
    assert isinstance(result, Failure)
    assert result.reason == "unreadable"


@pytest.mark.parametrize("body", [completion(["a", "list"]), completion({"a": 1}), completion(3)])
def test_a_content_that_is_no_text_is_unreadable(body: object) -> None:
    assert reason(body) == "unreadable"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "usage", "prompt_tokens", "model"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(JSON)
def test_whatever_a_server_sends_is_an_answer_or_a_failure(body: object) -> None:
    result = read_body(body, 100).result
    assert isinstance(result, Failure) or result.encode("utf-8")


def test_half_characters_do_not_get_through() -> None:
    assert read_completion(json.dumps(completion("A \ud800 film")), 100).result == "A ? film"


def test_error_bodies_of_all_shapes() -> None:
    assert read_error({"error": {"message": "no", "code": "bad"}}) == ("no", "bad")
    assert read_error({"message": "no", "code": None}) == ("no", "")
    assert read_error({"error": "no"}) == ("no", "")
    assert read_error("no") == ("no", "")
    assert read_error(None) == ("", "")
