from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_dgl.errors import ConfigError
from spike_dgl.tuning.samplers import RandomSampler, Sampler, make_sampler
from spike_dgl.tuning.space import Point, as_grid

GRID = as_grid(
    {"training.learning_rate": (1e-3, 1e-2, 1e-1), "model.fanout": ((1, 2), (3,)), "model.on": (True, False)}
)
FIRST = GRID.point(5)
OFF_THE_GRID = {"training.learning_rate": 0.5, "model.fanout": [1, 2], "model.on": True}


def value(point: Point) -> float:
    """Value of a point; the best is one corner of the grid."""
    return point["training.learning_rate"] + 10 * (point["model.fanout"] == [3]) + 100 * point["model.on"]


def tried(sampler: Sampler, trials: int, at_a_time: int = 1) -> list[Point]:
    points: list[Point] = []
    while asked := sampler.ask(trials - len(points), at_a_time):
        points += asked
        for point in asked:
            sampler.tell(point, value(point))
    return points


def test_points_are_the_combinations_each_once() -> None:
    points = [GRID.point(number) for number in range(len(GRID))]
    assert len(GRID) == len(points) == 12
    assert all(points.count(point) == 1 for point in points)
    assert GRID.point(0) == {"training.learning_rate": 1e-3, "model.fanout": [1, 2], "model.on": True}
    assert sorted(map(str, GRID.points_at_random(3))) == sorted(map(str, points))


@given(st.integers(0, 2**40), st.integers(1, 20), st.integers(1, 20))
def test_random_search_repeats_nothing_and_a_short_one_begins_a_long_one(
    seed: int, one: int, other: int
) -> None:
    short, long = (tried(RandomSampler(GRID, FIRST, seed), trials) for trials in sorted((one, other)))
    assert long[: len(short)] == short
    assert len(long) == min(max(one, other), len(GRID))
    assert all(long.count(point) == 1 for point in long)
    assert long[0] == FIRST


def test_settings_off_the_grid_are_tried_first_and_the_whole_grid_after_them() -> None:
    points = tried(RandomSampler(GRID, OFF_THE_GRID, 1), 100)
    assert points[0] == OFF_THE_GRID
    assert len(points) == 1 + len(GRID)


@pytest.mark.parametrize("first", [FIRST, OFF_THE_GRID], ids=["on the grid", "off the grid"])
@pytest.mark.parametrize("at_a_time", [1, 3])
def test_optuna_repeats_nothing_is_repeatable_and_covers_the_grid(first: Point, at_a_time: int) -> None:
    pytest.importorskip("optuna")
    points = tried(make_sampler("optuna", GRID, first, 1), 100, at_a_time)
    assert points[0] == first
    assert all(points.count(point) == 1 for point in points)
    assert len(points) == len(GRID) + (first not in GRID.points_at_random(0))
    assert points == tried(make_sampler("optuna", GRID, first, 1), 100, at_a_time)


def test_optuna_goes_where_it_was_good() -> None:
    pytest.importorskip("optuna")
    grid = as_grid({f"model.{name}": range(8) for name in "abc"})

    def total(sampler: Sampler) -> int:
        """Return the sum of the settings of the last ten of forty trials."""
        points: list[Point] = []
        while asked := sampler.ask(40 - len(points), 1):
            points += asked
            sampler.tell(asked[0], float(sum(asked[0].values())))
        return sum(sum(point.values()) for point in points[-10:])

    assert total(make_sampler("optuna", grid, grid.point(0), 1)) > 1.2 * total(
        RandomSampler(grid, grid.point(0), 1)
    )


def test_failed_trials_do_not_stop_optuna() -> None:
    pytest.importorskip("optuna")
    sampler = make_sampler("optuna", GRID, FIRST, 1)
    [first] = sampler.ask(2, 1)
    sampler.tell(first, None)
    assert sampler.ask(1, 1)


def test_without_optuna_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r'pip install -e "\.\[optuna\]"'):
        make_sampler("optuna", GRID, FIRST, 1)
