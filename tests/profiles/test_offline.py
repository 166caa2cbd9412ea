"""Batches as files: the same store, checks and costs as a server's, in the formats of several engines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spike_dgl.errors import DataError, LanguageModelError
from spike_dgl.profiles import ProfileOptions
from spike_dgl.profiles.llm import offline
from spike_dgl.profiles.llm.batch_lines import read_line
from spike_dgl.profiles.llm.client import ClientOptions
from spike_dgl.profiles.llm.estimate import Budget
from spike_dgl.profiles.llm.generate import generate
from spike_dgl.profiles.llm.offline import ReadAnswers, WrittenRequests, read_answers, write_requests
from spike_dgl.profiles.llm.options import LlmOptions
from spike_dgl.profiles.llm.prices import Price, PriceTable
from spike_dgl.profiles.llm.store import Store
from tests.command_line import run_command
from tests.profiles.films import films
from tests.profiles.openai_server import OpenAIServer

Json = dict[str, Any]
OPTIONS = ProfileOptions(llm=LlmOptions(client=ClientOptions(base_url="http://localhost:1/v1")))
PRICES = PriceTable({"*": Price(input=1000.0, output=1000.0, batch_discount=0.5)}, {}, "", "")
TEXT = "Heat, Ali and Big Fish, directed by Michael Mann with Will Smith: drama about honour and loss in Chicago."


def completion(text: str, finish_reason: str = "stop") -> Json:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 300, "completion_tokens": 40, "total_tokens": 340}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


def of_openai(key: str, text: str) -> Json:
    """A line of OpenAI's output file."""
    response = {"status_code": 200, "request_id": "req_1", "body": completion(text)}
    return {"id": "batch_req_1", "custom_id": key, "response": response, "error": None}


def of_vllm(key: str, text: str) -> Json:
    """A line that ``vllm run-batch`` writes: fields that OpenAI leaves out are null, and usage has details."""
    body = completion(text)
    body["choices"][0] |= {"logprobs": None, "stop_reason": None}
    body["choices"][0]["message"] |= {"refusal": None, "reasoning_content": None, "tool_calls": []}
    body["usage"]["prompt_tokens_details"] = None
    response = {"status_code": 200, "request_id": "vllm-batch-1", "body": body}
    return {"id": "vllm-1", "custom_id": key, "response": response, "error": None}


def of_ray(key: str, text: str) -> Json:
    """A row of Ray Data's processor, with the columns of the request that it carries along."""
    counts = {"num_input_tokens": 300, "num_generated_tokens": 40}
    return {
        "custom_id": key,
        "generated_text": text,
        **counts,
        "method": "POST",
        "url": "/v1/chat/completions",
    }


def write(file: Path, lines: list[Json]) -> Path:
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def keys_of(file: Path) -> list[str]:
    return [json.loads(line)["custom_id"] for line in file.read_text().splitlines()]


def requests(tmp_path: Path, store: Store, **changes: Any) -> tuple[WrittenRequests, list[str]]:
    file = tmp_path / "requests.jsonl"
    file.unlink(missing_ok=True)
    written = write_requests(file, films(), OPTIONS, store, **changes)
    return written, keys_of(file) if file.is_file() else []


@pytest.mark.parametrize("line", [of_openai, of_vllm, of_ray])
def test_stage_by_stage_with_the_answers_of_an_engine(
    line: Callable[[str, str], Json], store: Store, tmp_path: Path
) -> None:
    stages = []
    while True:
        written, keys = requests(tmp_path, store)
        if written.node_type is None:
            break
        stages.append((written.node_type, written.number))
        assert len(keys) == written.number
        answers = write(tmp_path / "answers.jsonl", [line(key, TEXT) for key in keys])
        read = read_answers([answers], films(), OPTIONS, store, Budget(prices=PRICES))
        assert read == ReadAnswers(answered=len(keys))
    assert stages == [("item", 3), ("entity", 4), ("user", 2)]
    assert set(store.texts("item")) == {"Heat", "Ali", "Big_Fish"}
    usage = store.usage()
    assert (usage.prompt_tokens, usage.completion_tokens) == (9 * 300, 9 * 40)


