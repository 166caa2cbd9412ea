"""Ranking metrics at several cut-offs, from tensors of hits; no loop over users.

All functions take `hits` [n, K], true where the item at that place of a user's list is a relevant one,
`relevant` [n], the number of a user's relevant items (at least 1), and a cut-off k of at most K. They return
one value a user, float64 [n].
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor

Metric: TypeAlias = Callable[[Tensor, Tensor, int], Tensor]


def recall(hits: Tensor, relevant: Tensor, k: int) -> Tensor:
    """Share of a user's relevant items that stand among the first k."""
    return hits[:, :k].sum(dim=1).double() / relevant


def precision(hits: Tensor, relevant: Tensor, k: int) -> Tensor:  # noqa: ARG001  (all metrics are called alike)
    """Share of the first k places that hold a relevant item."""
    return hits[:, :k].sum(dim=1).double() / k


def hit(hits: Tensor, relevant: Tensor, k: int) -> Tensor:  # noqa: ARG001
    """1 where any of the first k items is relevant, else 0."""
    return hits[:, :k].any(dim=1).double()


def mrr(hits: Tensor, relevant: Tensor, k: int) -> Tensor:  # noqa: ARG001
    """1 / place of the first relevant item, places counted from 1; 0 where none is among the first k."""
    places = torch.arange(1, k + 1, device=hits.device, dtype=torch.float64)
    return (hits[:, :k] / places).amax(dim=1)


def ndcg(hits: Tensor, relevant: Tensor, k: int) -> Tensor:
    """Discounted gain of the first k places, over that of the best list there is.

    A relevant item at place p gains 1 / log2(p + 1). The best list holds relevant items at its first
    min(k, relevant) places.
    """
    return _discounted_gain(hits, k) / _ideal_gain(relevant, k, hits.device)


def kgat_ndcg(hits: Tensor, relevant: Tensor, k: int) -> Tensor:  # noqa: ARG001
    """NDCG as the KGAT family of papers computes it: too high, and for comparison with their tables only.

    Its ideal list holds the relevant items that were *found* among all K, sorted to the front. Items the
    model missed cost nothing: one hit out of a hundred relevant items, at the first place, scores 1. It also
    depends on K, the longest list asked for: hits beyond k enter the ideal. Never below `ndcg`.
    """
    found = hits.sum(dim=1)
    return _discounted_gain(hits, k) / _ideal_gain(found.clamp(min=1), k, hits.device)


def _discounts(k: int, device: torch.device) -> Tensor:
    return 1.0 / torch.log2(torch.arange(2, k + 2, device=device, dtype=torch.float64))


def _discounted_gain(hits: Tensor, k: int) -> Tensor:
    return hits[:, :k].double() @ _discounts(k, hits.device)


def _ideal_gain(relevant: Tensor, k: int, device: torch.device) -> Tensor:
    return _discounts(k, device).cumsum(dim=0)[relevant.clamp(max=k) - 1]


METRICS: Mapping[str, Metric] = MappingProxyType(
    {"recall": recall, "ndcg": ndcg, "precision": precision, "hit": hit, "mrr": mrr, "kgat_ndcg": kgat_ndcg}
)
"""All metrics by name."""


def metric_names(cutoffs: Sequence[int]) -> list[str]:
    """``recall@10`` and so on, for every metric and cut-off, in the order of reports."""
    return [f"{name}@{k}" for name in METRICS for k in cutoffs]


def list_length(metric: str) -> int | None:
    """Return K of a metric such as ``recall@K``; None where there is no such metric."""
    name, _, length = metric.partition("@")
    return int(length) if name in METRICS and re.fullmatch(r"[1-9][0-9]{0,8}", length) else None


class RankingMetrics:
    """Collects all metrics over portions of users.

    Parameters
    ----------
    cutoffs
        List lengths to compute the metrics for.

    Examples
    --------
    >>> metrics = RankingMetrics(cutoffs=[1, 2])
    >>> metrics.update(torch.tensor([[False, True]]), torch.tensor([1]))
    >>> float(metrics.compute()["recall@2"])
    1.0
    """

    def __init__(self, cutoffs: Sequence[int]) -> None:
        self.cutoffs = tuple(cutoffs)
        self._portions: list[dict[str, Tensor]] = []

    def update(self, hits: Tensor, relevant: Tensor) -> None:
        """Add users, given their hits [n, K] and numbers of relevant items [n].

        Raises
        ------
        ValueError
            If the lists are shorter than the largest cut-off, or a user has no relevant item: recall and NDCG
            are not defined then, so such users are to be left out beforehand.
        """
        if hits.shape[1] < max(self.cutoffs):
            raise ValueError(
                f"lists of {hits.shape[1]} items are too short for a cut-off of {max(self.cutoffs)}"
            )
        if (relevant < 1).any():
            raise ValueError("users without a relevant item cannot be evaluated; leave them out")
        self._portions.append(
            {
                f"{name}@{k}": metric(hits, relevant, k)
                for name, metric in METRICS.items()
                for k in self.cutoffs
            }
        )

    def compute(self) -> dict[str, Tensor]:
        """The value of each metric for each user [n], in the order in which users were added."""
        empty = torch.empty(0, dtype=torch.float64)
        return {
            name: torch.cat([portion[name] for portion in self._portions]) if self._portions else empty
            for name in metric_names(self.cutoffs)
        }

    def means(self) -> dict[str, float]:
        """The mean of each metric over users."""
        return {name: float(values.mean()) for name, values in self.compute().items()}
