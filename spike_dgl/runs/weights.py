"""Loading the weights of a run's reported epoch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from spike_dgl.config import (
    flat,
    to_mapping,
)
from spike_dgl.errors import DataError
from spike_dgl.models.base import EmbeddingModel, RecommenderModel
from spike_dgl.runs.config import RunConfig
from spike_dgl.runs.folder import RunFolder
from spike_dgl.training.checkpoint import load_checkpoint, weights_of


def load_best(model: RecommenderModel, folder: RunFolder, config: RunConfig) -> None:
    """Load the weights of a run's reported epoch into a model.

    Raises `DataError` if there is no such epoch, or the weights are of another model.
    """
    state = load_checkpoint(folder.file("best.pt"))
    former_names = model.former_names if isinstance(model, EmbeddingModel) else ()
    with weights_fit(folder, config):
        model.load_state_dict(weights_of(state, former_names))


@contextmanager
def weights_fit(folder: RunFolder, config: RunConfig) -> Iterator[None]:
    """Raise `DataError` if loaded weights have other names or sizes than the model of a run's settings."""
    try:
        yield
    except RuntimeError as error:
        first, *reasons = str(error).splitlines()
        if "state_dict" not in first:
            raise
        file = folder.file("config.yaml")
        there, model = flat(folder.settings()), flat({"model": to_mapping(config.model)})
        new = ", ".join(f"{key} (now {value})" for key, value in model.items() if key not in there)
        remedy = "Restore the settings of the training, or train again."
        if new:
            remedy = f"An older version trained it without {new}: set the value that switches it off, or train again."
        problem = f"describes another model than the weights ({' '.join(reasons).strip()})"
        raise DataError(file, problem, remedy) from None
