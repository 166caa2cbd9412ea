"""Base classes and registry of the models.

A model is one file in this folder: a frozen options dataclass, and a subclass of `EmbeddingModel` (trained) or
`RecommenderModel` (untrained) with the decorator `@register("name", Options)`. No other file needs editing.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias, TypeVar, cast

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor, nn

from spike_dgl.config import STRICT
from spike_dgl.dgl_import import DGLGraph
from spike_dgl.errors import ConfigError, nearest
from spike_dgl.models.fold_in import FoldIn
from spike_dgl.models.linear_term import LinearTerm
from spike_dgl.models.popularity_term import PopularityTerm
from spike_dgl.nn.dispatch import is_compiled
from spike_dgl.nn.kernels.rows import normalise
from spike_dgl.nn.losses import RankingLoss, bpr_loss, contrastive_loss, distinct, l2_loss, softmax_loss

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

CPU = torch.device("cpu")

ScoreFunction: TypeAlias = Callable[[Tensor], Tensor]
"""Function from user rows [b], int64 on the CPU, to the scores of all items [b, I], on any device."""


@dataclass(frozen=True)
class Batch:
    """Training interactions with one sampled negative item each: rows `users`, `positives`, `negatives`, all [B]."""

    users: Tensor
    positives: Tensor
    negatives: Tensor

    def select(self, chosen: Tensor | slice) -> Batch:
        """Return a subset of the batch, given by positions, a mask or a slice."""
        return Batch(self.users[chosen], self.positives[chosen], self.negatives[chosen])

    def rows(self, num_users: int) -> Tensor:
        """Return users, positives and negatives [3 B] as rows of a table of all nodes, users first."""
        return torch.cat([self.users, self.positives + num_users, self.negatives + num_users])


@dataclass(frozen=True)
class ModelInputs:
    """Inputs of a model's constructor.

    Parameters
    ----------
    graph
        The heterograph of `spike_dgl.graph.build_graph`.
    user_vectors, entity_vectors
        Text vectors of the profiles, [U, d_t] and [N, d_t], items first; None if the run uses no profiles. A node
        without a profile has a zero vector. If they are in float16, they are memory-mapped: too large for memory.
    item_terms
        Sparse TF-IDF vectors of the items' texts [I, V], of unit length; see `spike_dgl.profiles.terms`. None if the
        run has no texts of items.
    device
        Device the model will run on. Graph and vectors are on the CPU. The constructor moves the structures it
        derives from them to the device; parameters and buffers are moved later by ``model.to(device)``.
    """

    graph: DGLGraph
    user_vectors: Tensor | None = None
    entity_vectors: Tensor | None = None
    item_terms: csr_matrix | None = None
    device: torch.device = field(default=CPU, kw_only=True)

    @property
    def num_users(self) -> int:
        """Number of users, U."""
        return int(self.graph.num_nodes("user"))

    @property
    def num_entities(self) -> int:
        """Number of entities including items, N."""
        return int(self.graph.num_nodes("entity"))

    @property
    def num_items(self) -> int:
        """Number of items, I."""
        return int(self.graph.nodes["entity"].data["is_item"].sum())

    @property
    def compared_texts(self) -> Tensor | csr_matrix | None:
        """Vectors by which the texts of items are compared: `item_terms`, or else the text vectors of items.

        Cosines of sparse vectors are the better measure, but a data set may have vectors without texts.
        """
        if self.item_terms is not None or self.entity_vectors is None:
            return self.item_terms
        return self.entity_vectors[: self.num_items].to(self.device, torch.float32)


@dataclass(frozen=True)
class Embeddings:
    """Final embeddings of `users` [U, D] and `items` [I, D]; a score is their inner product."""

    users: Tensor
    items: Tensor

    def scores(self, users: Tensor) -> Tensor:
        """Return the scores [b, I] of all items for user rows [b]: a `ScoreFunction`."""
        return self.users[users.to(self.users.device)] @ self.items.T

    def plus(self, *terms: Embeddings) -> Embeddings:
        """Return embeddings whose scores are the sums of the scores of these and of others."""
        if not terms:
            return self
        users, items = ([part.users for part in (self, *terms)], [part.items for part in (self, *terms)])
        return Embeddings(torch.cat(users, dim=1), torch.cat(items, dim=1))


class RecommenderModel(nn.Module, ABC):
    """Model that scores items for users. It has no access to epochs, files or settings other than its own.

    Attributes
    ----------
    scores_cold_users
        Whether its scores mean something for users without training interactions. If not, as for most models, their
        lists are the most popular items; see `spike_dgl.evaluation.cold_users`.
    """

    scores_cold_users: ClassVar[bool] = False

    @abstractmethod
    def score_function(self) -> ScoreFunction:
        """Return the function that scores all items for given users; call in evaluation mode, without gradients."""


class EmbeddingModel(RecommenderModel):
    """Trainable model that scores by inner products, or cosines, of user and item embeddings.

    A subclass sets ``options``, an instance of `RankingOptions` or of a subclass, and the attributes below. If its
    `propagate` returns one row per node in the order of `embedding`, it needs no other method.

    Attributes
    ----------
    num_users, num_items
        U and I.
    embedding
        ID embeddings [U + I, D] or [U + N, D]: users first, then items, then other entities.
    linear_term
        Item-item term of the scores, fitted by the run if `RankingOptions.linear_weight` is above 0.
    popularity_term
        Popularity term of the scores, fitted by the run if `RankingOptions.popularity_weight` is above 0. If that is
        ``auto``, there is none until the end of training.
    """

    num_users: int
    num_items: int
    embedding: Tensor
    linear_term: LinearTerm | None = None
    popularity_term: PopularityTerm | None = None
    former_names: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Prefixes of parameter names in checkpoints of earlier versions, each with its replacement."""

    @abstractmethod
    def propagate(self) -> Any:
        """Compute all embeddings in one pass over the graph, with dropout in training mode.

        The default `loss` and `embeddings` need a tensor with one row per node.
        """

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted loss terms, scalars whose sum is minimised; the first is the ranking loss.

        The default is the ranking loss on the result of `propagate`, plus L2 on the ID embeddings of the batch.
        """
        rows = batch.rows(self.num_users)
        return ranking_terms(self.propagate(), self.embedding, rows, self._ranking_options)

    def embeddings(self) -> Embeddings:
        """Return the final embeddings of all users [U, D] and items [I, D]; call in evaluation mode."""
        return self.part(self.propagate())

    def part(self, final: Tensor) -> Embeddings:
        """Select users and items from a table of all nodes, users first, then items."""
        return Embeddings(final[: self.num_users], final[self.num_users :][: self.num_items])

    def scored_embeddings(self) -> Embeddings:
        """Return the embeddings whose inner products are the scores: the model's own, and those of `terms`."""
        own = self.compared(self.embeddings())
        return own.plus(*self.terms(own).values())

    def compared(self, final: Embeddings) -> Embeddings:
        """Return the embeddings whose inner products are the model's own scores: normalised if they are cosines."""
        if self._ranking_options.score_temperature is None:
            return final
        return Embeddings(normalise(final.users), normalise(final.items))

    def linear_scale(self, own: Embeddings) -> float:
        """Return the factor of the linear term's users, from the embeddings of `compared`; 0 without the term."""
        if self.linear_term is None:
            return 0.0
        return self.linear_term.scale(own.users, own.items, self._ranking_options.linear_weight)

    def terms(self, own: Embeddings) -> dict[str, Embeddings]:
        """Return the embeddings of the terms that are added to the model's own scores, by name.

        Parameters
        ----------
        own
            Embeddings of `compared`; the terms are scaled by their scores.
        """
        terms = {}
        if (linear := self.linear_term) is not None:
            terms["linear"] = Embeddings(self.linear_scale(own) * linear.users, linear.items)
        if (popularity := self.popularity_term) is not None:
            terms["popularity"] = Embeddings(popularity.of_users(own.users, own.items), popularity.items)
        return terms

    def fold_in(self, linear: FoldIn) -> FoldIn:
        """Return the fold-in that embeds users and items added after training; call in evaluation mode.

        Parameters
        ----------
        linear
            Regressions on the final embeddings: the fold-in of models that do not define their own.
        """
        return linear

    @property
    def _ranking_options(self) -> RankingOptions:
        # Not declared as an attribute, which would hide the type of a subclass's own options.
        return cast(RankingOptions, self.options)

    def score_function(self) -> ScoreFunction:
        """Return the inner products of `scored_embeddings`."""
        return self.scored_embeddings().scores


