"""Lists of users by stored embeddings: those of evaluation, on the CPU and with the code of other devices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from spike_dgl.errors import ConfigError
from spike_dgl.evaluation import ranking
from spike_dgl.evaluation.ranking import Ranked
from spike_dgl.models.base import Embeddings
from spike_dgl.nn import dispatch
from spike_dgl.recommend import NewItem, Recommender, recommender, user_scores
from spike_dgl.recommend.user_scores import EmbeddingScores, RankedScores, top_items
from spike_dgl.training import devices
from tests.toy import random_dataset

DATA = random_dataset(0)
SEEN = DATA.train.union(DATA.valid)
META = torch.device("meta")


def few_values(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings with few distinct inner products, so that there are many ties."""
    random = np.random.default_rng(seed)
    sizes = DATA.num_users, DATA.num_items
    users, items = (random.integers(-1, 2, size=(size, 2)).astype(np.float32) for size in sizes)
    return users, items


@pytest.fixture(params=["CPU", "device"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "device":
        monkeypatch.setattr(dispatch, "COMPILED_FOR", set())
    return str(request.param)


def readable(lists: Iterator[tuple[np.ndarray, np.ndarray]]) -> list[tuple[list[int], list[float]]]:
    return [(items.tolist(), scores.tolist()) for items, scores in lists]


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("k", [1, 3, 100])
@pytest.mark.parametrize("with_candidates", [True, False])
def test_lists_in_numpy_are_those_of_evaluation(
    monkeypatch: pytest.MonkeyPatch, place: str, exclude_seen: bool, k: int, with_candidates: bool
) -> None:
    monkeypatch.setattr(user_scores, "USERS_AT_ONCE", 3)
    asked = np.array([6, 0, 3, 3, 1, 5, 2, 4])
    for seed in range(5):
        users, items = few_values(seed)
        allowed = np.random.default_rng(seed).random(len(items)) < 0.5 if with_candidates else None
        in_numpy = EmbeddingScores(users, items, SEEN)
        embeddings = Embeddings(torch.from_numpy(users), torch.from_numpy(items))
        on_device = RankedScores(embeddings.scores, SEEN, len(users), len(items))
        found = [
            readable(scores.lists(asked, k, exclude_seen=exclude_seen, allowed=allowed))
            for scores in (in_numpy, on_device)
        ]
        assert found[0] == found[1]
        assert on_device.of(2).tolist() == in_numpy.of(2).tolist()
        for user, (rows, _) in zip(asked, found[0], strict=True):
            seen = set(SEEN.items[SEEN.users == user]) if exclude_seen else set()
            there = set(range(len(items))) - seen if allowed is None else set(np.flatnonzero(allowed)) - seen
            assert set(rows) <= there
            assert len(rows) == min(k, len(there))


def test_the_best_item_may_be_the_only_one_left() -> None:
    items, scores = top_items(np.array([3.0, 1.0, 2.0]), 2, np.array([0, 1]))
    assert (items.tolist(), scores.tolist()) == ([2], [2.0])
    assert len(top_items(np.array([3.0, 1.0]), 1, np.array([0, 1]))[0]) == 0


def test_lists_on_a_device_mix_no_devices_and_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "choose_device", lambda *_, **__: META)
    monkeypatch.setattr(ranking, "_require_numbers", lambda are_numbers: None)
    read = []

    def on_host(lists: list[Ranked], num_users: int, k: int) -> Ranked:
        read.extend(lists)
        return Ranked(torch.zeros(num_users, k, dtype=torch.int64), torch.ones(num_users, k))

    monkeypatch.setattr(ranking, "_on_host", on_host)
    on_device = Recommender(DATA, *few_values(0), device="cuda")
    lists = on_device.recommend(DATA.users.ids, 2, candidates=DATA.items.ids[:5])
    assert {len(items) for items in lists} == {2}
    assert {part.device for chunk in read for part in chunk} == {META}


def test_seen_items_are_copied_to_the_device_once(monkeypatch: pytest.MonkeyPatch) -> None:
    users, items = few_values(0)
    on_device = Embeddings(torch.empty(users.shape, device=META), torch.empty(items.shape, device=META))
    scores = RankedScores(on_device.scores, SEEN, len(users), len(items))
    monkeypatch.setattr(ranking, "_require_numbers", lambda are_numbers: None)
    monkeypatch.setattr(ranking, "_on_host", lambda lists, *_: Ranked(*(torch.empty(0, 2),) * 2))
    copies, to = [], torch.Tensor.to

    def counted(tensor: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        moved = to(tensor, *arguments, **options)
        if moved.device != tensor.device:
            copies.append(len(tensor))
        return moved

    monkeypatch.setattr(torch.Tensor, "to", counted)
    for _ in range(2):
        list(scores.lists(np.arange(3), 2, exclude_seen=True, allowed=None))
    assert sorted(copies) == sorted([3, 3, 3, 3, len(users) + 1, len(SEEN)])


def test_added_items_are_ranked_on_the_same_device(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(
        recommender, "embedding_scores", lambda users, items, seen, device: asked.append((len(items), device))
    )

    class Fold:
        def with_items(self, new: object, names: list[str], texts: list[str]) -> tuple[Fold, np.ndarray]:
            return self, np.ones((len(texts), 2), np.float32)

    small = Recommender(DATA, *few_values(0), Fold(), device="auto")  # type: ignore[arg-type]
    triple = DATA.relations.ids[0], DATA.entities.ids[0]
    small.add_items([NewItem("a", (triple,)), NewItem("b", (triple,))])
    assert asked == [(DATA.num_items, "auto"), (DATA.num_items + 2, "auto")]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_auto_is_the_cpu_without_a_gpu_and_cuda_an_error() -> None:
    users, items = few_values(0)
    assert Recommender(DATA, users, items, device="auto").recommend("u1") == Recommender(
        DATA, users, items
    ).recommend("u1")
    with pytest.raises(ConfigError, match=r"^device is 'cuda'.*\n.*device=cpu"):
        Recommender(DATA, users, items, device="cuda")
