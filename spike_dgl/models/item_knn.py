"""Nearest neighbours of items, with the weights and shrinkage of tuned baselines."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.models.base import ModelInputs, register
from spike_dgl.models.histories import HISTORY_SEARCH, HistoryOptions
from spike_dgl.models.irspack_models import IrspackItemToItem, threads

Weighting: TypeAlias = Literal["none", "tf-idf", "bm25"]
_NAMES = {"none": "NONE", "tf-idf": "TF_IDF", "bm25": "BM_25"}


@dataclass(frozen=True, config=STRICT)
class NearestNeighbourOptions(HistoryOptions):
    """Settings of `item-knn` and `user-knn`, besides those of `HistoryOptions`.

    Parameters
    ----------
    weighting
        Weights of the interactions for the similarity: ``none``, ``tf-idf`` or ``bm25``.
    normalise
        Whether the similarity is the cosine, rather than the inner product.
    shrinkage
        Number added to the denominator of the cosine, which lowers similarities that rest on few interactions.
    neighbours
        Number of nearest neighbours.
    """

    weighting: Weighting = "none"
    normalise: bool = True
    shrinkage: float = Field(default=0.0, ge=0.0)
    neighbours: int = Field(default=100, ge=1)

    def of_irspack(self) -> dict[str, Any]:
        """Return the arguments of irspack's recommenders."""
        return {
            "feature_weighting": _NAMES[self.weighting],
            "normalize": self.normalise,
            "shrinkage": self.shrinkage,
            "top_k": self.neighbours,
            **threads(),
        }


SEARCH = {
    "model.weighting": ("none", "tf-idf", "bm25"),
    "model.shrinkage": (0.0, 10.0, 100.0),
    "model.neighbours": (20, 50, 100, 200, 500),
    **HISTORY_SEARCH,
}


@register("item-knn", NearestNeighbourOptions, SEARCH)
class ItemKnn(IrspackItemToItem):
    """Item-item nearest neighbours, by irspack: W_ij is the similarity of items i and j, or 0 if they are not near.

    Items are alike by common users:

        W_ij = <y_i, x_j> / (|y_i| |x_j| + shrinkage)        x the interactions, y the weighted ones

    Source: Sarwar et al., WWW 2001; weights and shrinkage as in Ferrari Dacrema et al., "Are We Really Making Much
    Progress?", RecSys 2019. `item-cosine` has neither, and all items are neighbours.

    Parameters
    ----------
    inputs
        The graph; KG relations and text vectors are not used.
    options
        See `NearestNeighbourOptions`.

    Raises
    ------
    ConfigError
        If irspack is missing.
    """

    def __init__(self, inputs: ModelInputs, options: NearestNeighbourOptions) -> None:
        super().__init__(inputs, options, "CosineKNNRecommender", options.of_irspack())
