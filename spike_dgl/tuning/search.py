"""The search itself: trials in processes of their own, none of which ranks the data's test part."""

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


@dataclass(frozen=True)
class Budget:
    """What each model is given.

    Parameters
    ----------
    trials
        Runs of a model, at most; a grid that is smaller is tried as a whole.
    seed
        Of the search. Initial weights, dropout and negatives have ``training.seed``, one for all trials.
    sampler
        ``random`` or ``optuna``.
    jobs
        Trials at a time.
    finalists, seeds
        So many of the best trials are run with so many training seeds in all, and the best mean is chosen.
    """

    trials: int
    seed: int
    sampler: SamplerName
    jobs: int = 1
    finalists: int = 3
    seeds: int = 1


@dataclass(frozen=True)
class Trial:
    """One point of a search.

    Parameters
    ----------
    number
        From 1, which is the model as it was before tuning.
    point
        What it tried.
    run
        Its run folder and settings.
    failure
        Why it failed; None where it did not.
    repeats
        The same with other training seeds, for a finalist.
    """

    number: int
    point: Point
    run: PlannedRun
    failure: str | None = None
    repeats: tuple[PlannedRun, ...] = ()

    @cached_property
    def record(self) -> dict[str, Any]:
        """What the first run reached, and what that cost."""
        return _record(self.run)

    @property
    def measured_on(self) -> str:
        """What settings are chosen by: ``validation``, or the test part of a ``inner split``."""
        return "inner split" if self.run.is_tested else "validation"

    @cached_property
    def value(self) -> float | None:
        """The metric that settings are chosen by, a mean over seeds; None where the trial failed."""
        if self.failure:
            return None
        part, metric = "test" if self.run.is_tested else "valid", self.run.config.training.metric
        return mean(float(record[part][metric]) for record in (self.record, *map(_record, self.repeats)))


def _record(run: PlannedRun) -> dict[str, Any]:
    return dict(json.loads(run.result.read_text(encoding="utf-8")))


def best_first(trials: Sequence[Trial]) -> list[Trial]:
    """Finalists by their means, then the others by what they reached; of equal ones the earlier, failed ones last.

    The best of many single runs owes its place in part to luck: no other trial is set before a finalist.
    """
    return sorted(
        trials,
        key=lambda trial: (trial.value is None, -len(trial.repeats), -(trial.value or 0.0), trial.number),
    )


def fit_to_data(contenders: Sequence[Contender]) -> list[Contender]:
    """The same without settings that need times, where the data has none.

    Raises
    ------
    ConfigError
        Where a model's data has no validation part.
    """
    has_times = {}
    for options in {contender.config({}).data for contender in contenders}:
        dataset = load(options)
        if not len(dataset.valid):
            raise ConfigError(
                f"data set '{options.path}' has no validation part, and nothing is chosen on the test part\n"
                "  Set data.valid_fraction above 0."
            )
        has_times[options] = dataset.train.times is not None
    return [
        contender if has_times[contender.config({}).data] else _without_times(contender)
        for contender in contenders
    ]


def _without_times(contender: Contender) -> Contender:
    values = contender.grid.values.items()
    return replace(contender, grid=Grid({key: tried for key, tried in values if key != "training.recency"}))


def search(contender: Contender, budget: Budget, folder: Path, say: Callable[[str], None]) -> list[Trial]:
    """Try points of a model's grid, beginning with the settings it has; what was tried before is not run again.

    Parameters
    ----------
    contender
        The model.
    budget
        How often, and how points are chosen.
    folder
        Gets the run folders ``trial-1`` and so on.
    say
        Is told what ended.

    Returns
    -------
    list of Trial
        In the order in which they were chosen; finalists with their repeats.
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
    """The run of a trial; with `more` a repeat, whose training seed is higher by that."""
    config, name = contender.config(point), f"trial {number}"
    if more:
        seed = config.training.seed + more
        config, name = contender.config({**point, "training.seed": seed}), f"{name} seed {seed}"
    # The test part of the inner split is training data, and it is what the inner split is for.
    is_tested = config.data.inner_split
    config = replace(config, evaluation=config.validation)
    return PlannedRun(f"{contender.model} {name}", config, folder / name.replace(" ", "-"), is_tested)
