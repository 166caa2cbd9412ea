"""Preparation of MovieLens CSV files is correct, reproducible and atomic."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spike_dgl.data
from spike_dgl.config import build
from spike_dgl.data.dataset import Interactions
from spike_dgl.data.load import load_dataset
from spike_dgl.data.prepare.film_titles import readable_title, title_year
from spike_dgl.data.prepare.interactions import InteractionLog, first_of_each_pair, k_core
from spike_dgl.data.prepare.knowledge import attribute, link, without_rare
from spike_dgl.data.prepare.movielens import MovieLensOptions, movielens
from spike_dgl.data.prepare.pipeline import prepare as prepare_source
from spike_dgl.data.prepare.write import new_folder
from spike_dgl.errors import ConfigError, DataError

BUNDLED = Path(spike_dgl.data.__file__).parent / "movielens"
PROFILES = ("PROFILES.md", *(f"{kind}_profiles.json.gz" for kind in ("user", "item", "entity")))

# Film 30 is liked by one user, and user 9 likes one film: neither is in the 2-core. Film 7 has no enriched row.
RATINGS = """userId,movieId,rating,timestamp
2,7,4.0,30
2,100,5.0,10
2,20,4.5,20
10,7,4.0,3
10,20,5.0,1
10,100,4.0,2
10,30,5.0,4
9,7,5.0,1
9,100,3.5,1
"""
MOVIES = """movieId,title,genres
7,"Wild Bunch, The (1969)",Western
20,"City of Lost Children, The (Cité des enfants perdus, La) (1995)",Drama|Sci-Fi
30,Alone (1999),Drama
100,Babylon 5,(no genres listed)
"""
ENRICHED = """movieId,released,title,actors,director,genres,imdbRating
20,1996-01-05,"City of Lost Children, The",Ron Perlman| Clint Eastwood |Rare Face,Jean-Pierre Jeunet,Drama,7.7
100,1994-01-26,Babylon 5,Ron Perlman|Ron Perlman,Clint Eastwood,Drama|Western,8.0
4000,2001-01-01,Not Listed,Ron Perlman,Nobody,Drama,1.0
"""
OPTIONS = MovieLensOptions(k_core=2, valid_fraction=0.3, test_fraction=0.3)


def prepare(
    source: Path, destination: Path, options: MovieLensOptions | None = None, overwrite: bool = False
) -> dict[str, Any]:
    return prepare_source(movielens(source, options or MovieLensOptions()), destination, overwrite=overwrite)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    for name, text in {
        "ratings.csv": RATINGS,
        "movies.csv": MOVIES,
        "movies_enriched.csv": ENRICHED,
        "README.txt": "terms\n",
    }.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def made(source: Path, tmp_path: Path) -> Path:
    prepare(source, tmp_path / "made", OPTIONS)
    return tmp_path / "made"


def lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


class TestFolder:
    def test_raw_ids_are_numbered_by_value(self, made: Path) -> None:
        assert lines(made / "user_list.txt") == ["org_id remap_id", "2 0", "10 1"]
        assert lines(made / "item_list.txt") == ["org_id remap_id", "7 0", "20 1", "100 2"]

    def test_each_user_is_split_by_time(self, made: Path) -> None:
        # Order in time: user 2 has 100, 20, 7; user 10 has 20, 100, 7.
        assert lines(made / "train.txt") == ["0 2", "1 1"]
        assert lines(made / "valid.txt") == ["0 1", "1 2"]
        assert lines(made / "test.txt") == ["0 0", "1 0"]

    def test_entities_are_items_first_with_readable_names(self, made: Path) -> None:
        assert lines(made / "entity_names.txt") == [
            "The Wild Bunch (1969)",
            "The City of Lost Children (La Cité des enfants perdus) (1995)",
            "Babylon 5",
            "1990s",
            "Drama",
            "Western",
            "Clint Eastwood",
            "Ron Perlman",
        ]
        assert [line.split()[0] for line in lines(made / "entity_list.txt")[1:]] == [
            "movie:7",
            "movie:20",
            "movie:100",
            "decade:1990s",
            "genre:Drama",
            "genre:Western",
            "person:Clint_Eastwood",
            "person:Ron_Perlman",
        ]

    def test_triples_link_films_across_the_roles_of_a_person(self, made: Path) -> None:
        assert lines(made / "relation_list.txt") == [
            "org_id remap_id",
            "starring 0",
            "directed_by 1",
            "has_genre 2",
            "released_in 3",
        ]
        # Only the enriched table has genres of film 100. Science fiction and the 1960s occur with one film only.
        assert lines(made / "kg_final.txt") == [
            "0 2 5",
            *("1 0 6", "1 0 7", "1 2 4", "1 3 3"),
            *("2 0 7", "2 1 6", "2 2 4", "2 2 5", "2 3 3"),
        ]

    def test_the_licence_travels_along(self, source: Path, made: Path) -> None:
        assert (made / "README.txt").read_bytes() == (source / "README.txt").read_bytes()

    def test_the_card_tells_the_whole_story(self, source: Path, made: Path) -> None:
        card = json.loads((made / "dataset.json").read_text(encoding="utf-8"))
        assert card["options"].keys() == {field.name for field in dataclasses.fields(MovieLensOptions)}
        assert card["options"]["min_rating"] == 4.0
        assert card["options"]["valid_fraction"] == 0.3
        assert card["interaction_steps"]["ratings"] == {"users": 3, "items": 4, "interactions": 9}
        assert card["interaction_steps"]["min_rating"] == {"users": 3, "items": 4, "interactions": 8}
        assert card["interaction_steps"]["k_core"] == {"users": 2, "items": 3, "interactions": 6}
        assert card["films"] == {"films": 4, "enriched_rows": 3, "films_with_people": 2}
        assert card["statistics"]["triples"] == len(lines(made / "kg_final.txt"))
        assert card["statistics"]["entities"] == len(lines(made / "entity_names.txt"))
        assert "10.1145/2827872" in card["citation"]
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in contents(made).items()}
        assert card["outputs"] == {name: value for name, value in hashes.items() if name != "dataset.json"}
        inputs = {name: hashlib.sha256(data).hexdigest() for name, data in contents(source).items()}
        assert card["inputs"] == inputs

    def test_twice_gives_identical_bytes_wherever_it_is_made(
        self, source: Path, made: Path, tmp_path: Path
    ) -> None:
        other = tmp_path / "elsewhere" / "named otherwise"
        prepare(source, other, OPTIONS)
        assert contents(other) == contents(made)

    def test_without_enriched_table_genres_and_decades_remain(self, source: Path, tmp_path: Path) -> None:
        (source / "movies_enriched.csv").unlink()
        card = prepare(source, tmp_path / "plain", MovieLensOptions(k_core=2, min_entity_items=1))
        assert lines(tmp_path / "plain" / "entity_names.txt")[3:] == [
            "1960s",
            "1990s",
            "Drama",
            "Sci-Fi",
            "Western",
        ]
        assert card["statistics"]["items_without_kg"] == 1

    def test_a_repeated_pair_counts_once_at_its_earliest_time(self, source: Path, tmp_path: Path) -> None:
        with (source / "ratings.csv").open("a") as file:
            file.write("2,100,4.0,99\n")
        card = prepare(source, tmp_path / "made", OPTIONS)
        assert card["interaction_steps"]["min_rating"]["interactions"] == 9
        assert card["interaction_steps"]["distinct_pairs"]["interactions"] == 8
        assert lines(tmp_path / "made" / "train.txt")[0] == "0 2"


class TestBrokenInput:
    @pytest.mark.parametrize(
        ("file", "old", "new", "line", "problem"),
        [
            ("ratings.csv", "2,100,5.0,10", "2,100,good,10", 3, "'good' in column 'rating' is not a number"),
            ("ratings.csv", "2,100,5.0,10", "2,100,nan,10", 3, "'nan' in column 'rating'"),
            (
                "ratings.csv",
                "2,100,5.0,10",
                "2,1.5,5.0,10",
                3,
                "'1.5' in column 'movieId' is not a whole number",
            ),
            ("ratings.csv", "2,100,5.0,10", f"2,100,5.0,{2**70}", 3, "in column 'timestamp'"),
            ("ratings.csv", "2,100,5.0,10", "2,100,5.0", 3, "3 columns where the header has 4"),
            ("ratings.csv", "userId,", "user,", 1, "no column 'userId'"),
            ("ratings.csv", RATINGS, "", 1, "no column 'userId'"),
            ("movies.csv", "Alone (1999)", '"Alone (1999)', 4, "not valid CSV"),
            ("movies.csv", "30,Alone", "20,Alone", 4, "film 20 has a second row"),
            ("movies.csv", "Alone (1999)", "", 4, "film 30 has no title"),
            # The title of film 100 has no year, so the date is used.
            ("movies_enriched.csv", "1994-01-26", "soon", 3, "'soon' in column 'released'"),
        ],
    )
    def test_names_file_line_and_problem(
        self,
        source: Path,
        tmp_path: Path,
        file: str,
        old: str,
        new: str,
        line: int,
        problem: str,
    ) -> None:
        text = (source / file).read_text(encoding="utf-8")
        assert old in text
        (source / file).write_text(text.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(DataError) as caught:
            prepare(source, tmp_path / "made", OPTIONS)
        assert caught.value.file == source / file
        assert caught.value.line == line
        assert problem in caught.value.problem
        assert not (tmp_path / "made").exists()

    def test_films_and_ratings_of_two_archives(self, source: Path, tmp_path: Path) -> None:
        (source / "movies.csv").write_text(MOVIES.replace("100,Babylon", "101,Babylon"))
        with pytest.raises(DataError, match=r"movies\.csv: has no row for 1 of the rated films, such as 100"):
            prepare(source, tmp_path / "made", OPTIONS)

    def test_text_that_is_not_utf8(self, source: Path, tmp_path: Path) -> None:
        (source / "movies.csv").write_bytes(MOVIES.encode("latin-1"))
        with pytest.raises(DataError, match=r"movies\.csv, line 3: is not UTF-8"):
            prepare(source, tmp_path / "made", OPTIONS)

    @pytest.mark.parametrize("name", ["ratings.csv", "movies.csv", "README.txt"])
    def test_missing_file(self, source: Path, tmp_path: Path, name: str) -> None:
        (source / name).unlink()
        with pytest.raises(DataError, match=f"{name}: is missing"):
            prepare(source, tmp_path / "made", OPTIONS)

    def test_nothing_left_after_filtering(self, source: Path, tmp_path: Path) -> None:
        with pytest.raises(
            DataError, match=r"of 9 ratings, 8 are at least 4\.0, and none is left in their 5-core"
        ):
            prepare(source, tmp_path / "made")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]

    def test_options_out_of_range(self) -> None:
        with pytest.raises(ConfigError, match=r"movielens\.k_core: .*greater than or equal to 1; got 0"):
            build(MovieLensOptions, {"k_core": 0}, "movielens")


class TestDestination:
    def test_a_data_set_is_replaced_only_on_demand(self, source: Path, made: Path) -> None:
        (made / "stale.txt").touch()
        with pytest.raises(DataError, match="already has a data set"):
            prepare(source, made, OPTIONS)
        prepare(source, made, MovieLensOptions(k_core=1), overwrite=True)
        assert json.loads((made / "dataset.json").read_text())["options"]["k_core"] == 1
        assert not (made / "stale.txt").exists()
        assert sorted(path.name for path in made.parent.iterdir()) == ["made", "raw"]

    def test_any_other_folder_is_never_replaced(self, source: Path) -> None:
        before = contents(source)
        with pytest.raises(DataError, match="not a prepared data set"):
            prepare(source, source, OPTIONS, overwrite=True)
        assert contents(source) == before

    def test_an_empty_folder_may_be_there(self, source: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        prepare(source, tmp_path / "empty", OPTIONS)
        assert (tmp_path / "empty" / "dataset.json").is_file()

    def test_failure_midway_leaves_what_was_there(self, made: Path) -> None:
        before = contents(made)

        def write_until_the_disk_is_full() -> None:
            with new_folder(made, overwrite=True) as folder:
                (folder / "train.txt").write_text("0 1\n")
                raise OSError(28, "No space left on device")

        with pytest.raises(DataError, match="cannot be written: No space left on device"):
            write_until_the_disk_is_full()
        assert contents(made) == before
        assert sorted(path.name for path in made.parent.iterdir()) == ["made", "raw"]

    def test_a_swap_that_fails_puts_the_old_folder_back(
        self, source: Path, made: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before, rename = contents(made), Path.rename

        def refuse_the_new_folder(self: Path, target: Path) -> Path:
            if ".partial-" in self.name:
                raise OSError(5, "Input/output error")
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", refuse_the_new_folder)
        with pytest.raises(DataError, match="Input/output error"):
            prepare(source, made, OPTIONS, overwrite=True)
        assert contents(made) == before


pairs = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), unique=True, max_size=60)


class TestInteractions:
    @given(pairs, st.integers(1, 4))
    def test_k_core_is_the_largest_part_with_k_each(self, rows: list[tuple[int, int]], k: int) -> None:
        users, items = np.array(rows, np.int64).reshape(-1, 2).T
        core = k_core(InteractionLog.from_raw(users, items, np.arange(len(rows))), k)
        found = set(zip(core.user_ids[core.users].tolist(), core.item_ids[core.items].tolist(), strict=True))
        expected = set(rows)
        while True:  # remove one violating pair at a time: the order does not matter
            offender = next(
                (
                    pair
                    for pair in expected
                    if sum(pair[0] == u for u, _ in expected) < k
                    or sum(pair[1] == i for _, i in expected) < k
                ),
                None,
            )
            if offender is None:
                break
            expected.remove(offender)
        assert found == expected

    def test_of_repeated_pairs_the_earliest_stays(self) -> None:
        log = InteractionLog.from_raw(np.array([1, 1, 2]), np.array([5, 5, 5]), np.array([9, 3, 7]))
        assert first_of_each_pair(log).times.tolist() == [3, 7]


class TestLink:
    def test_an_entity_of_one_item_in_two_roles_is_still_of_one_item(self) -> None:
        facts = [
            attribute("movie:1", "starring", "person", "A B"),
            attribute("movie:1", "directed_by", "person", "A B"),
            attribute("movie:1", "starring", "person", "C"),
            attribute("movie:2", "starring", "person", "C"),
        ]
        graph = link(facts, {"movie:1": "One", "movie:2": "Two"}, ["starring", "directed_by"])
        graph = without_rare(graph, min_items=2)
        assert graph.entity_ids == ("movie:1", "movie:2", "person:C")
        assert graph.triples.heads.tolist() == [0, 1]
        assert graph.triples.tails.tolist() == [2, 2]

    def test_no_fact_at_all(self) -> None:
        graph = without_rare(link([], {"movie:1": "One"}, ["starring"]), min_items=2)
        assert graph.counts() == {"entities": 1, "relations": 0, "triples": 0}

    def test_kinds_are_kept_apart(self) -> None:
        facts = [attribute("m", "has_genre", "genre", "War"), attribute("m", "starring", "person", "War")]
        assert link(facts, {"m": "M"}, ["has_genre", "starring"]).counts()["entities"] == 3


class TestTitles:
    @pytest.mark.parametrize(
        ("raw", "readable"),
        [
            ("Silence of the Lambs, The (1991)", "The Silence of the Lambs (1991)"),
            ("Fish Called Wanda, A (1988)", "A Fish Called Wanda (1988)"),
            ("American in Paris, An (1951)", "An American in Paris (1951)"),
            ("Bear, The (Ours, L') (1988)", "The Bear (L'Ours) (1988)"),
            (
                "Macbeth (a.k.a. Tragedy of Macbeth, The) (1971)",
                "Macbeth (a.k.a. The Tragedy of Macbeth) (1971)",
            ),
            ("Crow, The: Wicked Prayer (2005)", "The Crow: Wicked Prayer (2005)"),
            ("Good, the Bad and the Ugly, The (1966)", "The Good, the Bad and the Ugly (1966)"),
            ("Blind Side, The  (2009) ", "The Blind Side (2009)"),
            ("Tinker, Tailor, Soldier, Spy (1979)", "Tinker, Tailor, Soldier, Spy (1979)"),
            ("Paris, Texas (1984)", "Paris, Texas (1984)"),
            ("Se7en, The Hairy Bird (1998)", "Se7en, The Hairy Bird (1998)"),
            ("Frontière(s) (2007)", "Frontière(s) (2007)"),
            ("Babylon 5", "Babylon 5"),
            ("The OA", "The OA"),
        ],
    )
    def test_article_comes_first(self, raw: str, readable: str) -> None:
        assert readable_title(raw) == readable

    @given(st.text(alphabet="aT ,()'", max_size=30))
    def test_no_letter_is_lost(self, title: str) -> None:
        def letters(text: str) -> list[str]:
            return sorted(text.replace(" ", "").replace(",", ""))

        assert letters(readable_title(title + ", The")) == letters(title + ", The")

    @pytest.mark.parametrize(
        ("title", "year"),
        [
            ("Heat (1995)", 1995),
            ("Heat (1995) ", 1995),
            ("Death Note: Desu nôto (2006–2007)", 2006),
            ("1984", None),
            ("Jonah (qui aura 25 ans en l'an 2000)", None),
            ("(500) Days of Summer (2009)", 2009),
        ],
    )
    def test_year_ends_the_title(self, title: str, year: int | None) -> None:
        assert title_year(title) == year


class TestBundled:
    def test_is_what_prepare_makes(self, shared_data: Path, tmp_path: Path) -> None:
        prepare(shared_data / "movielens-small", tmp_path / "again", MovieLensOptions(ties="item"))
        again, bundled = contents(tmp_path / "again"), contents(BUNDLED)
        for name in PROFILES:
            del bundled[name]
        card = json.loads(bundled.pop("dataset.json"))
        del card["profiles"]
        assert card == json.loads(again.pop("dataset.json"))
        assert again == bundled

    def test_is_small_and_carries_its_licence(self) -> None:
        assert sum(file.stat().st_size for file in BUNDLED.iterdir()) <= 2_000_000
        assert "may redistribute the data set" in (BUNDLED / "README.txt").read_text(encoding="utf-8")

    def test_checksums_hold(self) -> None:
        card = json.loads((BUNDLED / "dataset.json").read_text(encoding="utf-8"))
        found = {name: hashlib.sha256(data).hexdigest() for name, data in contents(BUNDLED).items()}
        del found["dataset.json"], found["PROFILES.md"]
        assert card["outputs"] | card["profiles"]["files"] == found

    def test_profiles_are_of_this_split_and_of_every_node(self) -> None:
        dataset = load_dataset("movielens")
        card = json.loads((BUNDLED / "dataset.json").read_text(encoding="utf-8"))
        assert card["profiles"]["split_hash"] == dataset.split_hash
        assert dataset.profiles.users.keys() == set(range(dataset.num_users))
        assert dataset.profiles.entities.keys() == set(range(dataset.num_entities))
        for row, title in enumerate(dataset.items.names):
            assert dataset.profiles.entities[row].startswith(title[:8])

    def test_parts_are_disjoint_and_every_user_is_in_each(self) -> None:
        parts = [read_pairs(BUNDLED / f"{split}.txt") for split in ("train", "valid", "test")]
        num_users = len(lines(BUNDLED / "user_list.txt")) - 1
        num_items = len(lines(BUNDLED / "item_list.txt")) - 1
        together = np.concatenate([part.keys(num_items) for part in parts])
        assert len(np.unique(together)) == len(together)
        assert all(len(np.unique(part.users)) == num_users for part in parts)

    def test_ids_and_names_are_well_formed(self) -> None:
        for name in ("user_list", "item_list", "entity_list", "relation_list"):
            rows = [line.split(" ") for line in lines(BUNDLED / f"{name}.txt")[1:]]
            assert [int(row) for _, row in rows] == list(range(len(rows)))
            assert len({raw for raw, _ in rows}) == len(rows)
        assert len(lines(BUNDLED / "entity_names.txt")) == len(lines(BUNDLED / "entity_list.txt")) - 1
        triples = np.loadtxt(BUNDLED / "kg_final.txt", dtype=np.int64)
        num_items = len(lines(BUNDLED / "item_list.txt")) - 1
        assert triples[:, 0].max() < num_items <= triples[:, 2].min()
        linked = np.unique(triples[:, [0, 2]], axis=0)[:, 1]
        assert np.bincount(linked)[num_items:].min() >= 2


def read_pairs(file: Path) -> Interactions:
    rows = [[int(number) for number in line.split()] for line in lines(file)]
    users = np.repeat([row[0] for row in rows], [len(row) - 1 for row in rows])
    return Interactions.from_pairs(users, np.array([item for row in rows for item in row[1:]]))


def test_preparing_needs_neither_torch_nor_dgl_nor_pandas() -> None:
    code = (
        "import sys, spike_dgl.data.prepare.movielens; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'dgl', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
