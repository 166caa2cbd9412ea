"""Results of a study's runs, and differences between its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spike_dgl.comparison.definition import Row, Study
from spike_dgl.errors import ConfigError, DataError, SpikeError, nearest
from spike_dgl.evaluation import BEYOND_ACCURACY, metric_names
from spike_dgl.evaluation.groups import least_active
from spike_dgl.evaluation.significance import PairedTest, holm, paired_test
from spike_dgl.runs.averages import Record, read_record
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.processes import PlannedRun
from spike_dgl.typing import BoolArray, IndexArray

TEST_USERS = "test_users.npz"


@dataclass(frozen=True)
class FinishedRun:
    """Finished run of a row.

    Parameters
    ----------
    folder
        Run folder.
    record
        Result.
    config, environment
        Settings and machine.
    users
        Evaluated test users [n].
    per_user
        Test metrics [n] of each user.
    training_items
        Number [n] of training items of each user; None for runs of an earlier version.
    """

    folder: Path
    record: Record
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    users: IndexArray
    per_user: Mapping[str, NDArray[np.float64]]
    training_items: IndexArray | None = None


@dataclass(frozen=True)
class Outcome:
    """Row with its finished runs, one per seed."""

    row: Row
    runs: tuple[FinishedRun, ...]

    @property
    def records(self) -> list[Record]:
        """Results of the runs."""
        return [run.record for run in self.runs]

    def per_user(self, metric: str) -> NDArray[np.float64]:
        """Return a test metric [n] of each user, averaged over seeds."""
        values: NDArray[np.float64] = np.mean([run.per_user[metric] for run in self.runs], axis=0)
        return values

    def in_group(self, by: str, group: str, metric: str) -> list[float]:
        """Return a test metric of a group of users or items per run; empty if the row's data lacks the group."""
        groups = [entry for record in self.records for entry in record["test_by_group"]]
        return [
            entry[metric]
            for entry in groups
            if (entry["by"], entry["group"]) == (by, group) and metric in entry
        ]

    def validation(self) -> float | None:
        """Return the validation metric averaged over seeds; None without a validation split."""
        values = [run.record["valid"].get(run.config["training"]["metric"]) for run in self.runs]
        return None if not values or None in values else mean(values)


@dataclass(frozen=True)
class Difference:
    """Difference of a row from its reference on one test metric.

    Parameters
    ----------
    test
        Paired test of row minus reference.
    p_value
        p value corrected for the number of tested rows.
    """

    test: PairedTest
    p_value: float


@dataclass(frozen=True)
class Comparison:
    """Results of a study, for tables, plots and sentences.

    Parameters
    ----------
    study
        The study.
    outcomes
        One per row, in the order of the study.
    reference
        Contender that the others are tested against; None if there is nothing to test.
    differences
        Differences by label of the row and metric; none for the reference and for rows without a finished run.
    among_least_active
        Differences of the first metric over the users with fewest training items, by label.
    failures
        Sentences about failed runs.
    """

    study: Study
    outcomes: tuple[Outcome, ...]
    reference: str | None
    differences: Mapping[str, Mapping[str, Difference]]
    among_least_active: Mapping[str, Difference] = field(default_factory=dict)
    failures: tuple[str, ...] = ()

    @property
    def cutoff(self) -> str:
        """Cutoff of the study's first metric."""
        return self.study.file.metrics[0].partition("@")[2]

    @property
    def beyond_accuracy(self) -> list[str]:
        """Names of the metrics beyond accuracy, at `cutoff`."""
        return [f"{name}@{self.cutoff}" for name in BEYOND_ACCURACY]

    def reference_of(self, outcome: Outcome) -> Outcome | None:
        """Return the reference of an outcome; with an axis and several variants, the one at the same value."""
        rivals = [other for other in self.outcomes if other.row.contender == self.reference]
        if len(rivals) > 1:
            rivals = [other for other in rivals if other.row.value == outcome.row.value]
        return rivals[0] if rivals and rivals[0].runs else None


def planned_runs(study: Study, folder: Path) -> list[PlannedRun]:
    """Return all runs of a study, finished or not.

    Raises
    ------
    ConfigError
        If a row has an invalid setting, or does not measure a metric of the study.
    """
    runs = [
        PlannedRun(f"{row.label}, seed {seed}", row.config(seed), folder / row.slug / f"seed{seed}")
        for seed in study.file.seeds  # the first seed of every row is run first
        for row in study.rows
    ]
    for run in runs:
        measured = metric_names(run.config.evaluation.cutoffs)
        for metric in set(study.file.metrics).difference(measured):
            raise ConfigError(
                f"metrics: '{metric}' is not measured; {nearest(metric, measured)}\n"
                "  The cutoffs are set by evaluation.cutoffs."
            )
    return runs


