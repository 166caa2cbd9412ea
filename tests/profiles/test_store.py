"""Store of answers, failures and costs."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spike_dgl.errors import DataError
from spike_dgl.profiles.llm.answers import Completion, Failure
from spike_dgl.profiles.llm.requests import Request
from spike_dgl.profiles.llm.store import Store
from tests.profiles.llm_requests import some_requests

ROOT = Path(__file__).parents[2]


def good(text: str = "A text.") -> Completion:
    return Completion(text, "model-1", 100, 20)


def changed(request: Request, **fields: object) -> Request:
    return Request(**{**{name: getattr(request, name) for name in request.__dataclass_fields__}, **fields})


def test_stored_texts_stay_although_present_rules_reject_them(store: Store) -> None:
    """Check that such answers stay, since they were paid for; `profile quality` counts them."""
    request = some_requests(1)[0]
    text = "The user wants a film.</think>I'm sorry, but I can't help with that."
    store.record(request, Completion(text, "m", 5, 5), 0.1)
    store.import_texts("user", {"ann": "N/A"}, "elsewhere")
    assert store.answers([request.key])[request.key].text == text
    assert store.imported("user")["ann"].text == "N/A"


def test_status_counts_the_latest_request_of_every_node(store: Store) -> None:
    requests = some_requests(5)
    store.plan(requests)
    store.record(requests[0], good(), 0.5)
    store.record(requests[1], Completion(Failure("empty"), "m", 10, 0), 0.25)
    store.record(requests[1], Completion(Failure("timed out")), None)
    (status,) = store.status()
    assert (status.node_type, status.done, status.failed, status.left) == ("item", 1, 1, 3)
    assert (status.usage.responses, status.usage.prompt_tokens, status.usage.cost) == (2, 110, 0.75)
    assert [(f.reason, f.attempts) for f in store.failures()] == [("empty", 1), ("timed out", 1)]
    assert store.rejections(request.key for request in requests) == {requests[1].key: 1}
    store.record(requests[1], good(), None)
    assert store.failures() == ()
    assert store.usage().unpriced == 1
    store.plan([changed(requests[0], prompt="Another prompt")])
    assert store.status()[0].done == 1
    assert store.status()[0].usage.responses == 3
    store.plan(requests)
    assert store.status()[0].done == 2, "an earlier answer counts again when its request comes back"


def test_the_first_answer_stays(store: Store) -> None:
    (request,) = some_requests(1)
    store.record(request, good("First."), 1.0)
    store.record(request, good("Second."), 1.0)
    assert store.answers([request.key])[request.key].text == "First."
    assert store.spent() == 2.0, "but both were paid"


def test_spent_includes_the_cost_of_other_processes(store: Store, tmp_path: Path) -> None:
    requests = some_requests(3)
    with Store.open(tmp_path / "profiles.sqlite") as other:
        store.record(requests[0], good(), 0.5)
        assert store.spent() == other.spent() == 0.5
        other.record(requests[1], good(), 0.25)
        store.record(requests[2], good(), 1.0)
        assert store.spent() == other.spent() == 1.75


def test_claims_are_exclusive_until_released(store: Store, tmp_path: Path) -> None:
    keys = [request.key for request in some_requests(4)]
    store.record(some_requests(1)[0], good(), 0.0)
    with Store.open(tmp_path / "profiles.sqlite") as other:
        assert store.claim(keys[:3]) == set(keys[1:3])
        assert other.claim(keys) == {keys[3]}
        store.release_claims()
        assert other.claim(keys) == set(keys[1:])
    assert store.claim(keys) == set(keys[1:]), "closing releases"


def test_imported_texts_are_answers(store: Store) -> None:
    store.import_texts("user", {"7": "Likes jazz.", "8": "  ", "9": "Likes jazz."}, "profiles.json")
    texts = store.texts("user")
    assert {node: answer.text for node, answer in texts.items()} == {"7": "Likes jazz.", "9": "Likes jazz."}
    assert (texts["7"].model, texts["7"].cost) == ("profiles.json", 0.0)
    assert store.spent() == 0


def test_a_store_can_be_reopened(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "profiles.sqlite"
    (request,) = some_requests(1)
    with Store.open(path) as store:
        store.plan([request])
        store.record(request, good("Über “quotes” 漢字"), 1.0)
    with Store.open(path) as store:
        assert store.texts("item")["0"].text == "Über “quotes” 漢字"
        assert store.spent() == 1.0


@pytest.mark.parametrize(
    "content", [b"not a database, but a text of some length" * 200, b"SQLite format 3\0junk"]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"notes\.txt"):
        Store.open(path)
    assert path.read_bytes() == content


def test_another_program_s_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(DataError, match="is not a store of profiles"):
        Store.open(path)


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "profiles.sqlite"
    with Store.open(path) as store:
        store.database.execute("PRAGMA user_version = 99")
    with pytest.raises(DataError, match="version 99"):
        Store.open(path)


def test_a_damaged_store_says_so(tmp_path: Path) -> None:
    path = tmp_path / "profiles.sqlite"
    requests = some_requests(300)
    with Store.open(path) as store:
        store.plan(requests)
        for request in requests:
            store.record(request, good("text " * 100), 0.0)
    content = bytearray(path.read_bytes())
    content[4096 * 8 : 4096 * 60] = bytes(4096 * 52)
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"), Store.open(path) as store:
        store.texts("item")


@pytest.mark.parametrize("place", ["", "file/inside.sqlite"])
def test_a_path_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be"):
        Store.open(tmp_path / place)


def test_many_processes_may_create_one_store(tmp_path: Path) -> None:
    script = "import sys; from spike_dgl.profiles.llm.store import Store; Store.open(sys.argv[1]).close()"
    command = [sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "profiles.sqlite")]
    started = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate()[1] for process in started] == [""] * 4


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "profiles.sqlite"
    requests = some_requests(120)

    def write(share: list[Request]) -> None:
        with Store.open(path) as store:
            for request in share:
                store.claim([request.key])
                store.record(request, good(), 1.0)

    threads = [threading.Thread(target=write, args=[requests[start::4]]) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Store.open(path) as store:
        assert store.spent() == 120
        assert len(store.answers(request.key for request in requests)) == 120


def test_a_new_file_may_be_opened_by_several_at_the_same_moment(tmp_path: Path) -> None:
    start = threading.Barrier(4)

    def open_all(_: int) -> None:
        for number in range(50):
            start.wait(30)
            with Store.open(tmp_path / f"{number}.sqlite") as store:
                assert store.status() == ()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(open_all, range(4)))
