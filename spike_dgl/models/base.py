"""What evaluation and the trainer ask of a model, and how a model file makes itself known.

A model is one file in this folder: a frozen options dataclass and a `RecommenderModel` subclass with the decorator
`@register("name", Options)`. Nothing else needs editing. One that is trained is an `EmbeddingModel`.
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
from typing import Any, ClassVar, TypeAlias, TypeVar, cast

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor, nn

from spike_dgl.config import STRICT
from spike_dgl.dgl_import import DGLGraph
from spike_dgl.errors import ConfigError, nearest
from spike_dgl.models.fold_in import FoldIn
from spike_dgl.nn.kernels.rows import normalise
from spike_dgl.nn.losses import RankingLoss, bpr_loss, contrastive_loss, l2_loss, softmax_loss

CPU = torch.device("cpu")

ScoreFunction: TypeAlias = Callable[[Tensor], Tensor]
"""From rows of users [b], int64 on the CPU, to the scores of all items [b, I], on any device."""


@dataclass(frozen=True)
class Batch:
    """Training interactions with one sampled negative each: rows `users`, `positives`, `negatives`, all [B]."""

    users: Tensor
    positives: Tensor
    negatives: Tensor

    def select(self, chosen: Tensor | slice) -> Batch:
        """Some of the interactions: positions, a mask or a slice."""
        return Batch(self.users[chosen], self.positives[chosen], self.negatives[chosen])

    def rows(self, num_users: int) -> Tensor:
        """[3 B] users, positives and negatives as rows of a table of all nodes, users first."""
        return torch.cat([self.users, self.positives + num_users, self.negatives + num_users])


@dataclass(frozen=True)
class ModelInputs:
    """All that a model is built from.

    Parameters
    ----------
    graph
        The heterograph of `spike_dgl.graph.build_graph`.
    user_vectors, entity_vectors
        Text vectors of the profiles, [U, d_t] and [N, d_t], items first; None where a run uses no profiles. A node
        without a profile has a zero vector.
    device
        Where the model will run. Graph and vectors come on the CPU; a model puts the structure it derives from them
        there, and is itself moved with ``model.to(device)`` like any module.
    """

    graph: DGLGraph
    user_vectors: Tensor | None = None
    entity_vectors: Tensor | None = None
    device: torch.device = field(default=CPU, kw_only=True)

    @property
    def num_users(self) -> int:
        """U."""
        return int(self.graph.num_nodes("user"))

    @property
    def num_entities(self) -> int:
        """N, items included."""
        return int(self.graph.num_nodes("entity"))

    @property
    def num_items(self) -> int:
        """I."""
        return int(self.graph.nodes["entity"].data["is_item"].sum())


@dataclass(frozen=True)
class Embeddings:
    """Final representations: `users` [U, D] and `items` [I, D]; a score is their inner product."""

    users: Tensor
    items: Tensor

    def scores(self, users: Tensor) -> Tensor:
        """[b, I] of all items for some rows of users [b]: a `ScoreFunction`."""
        return self.users[users.to(self.users.device)] @ self.items.T


class RecommenderModel(nn.Module, ABC):
    """Anything that scores items for users. It knows nothing of epochs, files or settings outside its own."""

    @abstractmethod
    def score_function(self) -> ScoreFunction:
        """What gives the scores of all items for some users; call in evaluation mode, without gradients."""


class EmbeddingModel(RecommenderModel):
    """A model that is trained, and scores by inner products, or cosines, of user and item embeddings.

    It has ``options``, which are `RankingOptions` or derived from them, and the attributes below. One whose `propagate`
    gives a row for each node, users first and items next, in the order of its ID embeddings, needs no other method.

    Attributes
    ----------
    num_users, num_items
        U and I.
    embedding
        The ID embeddings, [U + I or U + N, D].
    """

    num_users: int
    num_items: int
    embedding: Tensor
    former_names: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Beginnings of parameter names in checkpoints of earlier versions, and in their place now."""

    @abstractmethod
    def propagate(self) -> Any:
        """One pass over the graph: whatever `loss` and `embeddings` need, with dropout in training mode."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted terms, scalars, whose sum is minimised; the first is the ranking loss.

        Unless a model says otherwise: ranking on what `propagate` gives, and L2 on the ID embeddings of the batch.
        """
        rows = batch.rows(self.num_users)
        return ranking_terms(self.propagate(), self.embedding, rows, self._ranking_options)

    def embeddings(self) -> Embeddings:
        """Final representations of all users [U, D] and items [I, D]; call in evaluation mode."""
        return self.part(self.propagate())

    def part(self, final: Tensor) -> Embeddings:
        """Users and items of a table of all nodes, users first and items next."""
        return Embeddings(final[: self.num_users], final[self.num_users :][: self.num_items])

    def scored_embeddings(self) -> Embeddings:
        """The `embeddings` such that their inner products are the scores: of length one where these are cosines."""
        final = self.embeddings()
        if self._ranking_options.score_temperature is None:
            return final
        return Embeddings(normalise(final.users), normalise(final.items))

    def fold_in(self, linear: FoldIn) -> FoldIn:
        """What embeds users and items that came after training; call in evaluation mode.

        Parameters
        ----------
        linear
            Regressions on the final embeddings, which a model without a way of its own returns as they are.
        """
        return linear

    @property
    def _ranking_options(self) -> RankingOptions:
        # A declaration of `options` in this class would hide what else those of a model hold.
        return cast(RankingOptions, self.options)

    def score_function(self) -> ScoreFunction:
        """Inner products of the `scored_embeddings`."""
        return self.scored_embeddings().scores


