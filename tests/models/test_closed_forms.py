"""Models that are fitted without epochs, against their equations in numpy, or irspack called directly."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from spike_dgl.errors import ConfigError, MissingTimesError
from spike_dgl.graph import build_graph
from spike_dgl.models import item_pairs
from spike_dgl.models.base import ModelInputs, RecommenderModel, model_entry
from spike_dgl.models.histories import history_matrix
from spike_dgl.nn.graphs.interactions import interaction_matrix
from tests.toy import dataset, random_dataset, with_random_times

DATA = with_random_times(random_dataset(3, sizes=(30, 12, 15, 2), density=160))
FROM_IRSPACK = ["ease", "edlae", "slim", "ials", "rp3beta", "item-knn", "user-knn"]
ALL = [*FROM_IRSPACK, "gf-cf"]
USERS = torch.tensor([4, 0, 17])


@pytest.fixture(autouse=True)
def _needs_irspack(request: pytest.FixtureRequest) -> None:
    if "without" not in request.node.name:
        pytest.importorskip("irspack")


def inputs(data: Any = DATA) -> ModelInputs:
    return ModelInputs(build_graph(data))


def model(name: str, data: Any = DATA, **options: Any) -> RecommenderModel:
    entry = model_entry(name)
    return entry.model(inputs(data), entry.options(**options))


def scores(name: str, **options: Any) -> NDArray[np.float64]:
    """Scores of `USERS`, [3, I]."""
    return model(name, **options).score_function()(USERS).double().numpy()


def history() -> NDArray[np.float64]:
    """Training interactions [U, I]."""
    made = np.zeros((DATA.num_users, DATA.num_items))
    made[DATA.train.users, DATA.train.items] = 1.0
    return made


def linear(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of EASE from a regularised Gram matrix."""
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights


def test_ease_is_its_closed_form() -> None:
    x = history()
    expected = x @ linear(x.T @ x + 7.0 * np.eye(x.shape[1]))
    np.testing.assert_allclose(scores("ease", l2_weight=7.0), expected[USERS], atol=1e-5)


def test_edlae_is_its_closed_form() -> None:
    x = history()
    gram = x.T @ x
    expected = x @ linear(gram + 0.25 / 0.75 * np.diag(np.diag(gram)) + 7.0 * np.eye(x.shape[1]))
    np.testing.assert_allclose(scores("edlae", l2_weight=7.0, dropout=0.25), expected[USERS], atol=1e-5)


def test_edlae_without_dropout_is_ease() -> None:
    np.testing.assert_array_equal(scores("edlae", l2_weight=7.0, dropout=0.0), scores("ease", l2_weight=7.0))


def test_slim_is_at_the_minimum_under_its_bound() -> None:
    # The slope of the loss is 0 at positive weights, and not negative at weights of 0.
    x = history()
    alpha, users = 0.05, len(x)
    found = model("slim", alpha=alpha, l1_ratio=0.0).weights  # type: ignore[union-attr]
    weights = found.toarray().astype(float)
    slope = x.T @ (x @ weights - x) + users * alpha * weights
    off = ~np.eye(len(weights), dtype=bool)
    assert (weights[~off] == 0.0).all()
    np.testing.assert_allclose(slope[off & (weights > 0)], 0.0, atol=0.02)
    assert (slope[off & (weights == 0)] > -0.02).all()


def test_slim_keeps_so_many_neighbours_at_most() -> None:
    weights = model("slim", neighbours=2).weights  # type: ignore[union-attr]
    assert (weights.getnnz(axis=0) <= 2).all()


def test_item_knn_is_the_shrunk_cosine_of_the_nearest() -> None:
    x = history()
    norms = np.linalg.norm(x, axis=0)
    similarity = x.T @ x / (np.outer(norms, norms) + 2.0)
    np.fill_diagonal(similarity, 0.0)
    np.testing.assert_allclose(scores("item-knn", shrinkage=2.0), (x @ similarity)[USERS], atol=1e-5)


def test_user_knn_is_the_shrunk_cosine_of_the_nearest() -> None:
    x = history()
    norms = np.linalg.norm(x, axis=1)
    similarity = x @ x.T / (np.outer(norms, norms) + 2.0)
    np.fill_diagonal(similarity, 0.0)
    np.testing.assert_allclose(scores("user-knn", shrinkage=2.0), (similarity @ x)[USERS], atol=1e-5)


