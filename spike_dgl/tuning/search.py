"""Hyperparameter search: each trial runs in its own process, and none uses the test split."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import mean
from typing import Any

from spike_dgl.data.options import load
from spike_dgl.errors import ConfigError
from spike_dgl.runs.processes import PlannedRun, run_missing
from spike_dgl.tuning.contenders import Contender
from spike_dgl.tuning.samplers import SamplerName, make_sampler
from spike_dgl.tuning.space import Grid, Point

NEED_TIMES = {"training.recency", "model.half_life"}
"""Settings that are tuned only if the data has times."""


@dataclass(frozen=True)
class Budget:
    """Search budget of each model.

    Parameters
    ----------
    trials
        Maximum number of runs per model; a smaller grid is tried completely.
    seed
        Random seed of the search. All trials have the same ``training.seed``.
    sampler
        ``random`` or ``optuna``.
    jobs
        Number of parallel trials.
    finalists, seeds
        Number of best trials that are run with several training seeds, and number of these seeds. The best mean wins.
    """

    trials: int
    seed: int
    sampler: SamplerName
    jobs: int = 1
    finalists: int = 3
    seeds: int = 1


@dataclass(frozen=True)
class Trial:
    """Trial of a search.

    Parameters
    ----------
    number
        Number from 1; trial 1 has the settings before tuning.
    point
        Its point of the grid.
    run
        Its run.
    failure
        Reason of failure; None if it succeeded.
    repeats
        Runs with other training seeds, for a finalist.
    """

    number: int
    point: Point
    run: PlannedRun
    failure: str | None = None
    repeats: tuple[PlannedRun, ...] = ()

    @cached_property
    def record(self) -> dict[str, Any]:
        """Result of the first run."""
        return _record(self.run)

    @property
    def measured_on(self) -> str:
        """Data that settings are chosen on: ``validation``, or the test split of the ``inner split``."""
        return "inner split" if self.run.is_tested else "validation"

    @cached_property
    def value(self) -> float | None:
        """Metric that settings are chosen by, averaged over seeds; None if the trial failed."""
        if self.failure:
            return None
        part, metric = "test" if self.run.is_tested else "valid", self.run.config.training.metric
        return mean(float(record[part][metric]) for record in (self.record, *map(_record, self.repeats)))


def _record(run: PlannedRun) -> dict[str, Any]:
    return dict(json.loads(run.result.read_text(encoding="utf-8")))


def best_first(trials: Sequence[Trial]) -> list[Trial]:
    """Sort trials: finalists by mean, then others by value, ties by number, failed ones last.

    Finalists are always first, because the best of many single runs is partly lucky.
    """
    return sorted(
        trials,
        key=lambda trial: (trial.value is None, -len(trial.repeats), -(trial.value or 0.0), trial.number),
    )


def fit_to_data(contenders: Sequence[Contender]) -> list[Contender]:
    """Return the contenders without settings that need times, if their data has none.

    Raises
    ------
    ConfigError
        If a model's data has no validation split.
    """
    has_times = {}
    for options in {contender.config({}).data for contender in contenders}:
        dataset = load(options)
        if not len(dataset.valid):
            raise ConfigError(
                f"dataset '{options.path}' has no validation split, and tuning must not use the test split\n"
                "  Set data.valid_fraction above 0."
            )
        has_times[options] = dataset.train.times is not None
    return [
        contender if has_times[contender.config({}).data] else _without_times(contender)
        for contender in contenders
    ]


def _without_times(contender: Contender) -> Contender:
    values = contender.grid.values.items()
    return replace(contender, grid=Grid({key: tried for key, tried in values if key not in NEED_TIMES}))


def search(contender: Contender, budget: Budget, folder: Path, say: Callable[[str], None]) -> list[Trial]:
    """Try points of a model's grid, starting with its current settings; finished trials are not repeated.

    Parameters
    ----------
    contender
        The model.
    budget
        Number of trials and sampler.
    folder
        Parent of the run folders ``trial-1`` and so on.
    say
        Function called with progress messages.

    Returns
    -------
    list of Trial
        Trials in order; finalists with their repeats.
    """
    sampler = make_sampler(budget.sampler, contender.grid, contender.first, budget.seed)
    trials: list[Trial] = []
    while points := sampler.ask(budget.trials - len(trials), budget.jobs):
        runs = [
            _planned(contender, folder, point, number)
            for number, point in enumerate(points, start=len(trials) + 1)
        ]
        failures = run_missing(runs, at_a_time=budget.jobs, say=say)
        for point, run in zip(points, runs, strict=True):
            trials.append(Trial(len(trials) + 1, point, run, failures.get(run.name)))
            sampler.tell(point, trials[-1].value)
    return _with_finalists_repeated(trials, contender, budget, folder, say)


def _with_finalists_repeated(
    trials: list[Trial], contender: Contender, budget: Budget, folder: Path, say: Callable[[str], None]
) -> list[Trial]:
    finalists = [trial for trial in best_first(trials)[: budget.finalists] if trial.failure is None]
    repeats = {
        trial.number: tuple(
            _planned(contender, folder, trial.point, trial.number, more) for more in range(1, budget.seeds)
        )
        for trial in finalists
    }
    failures = run_missing([run for runs in repeats.values() for run in runs], at_a_time=budget.jobs, say=say)
    repeated = []
    for trial in trials:
        runs = repeats.get(trial.number, ())
        failure = next((failures[run.name] for run in runs if run.name in failures), trial.failure)
        repeated.append(replace(trial, repeats=runs, failure=failure))
    return repeated


def _planned(contender: Contender, folder: Path, point: Point, number: int, more: int = 0) -> PlannedRun:
    """Return the run of a trial, or with `more` a repeat with the training seed increased by `more`."""
    config, name = contender.config(point), f"trial {number}"
    if more:
        seed = config.training.seed + more
        config, name = contender.config({**point, "training.seed": seed}), f"{name} seed {seed}"
    # The test split of the inner split is training data, so it may be used to choose settings.
    is_tested = config.data.inner_split
    config = replace(config, evaluation=config.validation)
    return PlannedRun(f"{contender.model} {name}", config, folder / name.replace(" ", "-"), is_tested)
