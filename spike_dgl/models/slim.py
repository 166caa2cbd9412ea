"""SLIM: sparse linear models of items."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.models.base import ModelInputs, register
from spike_dgl.models.histories import HISTORY_SEARCH, HistoryOptions
from spike_dgl.models.irspack_models import IrspackItemToItem, threads


@dataclass(frozen=True, config=STRICT)
class SlimOptions(HistoryOptions):
    """Settings of SLIM, besides those of `HistoryOptions`.

    Parameters
    ----------
    alpha
        Weight of the elastic net, per user, as in scikit-learn.
    l1_ratio
        Share of the L1 norm in it; the rest is half the squared L2 norm.
    neighbours
        Maximum number of non-zero weights of each item; None for no limit.
    """

    alpha: float = Field(default=0.05, gt=0.0)
    l1_ratio: float = Field(default=0.01, ge=0.0, le=1.0)
    neighbours: int | None = Field(default=None, ge=1)


SEARCH = {
    "model.alpha": (0.02, 0.05, 0.2, 0.5),
    "model.l1_ratio": (0.001, 0.01, 0.1),
    "model.neighbours": (None, 100),
    **HISTORY_SEARCH,
}


@register("slim", SlimOptions, SEARCH)
class Slim(IrspackItemToItem):
    """SLIM (Ning and Karypis, ICDM 2011), by irspack.

    W >= 0 with a zero diagonal minimises

        |X - X W|^2 / 2 + U alpha (l1_ratio |W|_1 + (1 - l1_ratio) |W|^2 / 2)

    by coordinate descent, X the interactions [U, I].

    Parameters
    ----------
    inputs
        The graph; KG relations and text vectors are not used.
    options
        See `SlimOptions`.

    Raises
    ------
    ConfigError
        If irspack is missing.
    """

    def __init__(self, inputs: ModelInputs, options: SlimOptions) -> None:
        settings = {
            "alpha": options.alpha,
            "l1_ratio": options.l1_ratio,
            "top_k": options.neighbours,
            **threads(),
        }
        super().__init__(inputs, options, "SLIMRecommender", settings)
