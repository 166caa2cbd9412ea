"""The search itself: trials in processes of their own, none of which ranks the data's test part."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from spike_dgl.data.options import load
from spike_dgl.errors import ConfigError
from spike_dgl.runs import PlannedRun, run_missing
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
    """

    trials: int
    seed: int
    sampler: SamplerName
    jobs: int = 1


@dataclass(frozen=True)
class Trial:
    """One run of a search.

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
    """

    number: int
    point: Point
    run: PlannedRun
    failure: str | None = None

    @cached_property
    def record(self) -> dict[str, Any]:
        """What it reached, and what that cost."""
        return dict(json.loads(self.run.result.read_text(encoding="utf-8")))

    @property
    def measured_on(self) -> str:
        """What settings are chosen by: ``validation``, or the test part of a ``rehearsal``."""
        return "rehearsal" if self.run.is_tested else "validation"

    @property
    def value(self) -> float | None:
        """The metric that settings are chosen by; None where the trial failed."""
        part = "test" if self.run.is_tested else "valid"
        return None if self.failure else float(self.record[part][self.run.config.training.metric])


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
        In the order in which they were chosen.
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
    return trials


def _planned(contender: Contender, folder: Path, point: Point, number: int) -> PlannedRun:
    config = contender.config(point)
    # The test part of a rehearsal is training data, and it is what a rehearsal is for.
    return PlannedRun(
        f"{contender.model} trial {number}",
        config,
        folder / f"trial-{number}",
        is_tested=config.data.rehearsal,
    )
