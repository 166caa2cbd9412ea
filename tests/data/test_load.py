"""Format detection, and known facts of real data sets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from spike_dgl.data import load_dataset
from spike_dgl.data.audit import audit, statistics
from spike_dgl.errors import ConfigError, DataError
from tests.data.tiny import RECBOLE, SPIKE, write_folder


def test_the_format_is_found_by_the_files(tmp_path: Path) -> None:
    assert load_dataset(write_folder(tmp_path / "one", SPIKE)).users.ids[0] == "ann"
    assert load_dataset(write_folder(tmp_path / "two", RECBOLE)).users.ids[0] == "u1"


def test_two_formats_in_one_folder_need_a_choice(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, SPIKE | RECBOLE)
    with pytest.raises(DataError, match="formats 'spike' and 'recbole'"):
        load_dataset(folder)
    assert load_dataset(folder, format="recbole").users.ids[0] == "u1"
    assert load_dataset(folder, format="spike").users.ids[0] == "ann"


def test_an_unknown_format_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown data format 'recbol'; did you mean 'recbole'"):
        load_dataset("movielens", format="recbol")


def test_an_unknown_folder_says_what_each_format_needs(tmp_path: Path) -> None:
    write_folder(tmp_path, {"ratings.csv": "1,2\n"})
    with pytest.raises(DataError, match=r"(?s)its files are ratings.csv.*spike: train.txt.*recbole: NAME"):
        load_dataset(tmp_path)


def test_a_missing_folder_and_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        load_dataset(tmp_path / "nowhere")
    folder = write_folder(tmp_path, SPIKE)
    with pytest.raises(DataError, match="is a file, not a folder"):
        load_dataset(folder / "train.txt")


def test_a_fraction_out_of_range_is_refused_even_if_nothing_is_carved(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="valid_fraction"):
        load_dataset(write_folder(tmp_path, SPIKE), valid_fraction=1.0)


def test_a_name_of_ones_own(tmp_path: Path) -> None:
    assert load_dataset(write_folder(tmp_path, SPIKE), name="mine").name == "mine"


def test_the_bundled_data_set() -> None:
    dataset = load_dataset("movielens")
    assert dataset.name == "movielens"
    assert dataset.num_users > 500
    assert "Toy Story (1995)" in dataset.items.names
    assert all(finding.level != "fail" for finding in audit(dataset))


def test_reading_data_imports_neither_torch_nor_dgl() -> None:
    program = "import sys, spike_dgl.data; sys.exit('torch' in sys.modules or 'dgl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_lastfm(shared_data: Path) -> None:
    dataset = load_dataset(shared_data / "lastfm", valid_fraction=0.0)
    facts = statistics(dataset)
    assert facts == facts | {
        "users": 1859,
        "items": 2813,
        "train": 57786,
        "test": 13508,
        "triples": 20900,
        "entities": 6092,
        "relations": 9,
        "profile_coverage_users": 1.0,
        "profile_coverage_items": 1.0,
        "profile_coverage_auxiliary": 0.0,
    }
    assert dataset.items.names[0] == "Duran Duran"
    assert "former band member" in dataset.relations.names
    carved = load_dataset(shared_data / "lastfm")
    assert carved.train.union(carved.valid).keys(2813).tolist() == dataset.train.keys(2813).tolist()
    assert 0.09 < len(carved.valid) / len(dataset.train) < 0.11


def test_last_fm_kgat(shared_data: Path) -> None:
    dataset = load_dataset(shared_data / "last-fm-kgat")
    facts = statistics(dataset)
    assert facts == facts | {
        "users": 23566,
        "items": 48123,
        "entities": 106389,
        "relations": 9,
        "triples": 464567,
        "items_without_kg": 0,
    }
    assert dataset.relations.names[:3] == ("notable types", "releases", "artist")
    findings = {finding.check: finding for finding in audit(dataset)}
    assert findings["self loops"].count == 2430
    assert [finding.check for finding in findings.values() if finding.level == "fail"] == []
    assert "'canonical version' and 'versions'" in findings["inverse relations stored twice"].message


def test_ml_1m(shared_data: Path) -> None:
    dataset = load_dataset(shared_data / "ml-1m")
    facts = statistics(dataset)
    assert facts == facts | {
        "users": 6040,
        "items": 2983,
        "train": 556989,
        "valid": 190063,
        "test": 185241,
        "triples": 193089,
        "relations": 11,
        "profile_coverage_items": 1.0,
        "profile_coverage_users": 0.0,
    }
    assert dataset.items.names[0] == "Phantom, The (1996)"
    assert '"Crocodile" Dundee' not in dataset.items.names  # titles come first
    assert dataset.descriptions.users[0] == "Gender: F. Age: Under 18."
    assert dataset.descriptions.entities[0] == "Genre: Adventure."
    assert all(finding.level != "fail" for finding in audit(dataset))
