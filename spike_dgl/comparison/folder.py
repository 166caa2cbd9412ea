"""The folder of a study: its definition, runs, table and plot."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from spike_dgl.atomic_files import atomic_write
from spike_dgl.comparison.csv_file import render_csv
from spike_dgl.comparison.definition import Study, read_study
from spike_dgl.comparison.figure import draw
from spike_dgl.comparison.outcome import Comparison, compare, planned_runs
from spike_dgl.comparison.table import render
from spike_dgl.errors import DataError, SpikeError
from spike_dgl.plots import require_matplotlib, save
from spike_dgl.runs.environment import environment
from spike_dgl.runs.export import ExportFormat, export_runs
from spike_dgl.runs.folder_lock import only_one
from spike_dgl.runs.processes import run_missing


class StudyFolder:
    """Files of a study.

    ======================== =====================================================
    ``study.yaml``           the bench file, with the overrides of the command line
    ``made.json``            command and number of parallel processes
    ``failures.json``        reasons of failed runs
    ``LABEL/seedN``          run folders
    ``LABEL/seedN.yaml``     settings of the run
    ``LABEL/seedN.log``      output of its process
    ``table.md``             the comparison as text
    ``table.csv``            the comparison unrounded
    ``plot.png``             the comparison as a plot, if matplotlib is installed
    ``export-LIBRARY``       the finished runs in the format of another library, with ``--export``
    ======================== =====================================================

    Parameters
    ----------
    path
        The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def bench_file(self) -> Path:
        """Return the path of the study's bench file. Raises `DataError` if there is none."""
        file = self.path / "study.yaml"
        if not file.is_file():
            raise DataError(
                self.path,
                "is not the folder of a study",
                "Create it: python main.py bench --config FILE --out FOLDER",
            )
        return file

    def run(self, study: Study, jobs: int, say: Callable[[str], None]) -> dict[str, str]:
        """Run all runs that are not finished, `jobs` in parallel; return the reasons of failures by run name."""
        runs = planned_runs(study, self.path)
        for run in runs:
            run.check_settings()  # before study.yaml is replaced
        with only_one(self.path):
            self._write("study.yaml", study.to_yaml())
            if not all(run.is_finished for run in runs):
                self._write_made(jobs)
            failures = run_missing(runs, at_a_time=jobs, say=say)
            self._write_failures({run.folder: failures[run.name] for run in runs if run.name in failures})
        return failures

    def comparison(self) -> Comparison:
        """Compare the finished runs; see `spike_dgl.comparison.outcome.compare`."""
        comparison = compare(read_study(self.bench_file()), self.path)
        return dataclasses.replace(comparison, failures=tuple(self._failures()))

    def report(self, comparison: Comparison) -> str:
        """Render the comparison in Markdown; see `spike_dgl.comparison.table.render`."""
        return render(comparison, self._made())

    def write_report(self, comparison: Comparison) -> str:
        """Write table and plot; return the table, with a note if there is no plot."""
        report = self.report(comparison)
        self._write("table.md", f"# {comparison.study.file.title}\n\n{report}\n")
        self._write("table.csv", render_csv(comparison))
        try:
            require_matplotlib()
        except SpikeError as error:
            return f"{report}\n\nNo plot: {error}"
        with atomic_write(self.path / "plot.png") as partial:
            save(draw(comparison), partial)
        return report

    def export(self, study: Study, format: ExportFormat) -> Path:
        """Export the finished runs for another library and return the folder; see `spike_dgl.runs.export.export_runs`.

        An earlier export is replaced.
        """
        folder = self.path / f"export-{format}"
        runs = {
            f"{run.folder.parent.name}-{run.folder.name}": run.folder
            for run in planned_runs(study, self.path)
            if run.is_finished
        }
        shutil.rmtree(folder, ignore_errors=True)
        export_runs(runs, folder, format)
        return folder

    def _write(self, name: str, text: str) -> None:
        with atomic_write(self.path / name) as partial:
            partial.write_text(text, encoding="utf-8")

    def _write_failures(self, failures: Mapping[Path, str]) -> None:
        """Record why runs failed, by their folder relative to this one, with relative paths of their logs."""
        named = {
            run.relative_to(self.path).as_posix(): failure.replace(f"{self.path}{os.sep}", "")
            for run, failure in failures.items()
        }
        self._write("failures.json", json.dumps(named, indent=2, ensure_ascii=False) + "\n")

    def _failures(self) -> Iterator[str]:
        """Yield a sentence per run that failed and was not finished since."""
        for run, failure in self._read_json("failures.json").items():
            if not (self.path / run / "result.json").is_file():
                yield f"{run} failed: {failure}."

    def _write_made(self, jobs: int) -> None:
        """Record the command, and the largest number of parallel processes, which make runs slower."""
        before = self._read_made().get("jobs", 0)
        made = {"command": environment()["command"], "jobs": max(jobs, int(before))}
        self._write("made.json", json.dumps(made, indent=2) + "\n")

    def _read_made(self) -> dict[str, Any]:
        return self._read_json("made.json")

    def _read_json(self, name: str) -> dict[str, Any]:
        file = self.path / name
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}

    def _made(self) -> str:
        made = self._read_made()
        return f"Made by `{made.get('command')}`, up to {made.get('jobs')} runs at a time." if made else ""
