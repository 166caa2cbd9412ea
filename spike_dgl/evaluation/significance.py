"""Statistical significance of the difference between two models over users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Values = NDArray[np.float64]

RESAMPLES = 2000
CHUNK = 4_000_000
"""Maximum number of random draws in memory at a time."""


@dataclass(frozen=True)
class PairedTest:
    """Result of a paired comparison of two models on the same users.

    Parameters
    ----------
    difference
        Mean over users of the first model's metric minus the second's.
    low, high
        95 % bootstrap interval of that mean over users.
    p_value
        Two-sided p-value of the paired t-test.
    """

    difference: float
    low: float
    high: float
    p_value: float


def paired_test(first: Values, second: Values, *, seed: int = 0) -> PairedTest:
    """Compare a metric of two models with a paired t-test over users.

    The t-test tests the mean, which is the reported metric. Wilcoxon's test assumes symmetric differences; differences
    of recall are not symmetric and have many ties. On retrieval data the t-test agreed with the permutation test, and
    Wilcoxon's did not (Smucker, Allan, Carterette, CIKM 2007); the t-test also kept its nominal error rate (Urbano,
    Lima, Hanjalic, SIGIR 2019).

    Parameters
    ----------
    first, second
        Metric per user [n], the same users in the same order. For several training runs, the mean over runs.
    seed
        Random seed of the bootstrap.

    Raises
    ------
    ValueError
        If the lengths differ or are 0.
    """
    if first.shape != second.shape or not len(first):
        raise ValueError(f"expected the same users, got values of {len(first)} and {len(second)}")
    differences = first - second
    low, high = np.quantile(_resampled_means(differences, seed), (0.025, 0.975))
    return PairedTest(float(differences.mean()), float(low), float(high), _p_value(differences))


def _p_value(differences: Values) -> float:
    """Two-sided p-value of t = mean / (s / sqrt(n)) with n - 1 degrees of freedom; 1 if all differences are 0."""
    if len(differences) < 2 or not differences.any():
        return 1.0
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    return float(2 * stats.t.sf(abs(differences.mean()) / error, len(differences) - 1)) if error else 0.0


def _resampled_means(differences: Values, seed: int) -> Values:
    """Return bootstrap means: `RESAMPLES` means over users drawn with replacement."""
    random, size = np.random.default_rng(seed), len(differences)
    portion = max(1, CHUNK // size)
    means = [
        differences[random.integers(0, size, (min(portion, RESAMPLES - start), size))].mean(axis=1)
        for start in range(0, RESAMPLES, portion)
    ]
    return np.concatenate(means)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for multiple testing, controlling the family-wise error rate.

    Step-down method of Holm (Scandinavian Journal of Statistics 6, 1979): the i-th smallest of m p-values is multiplied
    by m - i + 1, and no corrected value may be below the one before it.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values)
    factors = len(values) - np.arange(len(values))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * factors))
    return [float(value) for value in corrected]