@checked_dataclass(frozen=True, config=STRICT)
class NoOptions:
    """Options of a model without settings, such as the untrained models."""


PopularityWeight: TypeAlias = Annotated[float, Field(ge=0.0, le=100.0)] | Literal["auto"]
"""Type of `RankingOptions.popularity_weight`."""


@checked_dataclass(frozen=True, config=STRICT)
class RankingOptions:
    """Settings that all trained models share.

    Parameters
    ----------
    embedding_dim
        Embedding dimension D.
    ranking_loss
        ``bpr`` (Bayesian personalised ranking, as in nearly all papers) or ``softmax`` (sampled softmax over the
        negatives of the whole batch).
    softmax_negatives
        Maximum number of the batch's negatives in the softmax.
    score_temperature
        None: scores are inner products, as in most papers. A number: scores are cosines, divided by it in the ranking
        loss, so that the popularity of an item cannot increase the length of its embedding.
    l2_weight
        Weight of the L2 loss on the batch's ID embeddings.
    linear_weight
        Weight of the item-item term `LinearTerm`, which is added to the scores outside of training, relative to the
        standard deviation of the model's own scores. 0: no term, as in all papers.
    linear_rank
        Rank of that term: the number of dimensions that it adds to the final embeddings.
    popularity_weight
        Weight of the `PopularityTerm`, which is added to the scores outside of training, relative to the standard
        deviation of the model's own scores: the logarithm of each item's number of training users, recent ones counting
        more if the data has times. 0: no term, as in all papers. The larger, the nearer are all lists to the most
        popular items. ``auto``: 0.1, or 0, 0.3, 1 or 3 if the validation metric is significantly better with it; chosen
        after training.
    """

    embedding_dim: int = Field(default=64, gt=0, le=4096)
    ranking_loss: RankingLoss = "bpr"
    softmax_negatives: int = Field(default=2048, ge=1)
    score_temperature: float | None = Field(default=None, gt=0.0)
    l2_weight: float = Field(default=0.0, ge=0.0)
    linear_weight: float = Field(default=0.0, ge=0.0, le=100.0)
    linear_rank: int = Field(default=64, ge=1, le=4096)
    popularity_weight: PopularityWeight = 0.0


