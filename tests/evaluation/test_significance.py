"""Paired tests, correction for multiple testing, and the bootstrap."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from spike_dgl.evaluation.significance import holm, paired_test


def test_paired_test_by_hand() -> None:
    # Differences 1, 2, 3: mean 2, standard deviation 1, t = 2 / (1 / sqrt(3)) = 3.4641 with 2 degrees of freedom,
    # for which the two-sided p has the closed form 1 - t / sqrt(t^2 + 2).
    result = paired_test(np.array([2.0, 4.0, 6.0]), np.array([1.0, 2.0, 3.0]))
    t = 2 * math.sqrt(3)
    assert result.difference == 2.0
    assert result.p_value == pytest.approx(1 - t / math.sqrt(t**2 + 2))
    assert 1.0 <= result.low < 2.0 < result.high <= 3.0


def test_p_value_is_that_of_scipy() -> None:
    random = np.random.default_rng(3)
    first, second = random.random(50), random.random(50)
    assert paired_test(first, second).p_value == pytest.approx(stats.ttest_rel(first, second).pvalue)


def test_no_difference_is_no_finding_and_a_constant_one_is_certain() -> None:
    values = np.array([0.25, 0.5, 0.75])
    same = paired_test(values, values)
    assert (same.difference, same.low, same.high, same.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert paired_test(values + 1, values).p_value == 0.0
    assert paired_test(values[:1] + 1, values[:1]).p_value == 1.0  # no inference from a single user


def test_users_must_be_the_same() -> None:
    with pytest.raises(ValueError, match="same users"):
        paired_test(np.zeros(3), np.zeros(2))


def test_bootstrap_interval_is_that_of_the_normal_distribution_for_many_users() -> None:
    differences = np.random.default_rng(0).normal(0.3, 1.0, 4000)
    result = paired_test(differences, np.zeros(4000))
    error = differences.std(ddof=1) / math.sqrt(4000)
    assert result.low == pytest.approx(differences.mean() - 1.96 * error, abs=0.2 * error)
    assert result.high == pytest.approx(differences.mean() + 1.96 * error, abs=0.2 * error)
    assert result == paired_test(differences, np.zeros(4000))


def test_without_a_difference_five_percent_are_called_one() -> None:
    # Recall-like values, assigned to two models at random: 1000 experiments, 3 standard errors are 2.1 %.
    random = np.random.default_rng(5)
    rejected = 0
    for _ in range(1000):
        pair = random.binomial(4, [[0.2], [0.3]], (2, 80)) / 4
        swapped = random.random(80) < 0.5
        first, second = np.where(swapped, pair[::-1], pair)
        rejected += paired_test(first, second).p_value < 0.05
    assert 0.03 < rejected / 1000 < 0.07


def test_holm_by_hand() -> None:
    # Sorted: .005 x 4, .01 x 3, .03 x 2, .04 x 1, none below the previous one.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_no_correction_and_bonferroni(p_values: list[float]) -> None:
    corrected = np.array(holm(p_values))
    assert (corrected >= np.array(p_values)).all()
    assert (corrected <= np.minimum(1.0, np.array(p_values) * len(p_values)) + 1e-12).all()
    order = np.argsort(p_values)
    assert (np.diff(corrected[order]) >= 0).all()
