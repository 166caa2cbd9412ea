"""Weight of the popularity term, chosen on the validation split after training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spike_dgl.models.base import RankingOptions
from spike_dgl.runs.folder import RunFolder

FILE = "popularity_weight.json"
USUAL = 0.1
"""Weight that needs no evidence: it was better than 0 on the inner split of each data set that was tried."""
WEIGHTS = (0.0, USUAL, 0.3, 1.0, 3.0)
"""Weights to choose from."""
ERRORS = 2.0
"""Standard errors, paired over users, by which another weight must be better; about p = 0.05."""


@dataclass(frozen=True)
class PopularityChoice:
    """Chosen weight of the popularity term.

    Parameters
    ----------
    weight
        The chosen ``model.popularity_weight``.
    metric
        Validation metric that decided.
    by_weight
        Its mean for each weight that was tried.
    """

    weight: float
    metric: str
    by_weight: Mapping[float, float]

    def record(self) -> dict[str, Any]:
        """Return the content of `FILE`."""
        by_weight = {f"{weight:g}": value for weight, value in self.by_weight.items()}
        return {"weight": self.weight, "metric": self.metric, "valid": by_weight}


def choose_popularity_weight(values: Mapping[float, NDArray[np.float64]], metric: str) -> PopularityChoice:
    """Choose `USUAL`, or the best of the other weights if it is significantly better.

    Validation splits are small, and differences between weights that are near each other are mostly noise.

    Parameters
    ----------
    values
        Validation metric of each user [n], the same users for each of `WEIGHTS`; empty without a validation split.
    metric
        Name of the metric.
    """
    means = {weight: float(of_users.mean()) for weight, of_users in values.items()}
    best = max(means, key=lambda weight: means[weight], default=USUAL)
    if best != USUAL:
        gains = values[best] - values[USUAL]
        error = float(gains.std()) / math.sqrt(len(gains))
        best = best if gains.mean() > ERRORS * error else USUAL
    return PopularityChoice(best, metric, means)


def popularity_choice(folder: RunFolder) -> dict[str, Any]:
    """Return the record of the choice in a run; empty if there was none, or not yet."""
    return folder.read_json(FILE) if folder.file(FILE).is_file() else {}


def popularity_weight_of(options: RankingOptions, folder: RunFolder) -> float:
    """Return the weight of the popularity term of a run: as set, or as chosen; 0 as long as it is not chosen."""
    if options.popularity_weight != "auto":
        return options.popularity_weight
    return float(popularity_choice(folder).get("weight", 0.0))
