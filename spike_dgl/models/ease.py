"""EASE: a linear autoencoder of items in closed form."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.models.base import ModelInputs, register
from spike_dgl.models.histories import HISTORY_SEARCH, HistoryOptions
from spike_dgl.models.irspack_models import IrspackItemToItem, check_dense


@dataclass(frozen=True, config=STRICT)
class EaseOptions(HistoryOptions):
    """Settings of EASE, besides those of `HistoryOptions`.

    Parameters
    ----------
    l2_weight
        Weight lambda of the squared norm of W; 500 in the paper for MovieLens-20M.
    """

    l2_weight: float = Field(default=500.0, gt=0.0)


SEARCH = {"model.l2_weight": (20.0, 50.0, 100.0, 200.0, 500.0, 1000.0), **HISTORY_SEARCH}


@register("ease", EaseOptions, SEARCH)
class Ease(IrspackItemToItem):
    """EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019), by irspack.

    W minimises |X - X W|^2 + lambda |W|^2 with a zero diagonal, X the interactions [U, I]:

        P = (X'X + lambda)^{-1}        W_ij = -P_ij / P_jj

    Parameters
    ----------
    inputs
        The graph; KG relations and text vectors are not used.
    options
        See `EaseOptions`.

    Raises
    ------
    ConfigError
        If irspack is missing, or there are too many items for a dense matrix of item pairs.
    """

    def __init__(self, inputs: ModelInputs, options: EaseOptions) -> None:
        check_dense("ease", inputs.num_items)
        super().__init__(inputs, options, "DenseSLIMRecommender", {"reg": options.l2_weight})
