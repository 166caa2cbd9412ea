"""Broken files raise a `DataError` with file and line, and no other error."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spike_dgl.data import load_dataset
from spike_dgl.data.formats.tables import read_table
from spike_dgl.errors import DataError
from tests.data.tiny import RECBOLE, SPIKE, write_folder, write_vectors

HUGE = "9" * 25


@pytest.mark.parametrize(
    ("file", "content", "line", "message"),
    [
        ("train.txt", b"", None, "is empty"),
        ("train.txt", b" \n\n", None, "is empty"),
        ("train.txt", b"0\n1\n", None, "has no user-item pair"),
        ("train.txt", b"0 1\n1 two 3\n", 2, "a whole number of 0 or more, found 'two'"),
        ("train.txt", b"0 1\n\n1 -2 3\n", 3, "a whole number of 0 or more, found '-2'"),
        ("test.txt", b"0 1.5\n", 1, "found '1.5'"),
        ("test.txt", b"0 1_0\n", 1, "found '1_0'"),
        ("test.txt", b"0 1\n\xff\xfe\x00 2\n", 2, "a whole number of 0 or more"),
        ("test.txt", f"0 {HUGE}\n".encode(), 1, "too large"),
        ("test.txt", "0 ١٢\n".encode(), 1, "a whole number of 0 or more, found '١٢'"),
        ("kg_final.txt", b"0 0 4\n1 0\n2 1 5\n", 2, "expected 3 numbers .*, found 2"),
        ("kg_final.txt", b"0 0 4\n1 0 4 7\n", 2, "expected 3 numbers .*, found 4"),
        ("kg_final.txt", b"", None, "is empty"),
        ("entity_names.txt", "Amélie\n".encode("latin-1"), 1, "not UTF-8"),
        ("user_profiles.json", b'{"0": "Likes\n', 1, "broken JSON"),
        ("user_profiles.json", b'["Likes space."]', None, "is a list, not an object"),
        ("user_profiles.json", b'{"0": null}', None, "the id '0' has null, expected a text"),
        ("user_profiles.json", b'{"0": {"a": 1}}', None, "the id '0' has an object, expected"),
        ("user_profiles.json", b'{"ann": "Likes"}', None, "the id 'ann' is not a row number"),
        ("user_profiles.json", b'{"0": "a", "0": "b"}', None, "the id 0 occurs twice"),
        ("user_profiles.json", b'{"0": "\\ud800"}', None, "an incomplete character"),
        ("user_profiles.json", b"[" * 100_000, None, "broken JSON"),
        ("relation_list.txt", b"org_id remap_id\n", None, "a header but no rows"),
    ],
)
def test_a_broken_file_of_the_spike_layout(
    tmp_path: Path, file: str, content: bytes, line: int | None, message: str
) -> None:
    folder = write_folder(tmp_path, SPIKE)
    (folder / file).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(folder)
    assert caught.value.file == folder / file
    assert caught.value.line == line
    assert caught.value.remedy.endswith((".", ")"))


@pytest.mark.parametrize("missing", ["train.txt", "test.txt", "kg_final.txt"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    folder = write_folder(tmp_path, SPIKE)
    (folder / missing).unlink()
    with pytest.raises(DataError, match="no such file") as caught:
        load_dataset(folder)
    assert caught.value.file == folder / missing


def test_a_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, SPIKE)
    (folder / "test.txt").unlink()
    (folder / "test.txt").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        load_dataset(folder)


def not_a_zip(file: Path) -> None:
    file.write_text("0 0 4\n")


def truncated_zip(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("kg_final.txt", SPIKE["kg_final.txt"] * 100)
    file.write_bytes(file.read_bytes()[:200])


def wrong_member(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("kg.txt", SPIKE["kg_final.txt"])


def short_line_inside(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("kg_final.txt", "0 0 4\n1 0\n")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (not_a_zip, "not a readable zip archive"),
        (truncated_zip, "not a readable zip archive"),
        (wrong_member, "one member named kg_final.txt, found 0; the archive has 'kg.txt'"),
        (short_line_inside, "line 2: expected 3 numbers"),
    ],
)
def test_a_broken_zip(tmp_path: Path, write: Callable[[Path], None], message: str) -> None:
    folder = write_folder(tmp_path, SPIKE, kg_final__txt=None)
    write(folder / "kg_final.txt.zip")
    with pytest.raises(DataError, match=message):
        load_dataset(folder)


def test_an_npz_that_is_none(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, SPIKE)
    write_vectors(folder)
    (folder / "item_embeddings.npz").write_text("0 0.1 0.2\n")
    with pytest.raises(DataError, match=r"item_embeddings.npz: not a readable npz file"):
        load_dataset(folder)


@st.composite
def mangled(draw: st.DrawFn, content: bytes) -> bytes:
    """Return a file truncated, with bytes replaced, with a piece removed, or with a piece inserted."""
    position = draw(st.integers(0, len(content) - 1))
    kind = draw(st.sampled_from(["cut", "replace", "remove", "insert"]))
    if kind == "cut":
        return content[:position]
    piece = draw(st.binary(min_size=1, max_size=4) | st.sampled_from([b"\t", b"\n", b" ", b"-", b"9", b'"']))
    removed = 0 if kind == "insert" else draw(st.integers(1, 8)) if kind == "remove" else len(piece)
    return content[:position] + (b"" if kind == "remove" else piece) + content[position + removed :]


@pytest.fixture(scope="module")
def valid_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("valid")
    folders = {
        "spike": write_folder(root / "spike", SPIKE),
        "recbole": write_folder(root / "recbole", RECBOLE),
    }
    write_vectors(folders["spike"])
    folders["zipped"] = write_folder(root / "zipped", SPIKE, kg_final__txt=None)
    whole = RECBOLE["t.train.inter"]
    changes = {"t__train__inter": None, "t__valid__inter": None, "t__test__inter": None, "t__inter": whole}
    folders["whole"] = write_folder(root / "whole", RECBOLE, **changes)
    with zipfile.ZipFile(folders["zipped"] / "kg_final.txt.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("kg_final.txt", SPIKE["kg_final.txt"])
    return folders


@pytest.mark.parametrize(
    ("layout", "pattern"), [("spike", "*"), ("recbole", "*"), ("zipped", "*.zip"), ("whole", "*.inter")]
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_mangled_file_raises_anything_but_a_data_error(
    valid_folders: dict[str, Path], layout: str, pattern: str, data: st.DataObject
) -> None:
    folder = valid_folders[layout]
    file = data.draw(st.sampled_from(sorted(folder.glob(pattern))))
    original = file.read_bytes()
    try:
        file.write_bytes(data.draw(mangled(original)))
        with contextlib.suppress(DataError):
            load_dataset(folder)
    finally:
        file.write_bytes(original)


def test_a_number_may_end_in_any_blank_that_the_check_lets_pass(tmp_path: Path) -> None:
    file = tmp_path / "t.inter"
    file.write_text("user_id:token\ttimestamp:float\nu1\t3\x1c\n", encoding="utf-8")
    assert read_table(file, ["user_id"]).numbers("timestamp").tolist() == [3.0]
