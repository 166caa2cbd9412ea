"""Samplers of hyperparameters: random search, and Optuna's TPE."""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeAlias

from spike_dgl.errors import ConfigError
from spike_dgl.tuning.space import Grid, Point

SamplerName: TypeAlias = Literal["random", "optuna"]

ATTEMPTS = 20
"""Number of times that Optuna may propose a point that was tried already, before a random point is used."""


class Sampler(Protocol):
    """Sampler of points of a grid without repetition. It is deterministic, given the seed and the results."""

    def ask(self, number: int, at_a_time: int) -> list[Point]:
        """Return the next points, at most `number`, to be tried `at_a_time` in parallel; empty if all were tried."""

    def tell(self, point: Point, value: float | None) -> None:
        """Report the value of a point; None if it failed."""


def make_sampler(name: SamplerName, grid: Grid, first: Point, seed: int) -> Sampler:
    """Create the sampler of a name, which starts with the point `first`; this need not be on the grid."""
    return RandomSampler(grid, first, seed) if name == "random" else OptunaSampler(grid, first, seed)


class RandomSampler:
    """Random search without repetition. With more trials, the first ones stay the same.

    Source: Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 2012.
    """

    def __init__(self, grid: Grid, first: Point, seed: int) -> None:
        self._left = [first, *(point for point in grid.points_at_random(seed) if point != first)]

    def ask(self, number: int, at_a_time: int) -> list[Point]:  # noqa: ARG002  (the signature of Sampler)
        """Return `number` points at once."""
        points, self._left = self._left[:number], self._left[number:]
        return points

    def tell(self, point: Point, value: float | None) -> None:
        """Do nothing: random search does not use results."""


class OptunaSampler:
    """Tree-structured Parzen estimator (TPE) of Optuna, on the same grid.

    Source: Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NIPS 2011.

    Raises
    ------
    ConfigError
        If Optuna is not installed.
    """

    def __init__(self, grid: Grid, first: Point, seed: int) -> None:
        self._optuna = _import_optuna()
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        tpe = self._optuna.samplers.TPESampler(seed=seed)
        self._study = self._optuna.create_study(direction="maximize", sampler=tpe)
        self._grid = grid
        self._distributions = {key: self._distribution(key) for key in grid.values}
        self._untried = RandomSampler(grid, first, seed)
        self._asked: list[Point] = []

    def _distribution(self, key: str) -> Any:
        """Return a distribution of positions among the values, ordered if they are numbers."""
        values, kinds = self._grid.values[key], self._optuna.distributions
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            return kinds.IntDistribution(0, len(values) - 1)
        return kinds.CategoricalDistribution(list(range(len(values))))

    def ask(self, number: int, at_a_time: int) -> list[Point]:
        """Return at most `at_a_time` points, so that the next ones use their results."""
        points: list[Point] = []
        for _ in range(min(number, at_a_time)):
            point = (self._proposed() if self._asked else None) or self._next_untried()
            if point is None:
                break
            self._asked.append(point)
            points.append(point)
        return points

    def _proposed(self) -> Point | None:
        """Return a new point; None if Optuna proposes only points that were tried."""
        for _ in range(ATTEMPTS):
            trial = self._study.ask(self._distributions)
            point = {key: values[trial.params[key]] for key, values in self._grid.values.items()}
            self._study.tell(
                trial, state=self._optuna.trial.TrialState.FAIL
            )  # added again with its value in `tell`
            if point not in self._asked:
                return point
        return None

    def _next_untried(self) -> Point | None:
        while left := self._untried.ask(1, 1):
            if left[0] not in self._asked:
                return left[0]
        return None

    def tell(self, point: Point, value: float | None) -> None:
        """Add a result to Optuna's study; points off the grid, as the first may be, are ignored."""
        positions = {
            key: values.index(point[key]) for key, values in self._grid.values.items() if point[key] in values
        }
        if value is not None and len(positions) == len(self._grid.values):
            create = self._optuna.trial.create_trial
            self._study.add_trial(create(params=positions, distributions=self._distributions, value=value))


def _import_optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError:
        raise ConfigError(
            "--sampler optuna needs the package optuna\n"
            '  Install it with pip install -e ".[optuna]", or leave out --sampler to use random search.'
        ) from None
    return optuna