@pytest.mark.parametrize(("weighting", "name"), [("tf-idf", "TF_IDF"), ("bm25", "BM_25")])
def test_item_knn_weights_as_irspack_does(weighting: str, name: str) -> None:
    import irspack

    x = interaction_matrix(build_graph(DATA))
    oracle = irspack.CosineKNNRecommender(
        x, normalize=True, top_k=5, shrinkage=1.0, feature_weighting=name
    ).learn()
    ours = scores("item-knn", weighting=weighting, neighbours=5, shrinkage=1.0)
    expected = oracle.get_score(USERS.numpy())
    np.testing.assert_allclose(
        ours, expected.toarray() if hasattr(expected, "toarray") else expected, atol=1e-5
    )


def test_rp3beta_is_a_random_walk() -> None:
    x = history()
    to_users = x.T / np.maximum(x.sum(0), 1.0)[:, None]
    to_items = x / np.maximum(x.sum(1), 1.0)[:, None]
    walk = to_users @ to_items / np.maximum(x.sum(0), 1.0) ** 0.4
    np.testing.assert_allclose(scores("rp3beta", beta=0.4), (x @ walk)[USERS], atol=1e-5)


def test_gf_cf_is_its_closed_form() -> None:
    x = history()
    of_users, of_items = np.maximum(x.sum(1), 1.0) ** -0.5, np.maximum(x.sum(0), 1.0) ** -0.5
    normalised = of_users[:, None] * x * of_items
    vectors = np.linalg.svd(normalised)[2][:4]
    ideal = of_items[:, None] * (vectors.T @ vectors) / of_items
    expected = x @ (normalised.T @ normalised + 0.3 * ideal)
    np.testing.assert_allclose(scores("gf-cf", num_factors=4), expected[USERS], atol=1e-4)


def test_ials_solves_for_users() -> None:
    made = model("ials", embedding_dim=3, unobserved_weight=0.2, l2_weight=0.05, half_life=1e9)
    found = made.embeddings  # type: ignore[union-attr]
    x, items = history(), found.items.double().numpy()
    for user in USERS.tolist():
        observed = items[x[user] > 0]
        norm = 0.05 * (len(observed) + 0.2 * len(items))
        normal = observed.T @ observed + 0.2 * items.T @ items + norm * np.eye(3)
        np.testing.assert_allclose(found.users[user], np.linalg.solve(normal, observed.sum(0)), atol=1e-3)


def test_ials_depends_on_the_seed_alone() -> None:
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(scores("ials", embedding_dim=3))
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.allclose(made[0], made[2])


def test_recent_interactions_count_more_by_hand() -> None:
    # User 0 met items 2, 0 and 1 in this order; user 1 only item 1.
    data = dataset([(0, 0), (0, 1), (0, 2), (1, 1)], [], sizes=(3, 3, 3, 1))
    data = data.replace(train=replace(data.train, times=np.array([20.0, 30.0, 10.0, 5.0])))
    weighted = history_matrix(build_graph(data), half_life=2.0).toarray()
    np.testing.assert_allclose(weighted, [[0.5**0.5, 1.0, 0.5], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])


@pytest.mark.parametrize("name", ["ease", "edlae", "slim", "rp3beta", "item-knn", "gf-cf"])
def test_a_weighted_history_is_scored_by_unweighted_weights(name: str) -> None:
    every = model(name).score_function()(torch.arange(DATA.num_users)).double().numpy()
    weights = np.linalg.lstsq(history(), every, rcond=None)[0]  # the histories span all items
    weighted = history_matrix(build_graph(DATA), 3.0).toarray()[USERS]
    np.testing.assert_allclose(scores(name, half_life=3.0), weighted @ weights, atol=1e-4)


@pytest.mark.parametrize("name", ["ials", "user-knn"])
def test_the_half_life_changes_scores(name: str) -> None:
    torch.manual_seed(1)
    plain = scores(name)
    torch.manual_seed(1)
    assert not np.allclose(plain, scores(name, half_life=1.0))


@pytest.mark.parametrize("name", ALL)
def test_a_half_life_needs_times(name: str) -> None:
    data = DATA.replace(train=replace(DATA.train, times=None))
    with pytest.raises(MissingTimesError, match=r"model\.half_life is 5.*\n.*model\.half_life=null"):
        model(name, data, half_life=5.0)


@pytest.mark.parametrize("name", FROM_IRSPACK)
def test_without_irspack_the_error_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "irspack", None)
    with pytest.raises(ConfigError, match=r'pip install -e "\.\[baselines\]"'):
        model(name)


@pytest.mark.parametrize("name", ["ease", "edlae"])
def test_too_many_items_for_a_dense_matrix_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_pairs, "MOST_MEMORY", 12 * DATA.num_items**2 - 1)
    with pytest.raises(ConfigError, match=f"{name} inverts a dense matrix.*\n.*model.name=slim"):
        model(name)
