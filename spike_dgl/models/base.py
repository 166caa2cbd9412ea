"""What the trainer asks of a model, and how a model file makes itself known.

A model is one file in this folder: a frozen options dataclass and a `RecommenderModel` subclass with the decorator
`@register("name", Options)`. Nothing else needs editing.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from spike_dgl.dgl_import import DGLGraph
from spike_dgl.errors import ConfigError, nearest

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Batch:
    """Training interactions with one sampled negative each: rows `users`, `positives`, `negatives`, all [B]."""

    users: Tensor
    positives: Tensor
    negatives: Tensor


@dataclass(frozen=True)
class ModelInputs:
    """All that a model is built from.

    Parameters
    ----------
    graph
        The heterograph of `spike_dgl.graph.build_graph`.
    user_vectors, entity_vectors
        Text vectors of the profiles, [U, d_t] and [N, d_t], items first; None where a run uses no profiles.
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


class RecommenderModel(nn.Module, ABC):
    """A model that the trainer can train. It knows nothing of epochs, files or settings outside its own."""

    @abstractmethod
    def propagate(self) -> Any:
        """One pass over the graph: whatever `loss` and `embeddings` need, with dropout in training mode."""

    @abstractmethod
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted terms, scalars, whose sum is minimised; the first is the ranking loss."""

    @abstractmethod
    def embeddings(self) -> Embeddings:
        """Final representations of all users and items, as `loss` scores them; call in evaluation mode."""


@dataclass(frozen=True)
class ModelEntry:
    """A registered model: its class and the dataclass of its options."""

    model: Callable[[ModelInputs, Any], RecommenderModel]
    options: type


_REGISTRY: dict[str, ModelEntry] = {}
Model = TypeVar("Model", bound=Callable[..., RecommenderModel])


def register(name: str, options: type) -> Callable[[Model], Model]:
    """Class decorator that makes a model known as `name` in configurations (`model.name`)."""

    def add(model: Model) -> Model:
        _REGISTRY[name] = ModelEntry(model, options)
        return model

    return add


def registered_models() -> dict[str, ModelEntry]:
    """All models by name: every module of `spike_dgl.models` is imported."""
    package = importlib.import_module("spike_dgl.models")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return dict(sorted(_REGISTRY.items()))


def model_entry(name: str) -> ModelEntry:
    """The model of that name. Raises `ConfigError`, naming the nearest, where there is none."""
    models = registered_models()
    if name not in models:
        raise ConfigError(f"unknown model '{name}'; {nearest(name, models)}")
    return models[name]