def ranking_terms(final: Tensor, ids: Tensor, rows: Tensor, options: RankingOptions) -> dict[str, Tensor]:
    """Return the ranking loss of a batch, and the weighted L2 loss on its ID embeddings if it has a weight.

    Parameters
    ----------
    final
        Final embeddings [n, D], users first.
    ids
        ID embeddings of the same nodes, in the same order.
    rows
        `Batch.rows` [3 B], or their positions if `final` has only some of the nodes.
    options
        Choice and weights of the losses.
    """
    users, positives, negatives = rows.chunk(3)
    user_of = None
    if options.ranking_loss == "softmax":
        negatives = negatives[: options.softmax_negatives]
        if is_compiled(users.device):  # on a GPU, torch.unique synchronises
            users, user_of = torch.unique(users, return_inverse=True)
    # One gather for all three, so that the backward pass allocates one tensor of all nodes, not three.
    ends = final.index_select(0, torch.cat([users, positives, negatives]))
    if options.score_temperature is not None:
        ends = normalise(ends) / math.sqrt(options.score_temperature)
    user, positive, negative = torch.split(ends, [len(users), len(positives), len(negatives)])
    if options.ranking_loss == "softmax":
        terms = {"softmax": softmax_loss(user, positive, negative, user_of)}
    else:
        terms = {"bpr": bpr_loss((user * positive).sum(-1), (user * negative).sum(-1))}
    if options.l2_weight:
        terms["l2"] = options.l2_weight * l2_loss(*ids.index_select(0, rows).chunk(3))
    return terms