@checked_dataclass(frozen=True, config=STRICT)
class NoOptions:
    """A model without settings, as the untrained ones are."""


@checked_dataclass(frozen=True, config=STRICT)
class RankingOptions:
    """Settings that all trained models share.

    Parameters
    ----------
    embedding_dim
        D.
    ranking_loss
        ``bpr`` (what nearly all papers train with) or ``softmax``, which compares with the negatives of the whole
        batch.
    softmax_negatives
        So many of the batch's negatives, at most, are in the softmax.
    score_temperature
        None scores by inner products, as most papers do. A number scores by cosines, and the ranking loss sees them
        divided by it: how often an item was trained on then cannot lengthen its embedding.
    l2_weight
        Weight of the L2 loss on the batch's ID embeddings.
    """

    embedding_dim: int = Field(default=64, gt=0, le=4096)
    ranking_loss: RankingLoss = "bpr"
    softmax_negatives: int = Field(default=2048, ge=1)
    score_temperature: float | None = Field(default=None, gt=0.0)
    l2_weight: float = Field(default=0.0, ge=0.0)


def ranking_terms(
    final: Tensor, ids: Tensor, rows: Tensor, options: RankingOptions, positions: Tensor | None = None
) -> dict[str, Tensor]:
    """The ranking loss of a batch and, where it has a weight, the L2 loss on its ID embeddings.

    Parameters
    ----------
    final
        [n, D] what scores, users first.
    ids
        [n, D] ID embeddings in the same order.
    rows
        `Batch.rows` [3 B].
    options
        Which loss, and its weights.
    positions
        Where these rows stand in `final`, if that holds only some of the nodes.
    """
    users, positives, negatives = (rows if positions is None else positions).chunk(3)
    user_of = None
    if options.ranking_loss == "softmax":
        negatives = negatives[: options.softmax_negatives]
        if users.device == CPU:  # a GPU's host would wait for their number
            users, user_of = torch.unique(users, return_inverse=True)
    # Gathered at once, so that the backward pass fills one tensor of all nodes, not three.
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
    """`contrastive_loss` of two views over the batch's users, plus that over its positive items.

    Each node of the batch counts once, and is compared with the batch's others of its kind.

    Parameters
    ----------
    one, other
        [U + I, D] the views, users first.
    batch
        Whose nodes are compared.
    num_users
        U.
    temperature
        tau.
    """
    kinds = torch.unique(batch.users), torch.unique(batch.positives) + num_users
    return torch.stack([contrastive_loss(one[rows], other[rows], temperature) for rows in kinds]).sum()


SHARED_SEARCH: Mapping[str, Sequence[Any]] = MappingProxyType(
    {
        "training.learning_rate": (1e-3, 3e-3, 1e-2),
        "model.ranking_loss": ("bpr", "softmax"),
        "model.score_temperature": (None, 0.1),
        "model.l2_weight": (0.0, 1e-5, 1e-4, 1e-3),
        "training.recency": (0.0, 1.0),
    }
)
"""What tuning tries of the settings that all trained models share: what helps one of them is denied to none.

Recency where the data has times.
"""


@dataclass(frozen=True)
class ModelEntry:
    """A registered model.

    Parameters
    ----------
    model
        Its class.
    options
        The dataclass of its options.
    search
        The values that tuning tries, by dotted setting such as ``model.num_layers``.
    """

    model: Callable[[ModelInputs, Any], RecommenderModel]
    options: type
    search: Mapping[str, Sequence[Any]]


_REGISTRY: dict[str, ModelEntry] = {}
Model = TypeVar("Model", bound=Callable[..., RecommenderModel])


def register(
    name: str, options: type, search: Mapping[str, Sequence[Any]] | None = None
) -> Callable[[Model], Model]:
    """Class decorator that makes a model known as `name` in configurations (`model.name`); see `ModelEntry`.

    `search` lies over `SHARED_SEARCH` where the options derive from `RankingOptions`.
    """
    shared = SHARED_SEARCH if issubclass(options, RankingOptions) else {}

    def add(model: Model) -> Model:
        _REGISTRY[name] = ModelEntry(model, options, {**shared, **(search or {})})
        return model

    return add


ENTRY_POINTS = "spike_dgl.models"
"""Group of entry points by which other packages make their models known; each names a module that registers some."""


def registered_models() -> dict[str, ModelEntry]:
    """Return all models by name: of every module of `spike_dgl.models`, and of every entry point."""
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
        except Exception as error:  # another package's fault must not keep ours from working
            warnings.warn(f"the models of {entry_point.value} do not import: {error}", stacklevel=3)


def model_entry(name: str) -> ModelEntry:
    """Return the model of a name, or of ``package.module:Class`` outside this package.

    Raises
    ------
    ConfigError
        If there is no such model, naming the nearest, or the class is not registered.
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
            f"model.name: '{name}' does not import ({error})\n"
            "  Name an importable module and a class in it, such as my_package.my_model:MyModel."
        ) from None
    entries = [entry for entry in _REGISTRY.values() if entry.model is model]
    if not entries:
        raise ConfigError(
            f"model.name: {name} is not registered\n"
            '  Decorate the class with @register("name", Options) of spike_dgl.models.base.'
        )
    return entries[0]
