"""The folder of a study: what was compared, its runs, and the table."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

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
    ``made.json``            command and processes at a time
    ``LABEL/seedN``          run folders
    ``LABEL/seedN.yaml``     settings of the run
    ``LABEL/seedN.log``      what its process printed
    ``table.md``             the comparison to read
    ``table.csv``            the same unrounded
    ``plot.png``             the same as a plot, with matplotlib
    ``export-LIBRARY``       the finished runs for another library to check, where it was asked for
    ======================== =====================================================

    Parameters
    ----------
    path
        The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def bench_file(self) -> Path:
        """What was run here, as a bench file. Raises `DataError` where there is none."""
        file = self.path / "study.yaml"
        if not file.is_file():
            raise DataError(
                self.path, "holds no study", "Make it: python main.py bench --config FILE --out FOLDER"
            )
        return file

    def run(self, study: Study, jobs: int, say: Callable[[str], None]) -> dict[str, str]:
        """Run what is missing, `jobs` at a time; returns why runs failed, by their names."""
        runs = planned_runs(study, self.path)
        for run in runs:
            run.check_settings()  # before study.yaml is replaced
        with only_one(self.path):
            self._write("study.yaml", study.to_yaml())
            if not all(run.is_finished for run in runs):
                self._write_made(jobs)
            return run_missing(runs, at_a_time=jobs, say=say)

    def comparison(self) -> Comparison:
        """What the finished runs found; see `spike_dgl.comparison.outcome.compare`."""
        return compare(read_study(self.bench_file()), self.path)

    def report(self, comparison: Comparison) -> str:
        """The comparison in Markdown; see `spike_dgl.comparison.table.render`."""
        return render(comparison, self._made())

    def write_report(self, comparison: Comparison) -> str:
        """Write table and plot; returns the table, with a line that says so where there is no plot."""
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
        """Write the finished runs for another library; see `spike_dgl.runs.export.export_runs`. Gives the folder.

        What was exported there before is replaced.
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

    def _write_made(self, jobs: int) -> None:
        """The most processes at a time count: times of runs that shared the machine are longer."""
        before = self._read_made().get("jobs", 0)
        made = {"command": environment()["command"], "jobs": max(jobs, int(before))}
        self._write("made.json", json.dumps(made, indent=2) + "\n")

    def _read_made(self) -> dict[str, str | int]:
        file = self.path / "made.json"
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}

    def _made(self) -> str:
        made = self._read_made()
        return f"Made by `{made.get('command')}`, up to {made.get('jobs')} runs at a time." if made else ""
