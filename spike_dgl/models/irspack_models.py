"""Untrained models of the library irspack."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from scipy import sparse

from spike_dgl.errors import ConfigError
from spike_dgl.models.base import ModelInputs
from spike_dgl.models.histories import HistoryOptions, ItemToItem
from spike_dgl.models.item_pairs import check_item_pairs

DENSE_BYTES_PER_PAIR = 12
"""Bytes per pair of items: the matrix in float32, and about twice that to invert it."""


def irspack_recommender(name: str, interactions: sparse.csr_matrix, **settings: Any) -> Any:
    """Create, but do not fit, a recommender of irspack, such as ``EDLAERecommender``.

    Raises
    ------
    ConfigError
        If irspack is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # irspack defines its settings in pydantic's former way
            import irspack
    except ModuleNotFoundError:
        raise ConfigError(
            "this model needs the package irspack\n"
            '  Install it with pip install -e ".[baselines]", or choose another model.name.'
        ) from None
    return getattr(irspack, name)(interactions, **settings)


class IrspackItemToItem(ItemToItem):
    """Item-to-item model whose weights W [I, I] are those of a recommender of irspack.

    Parameters
    ----------
    inputs
        The graph; KG relations and text vectors are not used.
    options
        Options of the model.
    name
        Class of irspack.
    settings
        Its arguments.
    """

    def __init__(
        self, inputs: ModelInputs, options: HistoryOptions, name: str, settings: Mapping[str, Any]
    ) -> None:
        super().__init__(inputs, options)
        self.recommender = irspack_recommender(name, self.interactions, **settings)

    def fit(self) -> Any:
        """Return W of irspack."""
        return self.recommender.learn().W


def threads() -> dict[str, int]:
    """Return the argument of irspack's parallel recommenders: the number of threads of torch."""
    return {"n_threads": torch.get_num_threads()}


def check_dense(model: str, num_items: int) -> None:
    """Raise `ConfigError` if there are too many items for a dense matrix of item pairs."""
    remedy = "Choose a model that stores neighbours only, such as model.name=slim or item-knn."
    check_item_pairs(f"model.name={model}", num_items, DENSE_BYTES_PER_PAIR, remedy)
