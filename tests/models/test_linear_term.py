"""The item-item term: closed form, low rank, scale and fold-in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spike_dgl.api import train
from spike_dgl.errors import ConfigError
from spike_dgl.graph import build_graph
from spike_dgl.models import item_pairs, linear_term
from spike_dgl.models.linear_term import LinearTerm
from tests.toy import random_dataset

DATA = random_dataset(3)
CPU = torch.device("cpu")


def dense() -> tuple[np.ndarray, np.ndarray]:
    """Interactions X and weights W, one column of W at a time by least squares without the item itself."""
    X = np.zeros((DATA.num_users, DATA.num_items))
    X[DATA.train.users, DATA.train.items] = 1
    common, dropout = X.T @ X, linear_term.DROPOUT
    penalty = linear_term.L2_WEIGHT * np.eye(len(common)) + dropout / (1 - dropout) * np.diag(np.diag(common))
    W = np.zeros_like(common)
    for item in range(len(common)):
        others = np.arange(len(common)) != item
        W[others, item] = np.linalg.solve((common + penalty)[np.ix_(others, others)], common[others, item])
    return X, W


def test_at_full_rank_the_scores_are_those_of_the_autoencoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_term, "L2_WEIGHT", 0.5)
    X, W = dense()
    term = LinearTerm.fit(build_graph(DATA), DATA.num_items, DATA.num_items, CPU)
    # There are fewer users than items, so that eight of nine dimensions are enough.
    assert (term.users @ term.items.T).numpy() == pytest.approx(X @ W, abs=1e-4)


def test_a_user_is_the_sum_of_their_items() -> None:
    term = LinearTerm.fit(build_graph(DATA), DATA.num_items, 3, CPU)
    histories = [DATA.train.items[DATA.train.users == user] for user in range(DATA.num_users)]
    assert term.of_history(histories) == pytest.approx(term.users.numpy(), abs=1e-5)
    assert term.of_history([np.array([0, DATA.num_items + 4])]) == pytest.approx(term.of_items[:1].numpy())


@settings(max_examples=20)
@given(seed=st.integers(0, 100), weight=st.floats(0.1, 10))
def test_scores_of_the_term_deviate_as_much_as_asked(seed: int, weight: float) -> None:
    term = LinearTerm.fit(build_graph(DATA), DATA.num_items, 3, CPU)
    draw = torch.Generator().manual_seed(seed)
    users, items = (
        torch.randn(DATA.num_users, 4, generator=draw),
        torch.randn(DATA.num_items, 4, generator=draw),
    )
    scale = term.scale(users, items, weight)
    ratio = (scale * term.users @ term.items.T).std(unbiased=False) / (users @ items.T).std(unbiased=False)
    assert float(ratio) == pytest.approx(weight, rel=1e-3)


def test_too_many_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_pairs, "MOST_MEMORY", 40 * DATA.num_items**2 - 1)
    with pytest.raises(
        ConfigError, match=r"(?s)model\.linear_weight .* GB of memory.*Set model\.linear_weight=0"
    ):
        LinearTerm.fit(build_graph(DATA), DATA.num_items, 3, CPU)


@pytest.mark.parametrize("model", ["spike", "lightgcn"])
def test_a_run_with_the_term_recommends_and_folds_in(model: str, data_folder: Path, tmp_path: Path) -> None:
    settings = {"model.linear_weight": 0.5, "model.linear_rank": 4, "model.popularity_weight": 0.0}
    run = train(
        data_folder, model=model, settings=settings, out=tmp_path / "run", epochs=1, threads=1, progress=False
    )
    recommender = run.recommender
    width = recommender.item_embeddings.shape[1]
    assert width == 64 + 4
    assert len(run.recommend("0", 2)) == 2
    folded = recommender.cold_start.user_of_items(run.dataset.train.items[run.dataset.train.users == 0])
    assert folded[64:] == pytest.approx(recommender.user_embeddings[0, 64:], abs=1e-5)
