"""The SPiKE and KGAT format, file by file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from spike_dgl.data import load_dataset
from spike_dgl.data.audit import audit
from spike_dgl.errors import DataError
from tests.data.tiny import SPIKE, SPIKE_NEEDED, write_folder, write_vectors

NEEDED = {name: SPIKE[name] for name in SPIKE_NEEDED}


def test_everything_that_the_layout_may_hold(tmp_path: Path) -> None:
    dataset = load_dataset(write_folder(tmp_path / "films", SPIKE))
    assert dataset.name == "films"
    assert dataset.users.ids == ("ann", "bob", "carol ann")
    assert dataset.items.ids == ("B01", "B02", "B03", "B04")
    assert dataset.items.names == ("Alien", "Blade Runner", "Casablanca", "Dune")
    assert dataset.entities.ids == ("m.1", "m.2", "m.3", "m.4", "m.5", "m.6")
    assert dataset.entities.names == (*dataset.items.names, "Science fiction", "Ridley Scott")
    assert dataset.relations.ids == ("hasGenre", "http://example.org/ns/film.directed_by")
    assert dataset.relations.names == ("has genre", "directed by")
    assert dataset.train.users.tolist() == [0, 0, 1, 2, 2]
    assert dataset.train.items.tolist() == [0, 1, 2, 0, 3]
    assert (dataset.valid.users.tolist(), dataset.valid.items.tolist()) == ([0], [3])
    assert (dataset.test.users.tolist(), dataset.test.items.tolist()) == ([0, 1], [2, 3])
    assert dataset.triples.heads.tolist() == [0, 1, 2]
    assert dataset.triples.relations.tolist() == [0, 0, 1]
    assert dataset.triples.tails.tolist() == [4, 4, 5]
    assert dataset.profiles.users == {0: "Likes space.", 2: "Likes Paris."}
    assert dataset.profiles.entities == {0: "A ship.", 5: "A director."}  # an empty text is a missing value
    assert dataset.dropped == {}


def test_texts_reviews_and_names_of_linked_entities(tmp_path: Path) -> None:
    files = {
        "user_texts.json": '{"2": "Age 30."}',
        "item_texts.json": '{"1": "A film."}',
        "linked_names.json": '{"0": "Alien (film)"}',
        "reviews.jsonl": "",
    }
    dataset = load_dataset(write_folder(tmp_path, SPIKE | files))
    assert dataset.descriptions.users == {2: "Age 30."}
    assert dataset.descriptions.entities == {1: "A film."}
    assert dataset.linked_names == {0: "Alien (film)"}
    assert dataset.review_file == tmp_path / "reviews.jsonl"


@pytest.mark.parametrize("name", ["user_texts.json", "linked_names.json"])
def test_texts_of_nobody_are_an_error(tmp_path: Path, name: str) -> None:
    folder = write_folder(tmp_path, SPIKE | {name: '{"9": "x"}'})
    with pytest.raises(DataError, match="9 is out of range"):
        load_dataset(folder)


TIMES = {"train_times.txt": "0 5 9\n1 1\n2 8 2\n", "test_times.txt": "0 7\n1 2\n2\n"}


def test_times_say_what_training_knows_of_the_future(tmp_path: Path) -> None:
    dataset = load_dataset(write_folder(tmp_path, SPIKE | TIMES))
    late = {found.check: found.count for found in audit(dataset)}
    assert late["training pairs after test pairs of their user"] == 1
    assert dataset.train.times.tolist() == [5, 9, 1, 2, 8]  # of the pairs by user and item
    assert dataset.train.places(3).tolist() == [0, 1, 0, 0, 1]


@pytest.mark.parametrize(
    "times", ["0 5\n1 1\n2 8 2\n", "0 5 9\n2 1\n1 8 2\n", "0 5 9 1 1\n2 8 2\n", "0 5 9\n1 1\n"]
)
def test_times_of_other_pairs_are_an_error(tmp_path: Path, times: str) -> None:
    folder = write_folder(tmp_path, SPIKE | {"train_times.txt": times})
    with pytest.raises(DataError, match=r"train_times\.txt: does not have the same users .* as train\.txt"):
        load_dataset(folder)


def test_the_needed_files_alone(tmp_path: Path) -> None:
    dataset = load_dataset(write_folder(tmp_path, NEEDED), valid_fraction=0.0)
    sizes = (dataset.num_users, dataset.num_items, dataset.num_entities, dataset.num_relations)
    assert sizes == (3, 4, 6, 2)
    assert dataset.users.ids == dataset.users.names == ("0", "1", "2")
    assert dataset.entities.names == ("0", "1", "2", "3", "4", "5")
    assert len(dataset.valid) == 0
    assert dataset.vectors is None


def test_a_user_may_have_several_lines_and_one_without_items(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, NEEDED, train__txt="0 1\n3\n0 2 3\n1 0\n")
    dataset = load_dataset(folder)
    assert dataset.num_users == 4
    assert dataset.train.items.tolist() == [1, 2, 3, 0]


def test_foreign_line_ends_tabs_blank_lines_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, SPIKE)
    expected = load_dataset(folder).checksum
    for name in ("train.txt", "kg_final.txt", "entity_names.txt", "user_profiles.json"):
        text = SPIKE[name].replace("\n", "\r\n")
        (folder / name).write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n\r\n")
    (folder / "test.txt").write_bytes(SPIKE["test.txt"].replace(" ", "\t").replace("\n", "\r").encode())
    assert load_dataset(folder).checksum == expected


def test_a_zipped_knowledge_graph_in_any_folder_of_the_archive(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, SPIKE)
    expected = load_dataset(folder).checksum
    (folder / "kg_final.txt").unlink()
    with zipfile.ZipFile(folder / "kg_final.txt.zip", "w") as archive:
        archive.writestr("films/kg_final.txt", SPIKE["kg_final.txt"])
        archive.writestr("__MACOSX/films/._kg_final.txt", b"\x00\x05")
    assert load_dataset(folder).checksum == expected


def test_vectors_are_put_into_row_order_with_auxiliary_entities_after_items(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, NEEDED)
    write_vectors(folder)
    vectors = load_dataset(folder).vectors
    assert vectors is not None
    assert vectors.users.dtype == np.float32
    assert vectors.users[:, 0].tolist() == [0, 1, 2]
    assert vectors.entities[:, 0].tolist() == [0, 1, 2, 3, 0, 1]


def test_repeated_pairs_and_triples_are_dropped_and_counted(tmp_path: Path) -> None:
    changes = {"train__txt": "0 0 1 0\n1 2\n0 1\n2 3 0\n", "kg_final__txt": "0 0 4\n1 0 4\n0 0 4\n2 1 5\n"}
    dataset = load_dataset(write_folder(tmp_path, NEEDED, **changes))
    assert dataset.dropped == {"duplicate pairs in train": 2, "duplicate triples": 1}
    assert (len(dataset.train), len(dataset.triples)) == (5, 3)


def test_without_a_validation_file_a_part_is_carved(tmp_path: Path) -> None:
    items = " ".join(map(str, range(20)))
    folder = write_folder(tmp_path, NEEDED, train__txt=f"0 {items}\n", kg_final__txt="0 0 25\n")
    dataset = load_dataset(folder, seed=3)
    assert (len(dataset.train), len(dataset.valid)) == (18, 2)
    assert load_dataset(folder, seed=3).split_hash == dataset.split_hash
    assert load_dataset(folder, seed=4).split_hash != dataset.split_hash


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train.txt", "0 0\n1 9\n", "train.txt, line 2: item 9 is out of range: according to item_list.txt"),
        ("train.txt", "0 0\n5\n", "train.txt, line 2: user 5 is out of range: according to user_list.txt"),
        ("kg_final.txt", "0 0 4\n0 0 6\n", "kg_final.txt, line 2: entity 6 is out of range"),
        ("kg_final.txt", "0 0 4\n0 2 5\n", "kg_final.txt, line 2: relation 2 is out of range"),
        ("item_profiles.json", '{"4": "x"}', "item_profiles.json: item 4 is out of range"),
        ("entity_profiles.json", '{"2": "x"}', "entity 2 is out of range.* 0 to 1"),
        ("entity_names.txt", "a\nb\nc\n", "has 3 lines, but entity_list.txt lists 6"),
        ("entity_list.txt", "org_id remap_id\na 0\nb 0\n", "entity_list.txt, line 3: .* 0 is repeated"),
        ("user_list.txt", "org_id remap_id\na 0\na 1\nb 2\n", "rows 0 and 1 have the same raw id 'a'"),
        ("relation_list.txt", "hasGenre 0\n", "relation_list.txt, line 1: expected the header"),
        ("item_list.txt", "org_id remap_id\nx 0\nB02\n", "item_list.txt, line 3: expected a raw id"),
        ("entity_names.txt", "a\n\nb\nc\nd\ne\n", "entity_names.txt, line 2: expected a name"),
    ],
)
def test_contradictions_between_files(tmp_path: Path, file: str, content: str, message: str) -> None:
    folder = write_folder(tmp_path, SPIKE)
    (folder / file).write_text(content)
    with pytest.raises(DataError, match=message):
        load_dataset(folder)


def test_fewer_names_than_items(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"entity_names.txt: has 2 entities, fewer than the 4 items"):
        load_dataset(write_folder(tmp_path, NEEDED, entity_names__txt="a\nb\n"))


def test_ids_that_nobody_renumbered(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train.txt, line 2: user 978300019 is too large.* only 2 different"):
        load_dataset(write_folder(tmp_path, NEEDED, train__txt="0 1\n978300019 2\n", test__txt="0 3\n"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": np.array([0, 1, 1])}, "the id 1 occurs twice"),
        ({"ids": np.array([0, 1, 3])}, "has 3 rows for 4 nodes; id 2 is missing"),
        ({"ids": np.array([0, -1, 2])}, "the id -1 is out of range"),
        ({"ids": np.array([0, 1])}, "has 2 ids for 3 embeddings"),
        ({"ids": np.array([0.0, 1.0, 2.5])}, "`ids` has shape .* type float64"),
        ({"embeddings": np.zeros(3)}, "`embeddings` has shape"),
        ({"embeddings": np.full((3, 3), np.nan)}, "the vector of id 0 is not finite"),
        ({"embeddings": np.full((3, 3), 1e300)}, "the vector of id 0 is not finite"),
        ({"embeddings": np.array([["a"]] * 3)}, "`embeddings` has shape"),
        ({"embeddings": np.zeros((3, 2))}, "dimension 3, but user_embeddings.npz has dimension 2"),
    ],
)
def test_vectors_that_do_not_fit(tmp_path: Path, changes: dict[str, np.ndarray], message: str) -> None:
    folder = write_folder(tmp_path, NEEDED)
    write_vectors(folder)
    arrays = {"ids": np.arange(3), "embeddings": np.zeros((3, 3))} | changes
    np.savez(folder / "user_embeddings.npz", ids=arrays["ids"], embeddings=arrays["embeddings"])
    with pytest.raises(DataError, match=message):
        load_dataset(folder)


def test_vectors_of_two_kinds_only(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, NEEDED)
    write_vectors(folder)
    (folder / "item_embeddings.npz").unlink()
    with pytest.raises(DataError, match=r"item_embeddings.npz: is missing, although user_embeddings.npz"):
        load_dataset(folder)


def test_an_npz_that_lacks_an_array(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, NEEDED)
    write_vectors(folder)
    np.savez(folder / "item_embeddings.npz", ids=np.arange(4), vectors=np.zeros((4, 3)))
    with pytest.raises(DataError, match=r"no array named 'embeddings', only 'ids', 'vectors'"):
        load_dataset(folder)


def test_times_before_1970(tmp_path: Path) -> None:
    times = {"train_times.txt": "0 -5 9\n1 1\n2 -8 -2\n", "test_times.txt": "0 -7\n1 2\n2\n"}
    dataset = load_dataset(write_folder(tmp_path, SPIKE | times))
    assert dataset.train.times.tolist() == [-5, 9, 1, -2, -8]
    assert dataset.train.places(3).tolist() == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("times", ["0 5 --9\n", "0 5 9-\n", "0 5 - 9\n", "0 5-9\n"])
def test_a_sign_that_is_none(tmp_path: Path, times: str) -> None:
    folder = write_folder(tmp_path, SPIKE | {"train_times.txt": times})
    with pytest.raises(DataError, match=r"train_times\.txt, line 1: expected a whole number, found"):
        load_dataset(folder)


def test_whole_numbers_that_were_saved_as_floats(tmp_path: Path) -> None:
    changes = {
        "user_list__txt": "org_id remap_id\n7.0 0\n8.0 1\n9 2\n",
        "user_profiles__json": '{"0.0": "Likes space.", "2.0": "Likes Paris."}',
    }
    folder = write_folder(tmp_path, SPIKE, **changes)
    write_vectors(folder)
    np.savez(folder / "user_embeddings.npz", ids=np.array([2.0, 0.0, 1.0]), embeddings=np.ones((3, 3)))
    dataset = load_dataset(folder)
    assert dataset.users.ids == ("7", "8", "9")
    assert dataset.profiles.users == {0: "Likes space.", 2: "Likes Paris."}
    assert dataset.vectors is not None


def test_ids_of_which_some_are_no_whole_numbers_stay(tmp_path: Path) -> None:
    listed = "org_id remap_id\n1.0 0\n1.5 1\nnan 2\n"
    assert load_dataset(write_folder(tmp_path, SPIKE, user_list__txt=listed)).users.ids == (
        "1.0",
        "1.5",
        "nan",
    )


def test_names_and_texts_that_are_missing_values(tmp_path: Path) -> None:
    changes = {
        "entity_names__txt": "Alien\nnan\nNull\nDune\nNULL\nRidley Scott\n",
        "user_profiles__json": '{"0": "nan", "2": "Likes Paris."}',
    }
    dataset = load_dataset(write_folder(tmp_path, SPIKE, **changes))
    assert dataset.items.names == ("Alien", "B02", "Null", "Dune")
    assert dataset.entities.names[4:] == ("m.5", "Ridley Scott")
    assert dataset.profiles.users == {2: "Likes Paris."}
    assert dataset.dropped == {"names and texts that are missing values": 2}


def test_all_files_in_utf_16(tmp_path: Path) -> None:
    expected = load_dataset(write_folder(tmp_path, SPIKE)).checksum
    for name, text in SPIKE.items():
        (tmp_path / name).write_text(text, encoding="utf-16")
    assert load_dataset(tmp_path).checksum == expected
