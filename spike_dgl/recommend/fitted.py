"""Recommendations from a run whose model is not trained but fitted, such as EDLAE."""

from __future__ import annotations

from pathlib import Path

from spike_dgl.data.dataset import Dataset
from spike_dgl.errors import SpikeError
from spike_dgl.models.base import EmbeddingModel, ScoreFunction, model_entry
from spike_dgl.recommend.cold_start import ColdStart
from spike_dgl.recommend.recommender import Recommender
from spike_dgl.recommend.user_scores import RankedScores
from spike_dgl.runs.config import config_of
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.set_up import reopen
from spike_dgl.training.devices import Device, choose_device
from spike_dgl.typing import FloatArray


class FittedRecommender(Recommender):
    """Top-k recommendation by a model without embeddings, such as EDLAE: lists and scores for users of the data only.

    Parameters
    ----------
    dataset
        Data of the run.
    score
        Score function of the fitted model; its device ranks the items.
    model
        Name of the model, for error messages.
    """

    has_embeddings = False

    def __init__(self, dataset: Dataset, score: ScoreFunction, model: str) -> None:
        self._model = model
        self._set_data(dataset)
        self._scores = RankedScores(score, self._seen, dataset.num_users, dataset.num_items)

    @classmethod
    def load(cls, run: str | Path, *, device: Device = "cpu") -> FittedRecommender:
        """Load the data of a run, and fit its model to them again."""
        choose_device(device, setting="device")
        folder = RunFolder.open(Path(run))
        experiment = reopen(folder, [f"training.device={device}"])
        folder.check_unchanged()
        return cls(experiment.dataset, experiment.best_scores(), experiment.config.model_name)

    @property
    def cold_start(self) -> ColdStart:
        """Raise `SpikeError`: the model has no embeddings to compare with those of new users and items."""
        raise self._refusal()

    @property
    def user_embeddings(self) -> FloatArray:
        """Raise `SpikeError`."""
        raise self._refusal()

    @property
    def item_embeddings(self) -> FloatArray:
        """Raise `SpikeError`."""
        raise self._refusal()

    def _refusal(self) -> SpikeError:
        return SpikeError(
            f"the model is {self._model}, which stores no embeddings: it ranks items for users of its data, "
            "but not for liked items, texts or new items, and finds no similar items\n"
            "  Use a run of a trained model, such as model.name=spike."
        )


def is_fitted(folder: RunFolder) -> bool:
    """Return whether the model of a run has no embeddings to store."""
    model = model_entry(config_of(folder).model_name).model
    return not (isinstance(model, type) and issubclass(model, EmbeddingModel))