def compare(study: Study, folder: Path) -> Comparison:
    """Read the finished runs of a study and test them.

    Raises
    ------
    DataError
        If runs have different test users or splits.
    SpikeError
        If no run is finished, or the reference cannot be determined.
    """
    outcomes = tuple(Outcome(row, _finished(study, folder, row)) for row in study.rows)
    _check_data(study, [run for outcome in outcomes for run in outcome.runs])
    reference = study.reference or _best_on_validation(outcomes)
    untested = Comparison(study, outcomes, reference, {})
    differences = {
        metric: _differences(untested, metric) for metric in study.file.metrics
    }  # Holm's correction is over the rows of one metric, since each metric is a separate question
    labels = [outcome.row.label for outcome in outcomes]
    by_label = {
        label: {metric: found[label] for metric, found in differences.items() if label in found}
        for label in labels
    }
    members = _least_active(outcomes)
    few = {} if members is None else _differences(untested, study.file.metrics[0], members)
    return Comparison(study, outcomes, reference, by_label, few)


def _finished(study: Study, folder: Path, row: Row) -> tuple[FinishedRun, ...]:
    folders = [folder / row.slug / f"seed{seed}" for seed in study.file.seeds]
    return tuple(_read(RunFolder(path)) for path in folders if (path / "result.json").is_file())


def _read(folder: RunFolder) -> FinishedRun:
    if not folder.file(TEST_USERS).is_file():
        raise DataError(
            folder.file(TEST_USERS),
            "is missing: an earlier version made the run, and did not store the test metrics of every user",
            f"Delete {folder.path} and run it again.",
        )
    per_user = folder.read_arrays(TEST_USERS)
    users, training_items = per_user.pop("users"), per_user.pop("training_items", None)
    config, machine = folder.settings(), folder.read_json("environment.json")
    return FinishedRun(folder.path, read_record(folder), config, machine, users, per_user, training_items)


def _check_data(study: Study, runs: Sequence[FinishedRun]) -> None:
    """Check that all runs have the same split and test users, and the same data if they have the same settings."""
    if not runs:
        raise SpikeError("no run of the study is finished")
    first, records = runs[0], dict[str, Mapping[str, Any]]()
    for run in runs:
        known = records.setdefault(repr(run.config["data"]), run.record)
        same = (
            run.record["split_hash"] == first.record["split_hash"]
            and np.array_equal(run.users, first.users)
            and _same_checksum(run.record, known)
        )
        if not same:
            raise DataError(
                run.folder,
                f"has other data, another split or other test users than {first.folder}",
                "Runs must have the same split: restore the data, or run the study in a new folder.",
            )
        missing = [metric for metric in study.file.metrics if metric not in run.per_user]
        if missing:
            raise DataError(
                run.folder, f"has no metric '{missing[0]}'", f"It has: {', '.join(run.per_user)}."
            )


def checksum_without_times(record: Mapping[str, Any]) -> str:
    """Return the checksum of a run's data in the form of earlier versions, which had no other."""
    return str(record.get("checksum_without_times", record["checksum"]))


def _same_checksum(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Compare the data of two runs; if only one of them is of an earlier version, without times."""
    if ("checksum_without_times" in one) != ("checksum_without_times" in other):
        return checksum_without_times(one) == checksum_without_times(other)
    return bool(one["checksum"] == other["checksum"])


def _best_on_validation(outcomes: Sequence[Outcome]) -> str | None:
    """Return the contender with the best validation metric, averaged over its rows."""
    values: dict[str, list[float | None]] = {}
    for outcome in outcomes:
        values.setdefault(outcome.row.contender, []).append(outcome.validation())
    means = {
        name: mean(v for v in found if v is not None) for name, found in values.items() if None not in found
    }
    return max(means, key=means.__getitem__) if means else None


def _least_active(outcomes: Sequence[Outcome]) -> BoolArray | None:
    """Return True [n] for the users with fewest training items; None if the runs do not have this, or differ."""
    first, *others = (run.training_items for outcome in outcomes for run in outcome.runs)
    if first is None or any(other is None or not np.array_equal(first, other) for other in others):
        return None
    return least_active(first)


def _differences(
    comparison: Comparison, metric: str, users: BoolArray | slice = slice(None)
) -> dict[str, Difference]:
    """Test the differences of a metric over all users, or some, by label."""
    tests: dict[str, PairedTest] = {}
    for outcome in comparison.outcomes:
        reference = comparison.reference_of(outcome)
        if reference is not None and reference is not outcome and outcome.runs:
            tests[outcome.row.label] = paired_test(
                outcome.per_user(metric)[users], reference.per_user(metric)[users]
            )
    corrected = holm([test.p_value for test in tests.values()])
    return {label: Difference(test, p) for (label, test), p in zip(tests.items(), corrected, strict=True)}
