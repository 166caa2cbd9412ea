"""RP3beta: random walks of three steps, with a penalty for popular items."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.models.base import ModelInputs, register
from spike_dgl.models.histories import HISTORY_SEARCH, HistoryOptions
from spike_dgl.models.irspack_models import IrspackItemToItem, threads


@dataclass(frozen=True, config=STRICT)
class RP3betaOptions(HistoryOptions):
    """Settings of RP3beta, besides those of `HistoryOptions`.

    Parameters
    ----------
    beta
        Power of an item's number of users by which its score is divided.
    neighbours
        Maximum number of non-zero weights of each item; None for no limit.
    normalise
        Whether the weights of an item sum to 1 after all but the largest are dropped.
    """

    beta: float = Field(default=0.6, ge=0.0)
    neighbours: int | None = Field(default=None, ge=1)
    normalise: bool = False


SEARCH = {
    "model.beta": (0.2, 0.4, 0.6, 0.8),
    "model.neighbours": (50, 100, 200, 500, None),
    "model.normalise": (False, True),
    **HISTORY_SEARCH,
}


@register("rp3beta", RP3betaOptions, SEARCH)
class RP3beta(IrspackItemToItem):
    """RP3beta (Paudel et al., "Updatable, Accurate, Diverse, and Scalable Recommendations", TiiS 2017), by irspack.

    A walk goes from a user's item i to one of its users, and from there to an item j. W_ij is its probability, divided
    by (number of users of j)^beta. The paper's power alpha of the probabilities is left at 1.

    Parameters
    ----------
    inputs
        The graph; KG relations and text vectors are not used.
    options
        See `RP3betaOptions`.

    Raises
    ------
    ConfigError
        If irspack is missing.
    """

    def __init__(self, inputs: ModelInputs, options: RP3betaOptions) -> None:
        settings = {
            "beta": options.beta,
            "top_k": options.neighbours,
            "normalize_weight": options.normalise,
            **threads(),
        }
        super().__init__(inputs, options, "RP3betaRecommender", settings)