def contrast_of_batch(one: Tensor, other: Tensor, batch: Batch, num_users: int, temperature: float) -> Tensor:
    """Return the `contrastive_loss` of two views over the batch's users, plus that over its positive items.

    Each node of the batch counts once; the other users, or items, of the batch are its negatives.

    Parameters
    ----------
    one, other
        Views [U + I, D], users first.
    batch
        Batch whose nodes are compared.
    num_users
        U.
    temperature
        tau.
    """
    kinds = distinct(batch.users), distinct(batch.positives + num_users)
    return torch.stack(
        [contrastive_loss(one[rows], other[rows], temperature, counted) for rows, counted in kinds]
    ).sum()


SHARED_SEARCH: Mapping[str, Sequence[Any]] = MappingProxyType(
    {
        "training.learning_rate": (1e-3, 3e-3, 1e-2),
        "model.ranking_loss": ("bpr", "softmax"),
        "model.score_temperature": (None, 0.1),
        "model.l2_weight": (0.0, 1e-5, 1e-4, 1e-3),
        "training.recency": (0.0, 1.0),
    }
)
"""Search space of the settings that all trained models share, so that tuning treats all models alike.

`training.recency` is tuned only if the data has times.
"""


@dataclass(frozen=True)
class ModelEntry:
    """Registered model.

    Parameters
    ----------
    model
        Model class.
    options
        Dataclass of its options.
    search
        Search space for tuning: values by dotted setting, such as ``model.num_layers``.
    """

    model: Callable[[ModelInputs, Any], RecommenderModel]
    options: type
    search: Mapping[str, Sequence[Any]]


_REGISTRY: dict[str, ModelEntry] = {}
Model = TypeVar("Model", bound=Callable[..., RecommenderModel])


def register(
    name: str, options: type, search: Mapping[str, Sequence[Any]] | None = None
) -> Callable[[Model], Model]:
    """Register a model class under `name`, its `model.name` in configurations; use as a decorator. See `ModelEntry`.

    If the options derive from `RankingOptions`, `search` extends and overrides `SHARED_SEARCH`; a setting without
    values is not tuned.
    """
    shared = SHARED_SEARCH if issubclass(options, RankingOptions) else {}

    def add(model: Model) -> Model:
        values = {**shared, **(search or {})}
        _REGISTRY[name] = ModelEntry(model, options, {key: tried for key, tried in values.items() if tried})
        return model

    return add


ENTRY_POINTS = "spike_dgl.models"
"""Entry point group with which other packages register models; each entry point names a module that does so."""


def registered_models() -> dict[str, ModelEntry]:
    """Return all models by name, from the modules of `spike_dgl.models` and from entry points."""
    package = importlib.import_module("spike_dgl.models")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    _load_entry_points()
    return dict(sorted(_REGISTRY.items()))


@cache
def _load_entry_points() -> None:
    for entry_point in metadata.entry_points(group=ENTRY_POINTS):
        try:
            entry_point.load()
        except Exception as error:  # a broken plug-in must not break this package
            warnings.warn(f"the models of {entry_point.value} cannot be imported: {error}", stacklevel=3)


def model_entry(name: str) -> ModelEntry:
    """Return the model registered as `name`, or the class ``package.module:Class`` of another package.

    Raises
    ------
    ConfigError
        If there is no such model (the message names the nearest), or the class is not registered.
    """
    if ":" in name:
        return _entry_of_class(name)
    models = registered_models()
    if name not in models:
        raise ConfigError(f"unknown model '{name}'; {nearest(name, models)}")
    return models[name]


def _entry_of_class(name: str) -> ModelEntry:
    module, _, attribute = name.partition(":")
    try:
        model = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"model.name: '{name}' cannot be imported ({error})\n"
            "  Use the form module:Class with an importable module, such as my_package.my_model:MyModel."
        ) from None
    entries = [entry for entry in _REGISTRY.values() if entry.model is model]
    if not entries:
        raise ConfigError(
            f"model.name: {name} is not registered\n"
            '  Decorate the class with @register("name", Options) of spike_dgl.models.base.'
        )
    return entries[0]
