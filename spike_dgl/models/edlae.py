"""EDLAE: EASE with dropout, in closed form."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.models.base import ModelInputs, register
from spike_dgl.models.ease import EaseOptions
from spike_dgl.models.histories import HISTORY_SEARCH
from spike_dgl.models.irspack_models import IrspackItemToItem, check_dense


@dataclass(frozen=True, config=STRICT)
class EdlaeOptions(EaseOptions):
    """Settings of EDLAE, besides those of `EaseOptions`.

    Parameters
    ----------
    dropout
        Probability p that an interaction of the input is dropped; 0 is EASE.

    The paper tunes both and gives no values; the defaults are ours.
    """

    l2_weight: float = Field(default=200.0, gt=0.0)
    dropout: float = Field(default=0.3, ge=0.0, lt=1.0)


SEARCH = {
    "model.l2_weight": (50.0, 100.0, 200.0, 500.0),
    "model.dropout": (0.1, 0.3, 0.5),
    **HISTORY_SEARCH,
}


@register("edlae", EdlaeOptions, SEARCH)
class Edlae(IrspackItemToItem):
    """EDLAE (Steck, "Autoencoders that don't overfit towards the Identity", NeurIPS 2020), by irspack.

    W is that of EASE if interactions of the input are dropped with probability p, in expectation. That regularises
    frequent items more:

        P = (X'X + p / (1 - p) diag(X'X) + lambda)^{-1}        W_ij = -P_ij / P_jj

    Parameters
    ----------
    inputs
        The graph; KG relations and text vectors are not used.
    options
        See `EdlaeOptions`.

    Raises
    ------
    ConfigError
        If irspack is missing, or there are too many items for a dense matrix of item pairs.
    """

    def __init__(self, inputs: ModelInputs, options: EdlaeOptions) -> None:
        check_dense("edlae", inputs.num_items)
        settings = {"reg": options.l2_weight, "dropout_p": options.dropout}
        super().__init__(inputs, options, "EDLAERecommender", settings)
