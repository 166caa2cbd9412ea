"""The popularity term: its scale, the lists it leads to, and fold-in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from spike_dgl.api import train
from spike_dgl.models.popularity_term import PopularityTerm
from tests.toy import interactions, random_dataset

CPU = torch.device("cpu")
DATA = random_dataset(3)


def test_it_is_the_standardised_logarithm_of_popularity() -> None:
    term = PopularityTerm.fit(interactions([(0, 0), (1, 0), (2, 0), (0, 2)]), 3, 1.0, CPU)
    logarithms = np.log([4.0, 1.0, 2.0])
    expected = (logarithms - logarithms.mean()) / logarithms.std()
    assert term.items[:, 0].tolist() == pytest.approx(expected)


def test_without_differences_it_is_zero() -> None:
    term = PopularityTerm.fit(interactions([(0, 0), (1, 1)]), 2, 1.0, CPU)
    assert term.items.tolist() == [[0.0], [0.0]]


def test_its_scores_deviate_as_much_as_asked() -> None:
    term = PopularityTerm.fit(DATA.train, DATA.num_items, 0.3, CPU)
    users, items = torch.randn(DATA.num_users, 4), torch.randn(DATA.num_items, 4)
    added = term.of_users(users, items) @ term.items.T
    ratio = added.std(unbiased=False) / (users @ items.T).std(unbiased=False)
    assert float(ratio) == pytest.approx(0.3, rel=1e-4)
    # On the side of the items, so that cosines between items hardly change.
    assert float(term.items.std(unbiased=False)) == pytest.approx(0.3, rel=1e-4)


@pytest.mark.parametrize(("model", "linear"), [("spike", 0.0), ("lightgcn", 0.5)])
def test_a_run_with_the_term_recommends_and_folds_in(
    model: str, linear: float, data_folder: Path, tmp_path: Path
) -> None:
    settings = {"model.popularity_weight": 50.0, "model.linear_weight": linear, "model.linear_rank": 4}
    run = train(
        data_folder, model=model, settings=settings, out=tmp_path / "run", epochs=1, threads=1, progress=False
    )
    recommender, train_items = run.recommender, run.dataset.train.items
    assert recommender.item_embeddings.shape[1] == 64 + (4 if linear else 0) + 1
    # With so large a weight, all lists are those of popularity.
    counts = np.bincount(train_items, minlength=run.dataset.num_items)
    listed = [counts[run.dataset.items.index(item.id)] for item in run.recommend("0", 40)]
    assert listed == sorted(listed, reverse=True)
    folded = recommender.cold_start.user_of_items(train_items[run.dataset.train.users == 0])
    assert folded[-1] == pytest.approx(recommender.user_embeddings[0, -1], rel=1e-3)
    if linear:
        assert folded[64:-1] == pytest.approx(recommender.user_embeddings[0, 64:-1], abs=1e-5)
    grown = recommender.add_item("new", [(run.dataset.relations.names[0], run.dataset.entities.names[40])])
    assert grown.item_embeddings.shape == (len(grown.items), recommender.item_embeddings.shape[1])