def test_requests_are_those_that_a_server_gets(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    requests(tmp_path, store)
    sent = [json.loads(line)["body"] for line in (tmp_path / "requests.jsonl").read_text().splitlines()]
    with OpenAIServer() as server, Store.open(tmp_path / "other.sqlite") as other:
        asked: list[Json] = []
        server.reply = lambda call: asked.append(call.body)  # type: ignore[assignment, func-returns-value]
        client = ClientOptions(base_url=server.base_url, concurrency=1)
        generate(films(), ProfileOptions(llm=LlmOptions(client=client)), other)
    assert asked[: len(sent)] == sent


def test_answers_are_judged_and_booked_as_those_of_a_server(store: Store, tmp_path: Path) -> None:
    _, (first, second, third) = requests(tmp_path, store)
    refused = {
        "custom_id": second,
        "response": {"status_code": 400, "body": {"error": {"message": "too long"}}},
    }
    off_topic = of_openai(first, "I cannot help with that request.")
    answers = write(tmp_path / "answers.jsonl", [off_topic, refused, of_openai(third, TEXT)])
    read = read_answers([answers], films(), OPTIONS, store, Budget(prices=PRICES))
    assert read == ReadAnswers(answered=1, failed=2)
    assert {failure.reason for failure in store.failures()} == {"refused", "invalid"}
    assert store.usage().prompt_tokens == 600  # the refusal is paid, too
    written, keys = requests(tmp_path, store)  # what failed is asked again
    assert written == WrittenRequests("item", 2)
    assert set(keys) == {first, second}


def test_lines_that_are_missing_are_asked_again_and_answers_count_once(store: Store, tmp_path: Path) -> None:
    _, (first, second, third) = requests(tmp_path, store)
    one, two = (
        write(tmp_path / f"part-{number}.jsonl", [of_openai(key, TEXT)])
        for number, key in enumerate((first, second))
    )
    with one.open("a") as stream:
        stream.write('{"custom_id": "cut sho')
    assert read_answers([one, two], films(), OPTIONS, store) == ReadAnswers(answered=2, missing=1)
    booked = store.usage()
    with pytest.raises(DataError, match="no answer that this store waits for\n  Read answers once"):
        read_answers([one, two], films(), OPTIONS, store)
    assert store.usage() == booked
    assert requests(tmp_path, store)[1] == [third]
    late = write(tmp_path / "late.jsonl", [of_openai(third, TEXT), of_openai(first, TEXT)])
    assert read_answers([late], films(), OPTIONS, store) == ReadAnswers(answered=1, unexpected=1)


def test_nothing_else_asks_what_is_in_a_file(store: Store, tmp_path: Path) -> None:
    _, keys = requests(tmp_path, store)
    assert store.in_batch(keys) == set(keys)
    assert requests(tmp_path, store) == (WrittenRequests("item", 0, 3), [])
    written, again = requests(tmp_path, store, again=True)
    assert (written.number, again) == (3, keys)
    answers = write(tmp_path / "answers.jsonl", [of_openai(key, TEXT) for key in keys])
    assert read_answers([answers], films(), OPTIONS, store).answered == 3


def test_a_mistake_of_the_settings_counts_against_no_node(store: Store, tmp_path: Path) -> None:
    _, keys = requests(tmp_path, store)
    error = {"message": "The model `gpt-4o-mini` does not exist.", "code": "model_not_found"}
    lines = [{"custom_id": key, "response": {"status_code": 404, "body": {"error": error}}} for key in keys]
    with pytest.raises(LanguageModelError, match="model"):
        read_answers([write(tmp_path / "answers.jsonl", lines)], films(), OPTIONS, store)
    assert not list(store.failures())
    answers = write(tmp_path / "answers.jsonl", [of_openai(key, TEXT) for key in keys])
    assert read_answers([answers], films(), OPTIONS, store).answered == 3


def test_a_file_that_cannot_be_written_frees_its_requests(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(offline, "request_line", fail)
    with pytest.raises(DataError, match="No space left on device"):
        requests(tmp_path, store)
    assert list(tmp_path.glob("requests*")) == []
    monkeypatch.undo()
    assert requests(tmp_path, store)[0].number == 3


@pytest.mark.parametrize(
    "content", ["", "[]\n", '{"custom_id": 3}\n', "no json\n", '{"custom_id": "x", "response": 3}\n']
)
def test_a_file_without_answers_is_an_error(content: str, store: Store, tmp_path: Path) -> None:
    requests(tmp_path, store)
    (tmp_path / "answers.jsonl").write_text(content)
    with pytest.raises(DataError, match="has no answer that this store waits for"):
        read_answers([tmp_path / "answers.jsonl"], films(), OPTIONS, store)
    with pytest.raises(DataError, match="cannot be read"):
        read_answers([tmp_path / "missing.jsonl"], films(), OPTIONS, store)


def test_small_portions(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "PORTION", 2)
    _, keys = requests(tmp_path, store)
    assert len(keys) == 3
    answers = write(tmp_path / "answers.jsonl", [of_openai(key, TEXT) for key in keys])
    assert read_answers([answers], films(), OPTIONS, store).answered == 3
    assert store.batches(offline.OFFLINE) == []


def test_a_row_without_counts_is_estimated() -> None:
    assert read_line(b'{"custom_id": "k", "generated_text": "t"}') == (
        "k",
        {
            "choices": [{"message": {"content": "t"}, "finish_reason": "stop"}],
            "model": None,
            "usage": None,
        },
    )


def test_the_commands(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = (
        f"data.path={data_folder}",
        f"profiles.store={tmp_path / 'profiles.sqlite'}",
        "profiles.source=llm",
    )

    def run(*arguments: object) -> tuple[int, str, str]:
        return run_command(monkeypatch, capsys, "profile", *arguments, *settings)

    code, out, _ = run("requests", tmp_path / "requests.jsonl")
    assert code == 0
    assert "requests, node type item" in out
    lines = [of_vllm(key, TEXT) for key in keys_of(tmp_path / "requests.jsonl")]
    answers = write(tmp_path / "answers.jsonl", lines)
    assert "wait for their answers" in run("requests", tmp_path / "more.jsonl")[1]
    code, out, _ = run("answers", answers)
    assert code == 0
    assert f"{len(set(map(json.dumps, lines))):,} rejected" in out.replace("0 answers stored, ", "")
    code, _, error = run("answers", answers)
    assert code == 2
    assert "has no answer that this store waits for" in error
    assert run("answers", "profiles.seed=1")[0] == 2
