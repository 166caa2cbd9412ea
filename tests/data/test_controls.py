from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_dgl.config import build
from spike_dgl.data.audit import audit
from spike_dgl.data.controls import make_items_cold, one_cycle, permute_knowledge, thin_knowledge
from spike_dgl.data.dataset import Dataset, Interactions
from spike_dgl.data.options import DataOptions, load
from spike_dgl.errors import ConfigError
from tests.toy import checkerboard, random_dataset

SEEDS = st.integers(0, 2**32)


def facts(dataset: Dataset) -> set[tuple[int, int, int]]:
    triples = dataset.triples
    return set(zip(triples.heads.tolist(), triples.relations.tolist(), triples.tails.tolist(), strict=True))


def pairs(part: Interactions) -> set[tuple[int, int]]:
    return set(zip(part.users.tolist(), part.items.tolist(), strict=True))


@given(SEEDS, st.floats(0, 1), st.floats(0, 1))
def test_a_weaker_graph_is_part_of_a_stronger_one(seed: int, one: float, other: float) -> None:
    dataset = random_dataset(3)
    weak, strong = (thin_knowledge(dataset, share, seed) for share in sorted((one, other)))
    assert facts(weak) <= facts(strong) <= facts(dataset)
    assert abs(len(weak.triples) - min(one, other) * len(dataset.triples)) <= 0.5
    assert (weak.num_entities, weak.num_relations) == (dataset.num_entities, dataset.num_relations)
    assert weak.split_hash == dataset.split_hash


@given(SEEDS)
def test_permuting_items_keeps_every_degree(seed: int) -> None:
    dataset = random_dataset(4)
    permuted = permute_knowledge(dataset, seed)
    num_items = dataset.num_items

    def degrees(data: Dataset) -> np.ndarray:
        """Return degrees by relation, direction and entity."""
        counts = np.zeros((data.num_relations, 2, data.num_entities), dtype=int)
        np.add.at(counts, (data.triples.relations, 0, data.triples.heads), 1)
        np.add.at(counts, (data.triples.relations, 1, data.triples.tails), 1)
        return counts

    before, after = degrees(dataset), degrees(permuted)
    np.testing.assert_array_equal(before[:, :, num_items:], after[:, :, num_items:])
    of_items = [sorted(map(tuple, d[:, :, :num_items].reshape(-1, num_items).T)) for d in (before, after)]
    assert of_items[0] == of_items[1]
    assert facts(permuted) != facts(dataset)


def test_each_item_has_all_triples_of_one_other() -> None:
    dataset = random_dataset(5)
    permutation = one_cycle(dataset.num_items, 7)
    row = {item: int(to) for item, to in enumerate(permutation)}
    expected = {(row.get(h, h), r, row.get(t, t)) for h, r, t in facts(dataset)}
    assert facts(permute_knowledge(dataset, 7)) == expected


@given(st.integers(0, 30), SEEDS)
def test_a_cycle_moves_every_row(size: int, seed: int) -> None:
    permutation = one_cycle(size, seed)
    assert sorted(permutation) == list(range(size))
    assert size < 2 or (permutation != np.arange(size)).all()


@given(SEEDS, st.floats(0, 0.9))
def test_interactions_of_cold_items_are_all_asked_for(seed: int, share: float) -> None:
    dataset = checkerboard()
    cold = make_items_cold(dataset, share, seed)
    gone = {
        item
        for item in range(dataset.num_items)
        if item not in set(cold.train.items.tolist()) | set(cold.valid.items.tolist())
    }
    assert abs(len(gone) - share * dataset.num_items) <= 0.5
    everything = pairs(dataset.train) | pairs(dataset.valid) | pairs(dataset.test)
    assert pairs(cold.train) | pairs(cold.valid) | pairs(cold.test) == everything
    assert {pair for pair in everything if pair[1] in gone} <= pairs(cold.test)
    assert pairs(cold.train) == {pair for pair in pairs(dataset.train) if pair[1] not in gone}
    assert pairs(dataset.test) <= pairs(cold.test)


def test_settings_change_the_data_the_same_way_each_time_and_say_so() -> None:
    plain = load(DataOptions())
    options = DataOptions(kg_fraction=0.5, permute_kg=True, cold_items=0.1)
    changed, again = load(options), load(options)
    assert changed.checksum == again.checksum != plain.checksum
    assert load(DataOptions(kg_fraction=0.5, permute_kg=True, cold_items=0.1, split_seed=1)).checksum not in (
        changed.checksum,
        plain.checksum,
    )
    [finding] = [finding for finding in audit(changed) if finding.check == "changed by settings"]
    assert finding.count == 4  # the texts of users, too
    for setting in ("data.kg_fraction=0.5", "data.permute_kg=true", "data.cold_items=0.1"):
        assert setting in finding.message
    assert not any(finding.check == "changed by settings" for finding in audit(plain))


def test_nothing_changes_by_default() -> None:
    assert load(DataOptions()).altered == ()
    assert load(DataOptions(kg_fraction=0.0)).triples.heads.shape == (0,)


@pytest.mark.parametrize(
    "values", [{"kg_fraction": 1.1}, {"kg_fraction": -0.1}, {"cold_items": 1.0}, {"permute_kg": 1}]
)
def test_impossible_values_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        build(DataOptions, values, "data")


@pytest.mark.parametrize("setting", ["inner_split", "cold_items", "hidden_items"])
def test_ready_made_texts_of_users_are_removed_where_their_interactions_are_held_out(setting: str) -> None:
    value = True if setting == "inner_split" else 0.2
    dataset = load(DataOptions(**{setting: value}))
    assert load(DataOptions()).profiles.users
    assert not dataset.profiles.users
    assert dataset.profiles.entities
    assert "profiles of users are removed" in dataset.altered[-1]
