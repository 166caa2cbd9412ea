"""RecBole atomic files: typed tables, links between items and entities, names and texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from spike_dgl.data import Dataset, load_dataset
from spike_dgl.data.audit import audit
from spike_dgl.errors import DataError
from tests.data.tiny import RECBOLE, write_folder

LINK_HEADER = "item_id:token\tentity_id:token\n"
WHOLE = {name: text for name, text in RECBOLE.items() if not name.endswith(".inter")}
OTHER_ITEMS = WHOLE | {"t.link": f"{LINK_HEADER}i1\tm.1\n"}
del OTHER_ITEMS["t.item"]


def named_triples(dataset: Dataset) -> set[tuple[str, str, str]]:
    triples = dataset.triples
    ids, relations = dataset.entities.ids, dataset.relations.ids
    rows = zip(triples.heads, triples.relations, triples.tails, strict=True)
    return {(ids[head], relations[relation], ids[tail]) for head, relation, tail in rows}


def test_everything_that_the_layout_may_hold(tmp_path: Path) -> None:
    dataset = load_dataset(write_folder(tmp_path / "films", RECBOLE))
    assert dataset.users.ids == ("u1", "u2")
    assert dataset.items.ids == ("a", "d", "b", "c")  # first those of .item
    assert dataset.items.names == ("Alien", "Dune", "Blade Runner", "c")  # title, title, entity, raw id
    assert dataset.entities.ids == ("m.1", "item:d", "m.2", "item:c", "m.8", "m.9")
    assert dataset.entities.names == ("Alien", "Dune", "Blade Runner", "c", "m.8", '"Sci" Fi')
    assert dataset.relations.ids == ("film.film.genre", "directed_film")
    assert dataset.relations.names == ("genre", "directed film")
    assert (dataset.train.users.tolist(), dataset.train.items.tolist()) == ([0, 0, 1], [0, 2, 3])
    assert (dataset.valid.users.tolist(), dataset.valid.items.tolist()) == ([1], [0])
    assert (dataset.test.users.tolist(), dataset.test.items.tolist()) == ([0], [3])
    assert named_triples(dataset) == {
        ("m.1", "film.film.genre", "m.9"),
        ("m.2", "film.film.genre", "m.9"),
        ("m.8", "directed_film", "m.1"),
    }
    assert dataset.profiles.entities == {0: "A ship."}
    assert dataset.descriptions.entities == {0: "Genre: Horror. Year: 1979."}
    assert dataset.descriptions.users == {0: "Gender: F. Age group: Under 18."}
    assert dataset.dropped == {}


def test_items_without_link_do_not_take_the_id_of_an_entity(tmp_path: Path) -> None:
    kg = RECBOLE["t.kg"] + "item:c\tdirected_film\tm.1\n"
    dataset = load_dataset(write_folder(tmp_path, RECBOLE, t__kg=kg))
    assert dataset.entities.ids[3] == "item:item:c"
    assert ("item:c", "directed_film", "m.1") in named_triples(dataset)


def test_links_left_out_are_counted(tmp_path: Path) -> None:
    link = f"{LINK_HEADER}a\tm.1\na\tm.1\nb\tm.1\na\tm.9\nc\tm.77\n"
    dataset = load_dataset(write_folder(tmp_path, RECBOLE, t__link=link))
    assert dataset.dropped == {
        "duplicate links": 1,
        "links to an entity that another item has": 1,
        "further links of an item that has one": 1,
    }
    ids = dict(zip(dataset.items.ids, dataset.entities.ids, strict=False))
    assert ids == {"a": "m.1", "d": "item:d", "b": "item:b", "c": "m.77"}


def test_a_linked_item_without_any_interaction_is_an_item(tmp_path: Path) -> None:
    dataset = load_dataset(write_folder(tmp_path, RECBOLE, t__link=f"{LINK_HEADER}a\tm.1\nnew\tm.9\n"))
    row = dataset.items.index("new")
    assert dataset.entities.ids[row] == "m.9"
    assert row in dataset.triples.tails


def test_one_file_of_interactions_is_split_by_time(tmp_path: Path) -> None:
    rows = [f"u1\ti{number}\t{1000 - number}\t1.5" for number in range(10)]
    rows += [rows[0], "u1\ti7\t9999\t1.5"]
    inter = "user_id:token\titem_id:token\ttimestamp:float\trating:float\n" + "\n".join(rows)
    dataset = load_dataset(write_folder(tmp_path, OTHER_ITEMS, t__inter=inter))
    assert [dataset.items.ids[item] for item in dataset.test.items] == ["i0"]
    assert [dataset.items.ids[item] for item in dataset.valid.items] == ["i1"]
    assert len(dataset.train) == 8
    assert dataset.dropped == {"duplicate pairs in interactions": 2}
    assert [dataset.items.ids[item] for item in dataset.train.items] == [f"i{n}" for n in range(2, 10)]
    assert dataset.train.times.tolist() == [1000 - number for number in range(2, 10)]


def test_without_times_the_split_is_random_and_seeded(tmp_path: Path) -> None:
    inter = "user_id:token\titem_id:token\n" + "\n".join(f"u1\ti{number}" for number in range(30))
    folder = write_folder(tmp_path, OTHER_ITEMS, t__inter=inter)
    dataset = load_dataset(folder, seed=1)
    assert [len(part) for part in (dataset.train, dataset.valid, dataset.test)] == [24, 3, 3]
    assert load_dataset(folder, seed=1).split_hash == dataset.split_hash
    assert load_dataset(folder, seed=2).split_hash != dataset.split_hash
    assert len(load_dataset(folder, valid_fraction=0.0).valid) == 0


def test_a_table_may_have_its_columns_in_any_order(tmp_path: Path) -> None:
    kg = "tail_id:token\thead_id:token\trelation_id:token\nm.9\tm.1\tgenre\n"
    dataset = load_dataset(write_folder(tmp_path, RECBOLE, t__kg=kg))
    assert named_triples(dataset) == {("m.1", "genre", "m.9")}


def test_a_description_ends_with_one_full_stop(tmp_path: Path) -> None:
    item = "item_id:token\tplot:token_seq\na\tA ship meets a beast.\n"
    dataset = load_dataset(write_folder(tmp_path, RECBOLE, t__item=item))
    assert dataset.descriptions.entities == {0: "Plot: A ship meets a beast."}


def test_a_sequence_of_numbers_is_checked_but_does_not_describe(tmp_path: Path) -> None:
    item = "item_id:token\tlatent:float_seq\na\t0.5 1e3\n"
    dataset = load_dataset(write_folder(tmp_path, RECBOLE, t__item=item))
    assert dataset.descriptions.entities == {}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("t.link", "item_id:token\tentity_id:words\n", "t.link, line 1: the column 'entity_id:words'"),
        ("t.link", "item_id\tentity_id\n", "does not have one of the types"),
        ("t.link", "item_id:token\tentity:token\na\tb\n", "expected a column entity_id:token, found only"),
        ("t.link", "item_id:float\tentity_id:token\n1\tb\n", "item_id:token, found the type float"),
        ("t.link", "item_id:token\titem_id:token\na\tb\n", "two columns named 'item_id'"),
        ("t.link", LINK_HEADER, "a header but no rows"),
        (
            "t.link",
            f"{LINK_HEADER}a\tm.1\nb\n",
            "t.link, line 3: expected 2 cells separated by tabs, found 1",
        ),
        ("t.link", f"{LINK_HEADER}a\tm.1\n\nb\tm.2\n", "t.link, line 3: expected 2 cells"),
        ("t.link", f"{LINK_HEADER}a\t\n", "t.link, line 2: no entity_id"),
        ("t.item", "item_id:token\tyear:float\na\tlong ago\n", "line 2: expected a finite number as year"),
        ("t.item", "item_id:token\tyear:float\na\tnan\n", "line 2: expected a finite number as year"),
        ("t.item", "item_id:token\tv:float_seq\na\t1 x\n", "line 2: expected a finite number as v"),
        (
            "t.item",
            "item_id:token\nb\na\nb\n",
            "t.item, line 4: the item_id 'b' occurs twice, first in line 2",
        ),
        ("t.entity", "entity_id:token\nm.1\n", "t.entity, line 1: expected a column name"),
        ("t.inter", "user_id:token\titem_id:token\nu\ta\n", "has both t.inter and files of its splits"),
        ("other.inter", "user_id:token\titem_id:token\nu\ta\n", "expected one data set, found other, t"),
    ],
)
def test_broken_tables(tmp_path: Path, file: str, content: str, message: str) -> None:
    folder = write_folder(tmp_path, RECBOLE)
    (folder / file).write_text(content)
    with pytest.raises(DataError, match=message):
        load_dataset(folder)


@pytest.mark.parametrize(
    ("columns", "cell", "message"),
    [
        ("timestamp:token", "1", "the column timestamp has the type token, expected float"),
        ("timestamp:float", "", "t.inter, line 2: no timestamp"),
        ("timestamp:float", " \x0b", "t.inter, line 2: no timestamp"),
        ("timestamp:float", "1 2", "line 2: expected a finite number as timestamp, found '1 2'"),
    ],
)
def test_times_that_are_none(tmp_path: Path, columns: str, cell: str, message: str) -> None:
    inter = f"user_id:token\titem_id:token\t{columns}\nu1\ta\t{cell}\n"
    with pytest.raises(DataError, match=message):
        load_dataset(write_folder(tmp_path, WHOLE, t__inter=inter))


@pytest.mark.parametrize("missing", ["t.kg", "t.link", "t.test.inter", "t.train.inter"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    folder = write_folder(tmp_path, RECBOLE)
    (folder / missing).unlink()
    with pytest.raises(DataError, match=rf"{missing}: no such file"):
        load_dataset(folder)


def test_tables_are_read_as_they_are_written(tmp_path: Path) -> None:
    """Quotes, semicolons and spaces are part of the cell: the format has no quoting."""
    item = 'item_id:token\ttitle:token_seq\na\t"Alien; or, 1979"\n'
    dataset = load_dataset(write_folder(tmp_path, RECBOLE, t__item=item))
    assert dataset.items.names[0] == '"Alien; or, 1979"'


def test_names_of_linked_entities_and_late_pairs(tmp_path: Path) -> None:
    header = "user_id:token\titem_id:token\ttimestamp:float\n"
    train = f"{header}u1\ta\t1\nu1\tb\t6\nu2\tc\t3\n"
    data = load_dataset(
        write_folder(
            tmp_path, RECBOLE, t__train__inter=train, t__link="item_id:token\tentity_id:token\na\tm.2\n"
        )
    )
    assert data.linked_names == {data.items.index("a"): "Blade Runner"}
    assert data.items.names[data.items.index("a")] == "Alien"
    # u1's item b is later than the test pair at time 5; u2's validation pair is the latest.
    late = {found.check: found.count for found in audit(data)}
    assert late["training pairs after validation pairs of their user"] == 0
    assert late["training pairs after test pairs of their user"] == 1


INTER, KG = "user_id:token\titem_id:token\n", "head_id:token\trelation_id:token\ttail_id:token\n"


def numbered(**changes: str) -> dict[str, str]:
    """Return a data set whose ids are whole numbers, with one file spelt differently."""
    files = {
        "t.train.inter": INTER + "1\t10\n1\t20\n2\t30\n",
        "t.test.inter": INTER + "1\t30\n2\t10\n",
        "t.kg": KG + "101\t5\t109\n102\t5\t109\n",
        "t.link": LINK_HEADER + "10\t101\n20\t102\n",
        "t.item": "item_id:token\ttitle:token_seq\tyear:float\n10\tAlien\t1979\n20\tDune\t1984\n",
        "t.user": "user_id:token\tage:float\n1\t33\n",
        "t.entity": "entity_id:token\tname:token_seq\n109\tSpace\n",
    }
    return files | {name.replace("__", "."): text for name, text in changes.items()}


@pytest.mark.parametrize("name", numbered())
def test_ids_that_were_saved_as_floats_in_one_table(tmp_path: Path, name: str) -> None:
    expected = load_dataset(write_folder(tmp_path / "right", numbered()))
    header, *rows = numbered()[name].splitlines()
    as_floats = [
        "\t".join(f"{cell}.0" if cell.isdigit() else cell for cell in row.split("\t")) for row in rows
    ]
    text = "\n".join([header, *as_floats])
    found = load_dataset(write_folder(tmp_path / "floats", numbered(**{name.replace(".", "__"): text})))
    assert found.checksum == expected.checksum
    assert expected.descriptions.entities == {0: "Year: 1979.", 1: "Year: 1984."}


def test_a_fraction_shows_that_ids_are_texts(tmp_path: Path) -> None:
    files = numbered(t__link=LINK_HEADER + "10\t101\n20\t102\n1.5\t107\n10.0\t108\n")
    data = load_dataset(write_folder(tmp_path, files))
    assert {"10", "10.0", "1.5"} <= set(data.items.ids)


def test_values_that_are_missing(tmp_path: Path) -> None:
    files = numbered(
        t__kg=numbered()["t.kg"] + "101\t5\tnan\n102\t5\tnan\nNULL\t5\t109\n",
        t__link=numbered()["t.link"] + "30\tnan\n",
        t__item="item_id:token\ttitle:token_seq\tyear:token\n10\tnan\t1979.0\n20\tDune\tNULL\n30\tNull\t\n",
    )
    data = load_dataset(write_folder(tmp_path, files))
    assert "nan" not in data.entities.ids
    assert data.items.names == ("10", "Dune", "Null")
    assert data.descriptions.entities == {0: "Year: 1979."}
    assert data.dropped == {
        "triples with a missing id": 3,
        "links with a missing id": 1,
        "names and texts that are missing values": 2,
    }


def test_an_interaction_without_an_item_is_an_error(tmp_path: Path) -> None:
    files = numbered(t__test__inter=INTER + "1\t30\n2\tnan\n")
    with pytest.raises(DataError, match=r"t\.test\.inter, line 3: a user or item is missing"):
        load_dataset(write_folder(tmp_path, files))


@pytest.mark.parametrize(
    ("name", "column", "known", "known_from"),
    [
        ("t.link", "item_id", "10", "the interactions"),
        ("t.item", "item_id", "10", "the interactions"),
        ("t.user", "user_id", "1", "the interactions"),
        ("t.entity", "entity_id", "101", "the triples"),
        ("t.kg", "entity_id", "x101", "the triples"),
    ],
)
def test_a_table_that_matches_nothing(
    tmp_path: Path, name: str, column: str, known: str, known_from: str
) -> None:
    header, *rows = numbered()[name].splitlines()
    text = "\n".join([header, *(f"x{row}" for row in rows)]).replace("\t109", "\tx109")
    with pytest.raises(DataError) as caught:
        load_dataset(write_folder(tmp_path, numbered(**{name.replace(".", "__"): text})))
    assert f"matches {known_from}: {column} is " in caught.value.problem
    assert caught.value.problem.endswith(f" here and '{known}' there")
    assert caught.value.file == tmp_path / ("t.link" if name == "t.kg" else name)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_byte_order_mark_says_the_encoding(tmp_path: Path, encoding: str) -> None:
    expected = load_dataset(write_folder(tmp_path, RECBOLE)).checksum
    for name, text in RECBOLE.items():
        (tmp_path / name).write_text(text.replace("\n", "\r"), encoding=encoding, newline="")
    assert load_dataset(tmp_path).checksum == expected


def test_white_space_around_ids_goes(tmp_path: Path) -> None:
    expected = load_dataset(write_folder(tmp_path / "right", numbered())).checksum
    files = numbered(t__link=f"{LINK_HEADER} 10\t101 \n20\t102\n")
    assert load_dataset(write_folder(tmp_path / "wide", files)).checksum == expected


def test_an_id_that_lost_its_last_digits(tmp_path: Path) -> None:
    files = numbered(t__train__inter=numbered()["t.train.inter"] + "1.23457E+12\t20\n")
    with pytest.raises(
        DataError, match=r"t\.train\.inter, line 5: '1\.23457E\+12' .* is not an id: its last digits"
    ):
        load_dataset(write_folder(tmp_path, files))
