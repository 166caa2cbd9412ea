"""Ranking metrics at several cutoffs, computed from hit tensors without a loop over users.

All functions take `hits` [n, K], true where the item at that rank of a user's list is relevant; `relevant` [n], the
user's number of relevant items (at least 1); and a cutoff k of at most K. They return one value per user, float64 [n].
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
    """Share of a user's relevant items that are in the top k."""
    return hits[:, :k].sum(dim=1).double() / relevant


def precision(hits: Tensor, relevant: Tensor, k: int) -> Tensor:  # noqa: ARG001  (all metrics have the same signature)
    """Share of the top k items that are relevant."""
    return hits[:, :k].sum(dim=1).double() / k


def hit(hits: Tensor, relevant: Tensor, k: int) -> Tensor:  # noqa: ARG001
    """1 if any of the top k items is relevant, else 0."""
    return hits[:, :k].any(dim=1).double()


def mrr(hits: Tensor, relevant: Tensor, k: int) -> Tensor:  # noqa: ARG001
    """Reciprocal rank of the first relevant item, ranks counted from 1; 0 if none is in the top k."""
    places = torch.arange(1, k + 1, device=hits.device, dtype=torch.float64)
    return (hits[:, :k] / places).amax(dim=1)


def ndcg(hits: Tensor, relevant: Tensor, k: int) -> Tensor:
    """Discounted cumulative gain of the top k items, divided by that of the ideal list.

    A relevant item at rank p has gain 1 / log2(p + 1). The ideal list has relevant items at its first
    min(k, relevant) ranks.
    """
    return _discounted_gain(hits, k) / _ideal_gain(relevant, k, hits.device)


def kgat_ndcg(hits: Tensor, relevant: Tensor, k: int) -> Tensor:  # noqa: ARG001
    """NDCG as computed by KGAT and the papers that use its code: too high, and only for comparison with their tables.

    Its ideal list has only the relevant items that were *found* among all K. Missed items cost nothing: one hit out of
    a hundred relevant items, at the first rank, scores 1. The value also depends on K, the length of the longest list:
    hits beyond k count in the ideal list. Never below `ndcg`.
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
"""Metric functions, by name."""


def metric_names(cutoffs: Sequence[int]) -> list[str]:
    """Names such as ``recall@10`` for every metric and cutoff, in the order used in reports."""
    return [f"{name}@{k}" for name in METRICS for k in cutoffs]


def list_length(metric: str) -> int | None:
    """Return K of a metric name such as ``recall@K``; None if it names no metric."""
    name, _, length = metric.partition("@")
    return int(length) if name in METRICS and re.fullmatch(r"[1-9][0-9]{0,8}", length) else None


class RankingMetrics:
    """All metrics, accumulated over batches of users.

    Parameters
    ----------
    cutoffs
        Cutoffs of the metrics.

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
        """Add a batch of users, given their hits [n, K] and numbers of relevant items [n].

        Raises
        ------
        ValueError
            If the lists are shorter than the largest cutoff, or a user has no relevant item: recall and NDCG are
            undefined then, so leave such users out.
        """
        if hits.shape[1] < max(self.cutoffs):
            raise ValueError(
                f"lists of {hits.shape[1]} items are too short for a cutoff of {max(self.cutoffs)}"
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
        """Return the values of each metric per user [n], in the order in which users were added."""
        empty = torch.empty(0, dtype=torch.float64)
        return {
            name: torch.cat([portion[name] for portion in self._portions]) if self._portions else empty
            for name in metric_names(self.cutoffs)
        }

    def means(self) -> dict[str, float]:
        """Return the mean of each metric over users."""
        return {name: float(values.mean()) for name, values in self.compute().items()}
