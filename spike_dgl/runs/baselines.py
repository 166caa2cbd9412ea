"""Test metrics of untrained baselines on the split of a run, as reference lines for its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from spike_dgl.data.dataset import Dataset, Triples
from spike_dgl.evaluation import Evaluation, EvaluationOptions, evaluate
from spike_dgl.evaluation.cold_users import popular_for_cold_users
from spike_dgl.graph import build_graph
from spike_dgl.markdown import markdown_table
from spike_dgl.models.base import ModelInputs, model_entry
from spike_dgl.runs.config import RunConfig
from spike_dgl.typing import IndexArray

BASELINES = ("popularity", "item-cosine")
BUDGET = 5_000_000_000
"""Maximum of users x training interactions, the cost of item-cosine: about ten seconds on a CPU core."""
NODES_AT_ONCE = 10_000_000
"""Maximum of users ranked at a time x nodes, the memory of item-cosine."""
COMPARED = ("recall", "ndcg")


@dataclass(frozen=True)
class Baselines:
    """Baselines of a run, evaluated on its test users or on a random sample of them.

    Parameters
    ----------
    users
        Number of users.
    own
        Test metrics of the run on these users.
    metrics
        Test metrics of each baseline by its model name.
    cutoff
        Cutoff of the metrics that are compared.
    """

    users: int
    own: Mapping[str, float]
    metrics: Mapping[str, Mapping[str, float]]
    cutoff: int

    @property
    def shown(self) -> list[str]:
        """Names of the compared metrics: recall and NDCG at the cutoff."""
        return [f"{name}@{self.cutoff}" for name in COMPARED]

    def below(self) -> list[str]:
        """Return a sentence for each baseline that is ahead in recall or NDCG, as rounded to four decimals."""
        return [
            f"below {name}: {', '.join(lost)}" for name in self.metrics if (lost := list(self._lost(name)))
        ]

    def _lost(self, name: str) -> Iterator[str]:
        for metric in self.shown:
            own, theirs = round(self.own[metric], 4), round(self.metrics[name][metric], 4)
            if own < theirs:
                yield f"{metric} {own:.4f} against {theirs:.4f}"

    def remedy(self, config: RunConfig, record: Mapping[str, Any], dataset: Dataset) -> str:
        """Return what to do if the run is below a baseline; empty if it is not.

        Parameters
        ----------
        config, dataset
            Settings and data of the run.
        record
            Result of the run.
        """
        lost = {name: len(list(self._lost(name))) for name in self.metrics}
        if not any(lost.values()):
            return ""
        better = [name for name in lost if lost[name] == len(self.shown)]
        best = max(better, key=lambda name: self.metrics[name][self.shown[-1]], default=None)
        instead = f"The lists of model.name={best} are more accurate on this data." if best else ""
        return " ".join(
            filter(None, [_advice(config, record, dataset), _popularity_advice(config, lost), instead])
        )

    def table(self, model: str) -> str:
        """Render the compared metrics of the run's model and the baselines as Markdown."""
        rows = {model: self.own, **self.metrics}
        cells = [[name, *(f"{means[metric]:.4f}" for metric in self.shown)] for name, means in rows.items()]
        return markdown_table([["", *self.shown], *cells])

    def record(self) -> dict[str, Any]:
        """Return the entries of ``result.json``."""
        return {
            "baselines": {name: dict(means) for name, means in self.metrics.items()},
            "baseline_users": self.users,
            "below_baselines": self.below(),
        }


def evaluate_baselines(
    test: Evaluation, dataset: Dataset, model: str, options: EvaluationOptions, device: torch.device
) -> Baselines:
    """Evaluate the baselines on the test split.

    The cost is that of item-cosine, two nanoseconds per user and training interaction on a CPU core. If `BUDGET` is too
    small for all users, the metrics are those of a random sample of users, the run's own included.

    Parameters
    ----------
    test
        Evaluation of the run on the test split of `dataset`.
    dataset
        Data of the run.
    model
        Name of the run's model, which is not compared with itself.
    options
        Options of the run's evaluation.
    device
        Device to compute on.
    """
    users = _sample(test, dataset)
    of_users = np.isin(dataset.test.users, test.users[users])
    sampled = dataset.replace(test=dataset.test.select(of_users), triples=_NO_TRIPLES)
    inputs = ModelInputs(build_graph(sampled), device=device)
    at_once = max(1, NODES_AT_ONCE // (dataset.num_users + dataset.num_items))
    options = replace(options, chunk_size=min(options.chunk_size, at_once))
    metrics = {}
    for name in BASELINES:
        if name != model:
            entry = model_entry(name)
            baseline = entry.model(inputs, entry.options()).to(device)
            score = baseline.score_function()
            if not baseline.scores_cold_users:
                score = popular_for_cold_users(score, sampled)
            metrics[name] = evaluate(score, sampled, "test", options).means
    own = {name: float(values[users].mean()) for name, values in test.per_user.items()}
    return Baselines(len(users), own, metrics, test.shown_cutoff)


def _advice(config: RunConfig, record: Mapping[str, Any], dataset: Dataset) -> str:
    """Return how a trained model may become better; empty for an untrained model."""
    if not record["epochs"]:
        return ""
    if record["valid"] and record["reported_epoch"] == record["epochs"]:
        return "The last epoch was the best on validation: train longer (training.epochs)."
    is_chosen = "choice" in record.get("regime", {})
    if dataset.train.times is not None and not config.training.recency and not is_chosen:
        return (
            "This data has times: training in the order of time may help (--regime auto, docs/training.md)."
        )
    return "Other settings may help: python main.py tune chooses them on validation."


def _popularity_advice(config: RunConfig, lost: Mapping[str, int]) -> str:
    """Return the setting that moves lists towards popularity, for a run below it; empty if it is in use."""
    if not lost.get("popularity") or getattr(config.model, "popularity_weight", None) != 0.0:
        return ""
    return (
        "Popularity tells more than the model does here: model.popularity_weight=auto adds it to the scores."
    )


_NO_TRIPLES = Triples.from_rows(np.empty((0, 3), np.int64))  # no baseline reads them


def _sample(test: Evaluation, dataset: Dataset) -> IndexArray:
    """Return positions of the test users that the budget is enough for, ascending."""
    size = max(1, min(len(test.users), BUDGET // max(1, len(dataset.train))))
    return np.sort(np.random.default_rng(0).permutation(len(test.users))[:size])
