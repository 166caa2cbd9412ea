"""Results of a search: the best settings, and tables of all trials."""

from __future__ import annotations

import csv
import io
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from spike_dgl.atomic_files import atomic_write
from spike_dgl.comparison.definition import tuned_file
from spike_dgl.config import nested, read_yaml, write_yaml
from spike_dgl.data.options import load_as_it_is
from spike_dgl.errors import DataError
from spike_dgl.markdown import markdown_table
from spike_dgl.runs.environment import environment
from spike_dgl.tuning.contenders import Contender
from spike_dgl.tuning.search import Budget, Trial, best_first

_PARTS = {"validation": "the validation split of", "inner split": "the test split of the inner split of"}


def render_trials(trials: Sequence[Trial]) -> str:
    """Render all trials as a Markdown table, best first."""
    lines = [_line(trial) for trial in best_first(trials)]
    return markdown_table([list(lines[0]), *([_cell(value) for value in line.values()] for line in lines)])


def render_csv(trials: Sequence[Trial]) -> str:
    """Render all trials as CSV, best first; missing values are empty cells."""
    lines = [_line(trial) for trial in best_first(trials)]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _line(trial: Trial) -> dict[str, Any]:
    record: dict[str, Any] = {} if trial.failure else trial.record
    return {
        "trial": trial.number,
        **trial.point,
        "runs": 1 + len(trial.repeats),
        f"{trial.measured_on} {trial.run.config.training.metric}": trial.value,
        "epochs": record.get("reported_epoch"),
        "seconds": record.get("seconds"),
        "failure": trial.failure,
    }


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def render_tuned(contender: Contender, trials: Sequence[Trial], budget: Budget) -> str:
    """Render the best trial's settings as a partial configuration, with comments on the search."""
    best, made = best_first(trials)[0], environment()
    config, values = best.run.config, _values(trials)
    deviation = f", standard deviation {stdev(values):.4f}" if len(values) > 1 else ""
    lines = [
        made["command"],
        f"{len(trials)} trials ({budget.sampler} search, seed {budget.seed}) of {len(contender.grid):,} in the grid"
        f"{f', the best {budget.finalists} with {budget.seeds} seeds' if budget.seeds > 1 else ''}, "
        f"on {_PARTS[best.measured_on]} {Path(config.data.path).name}",
        f"{best.measured_on} {config.training.metric}: best {values[0]:.4f}, before tuning {_text(trials[0].value)}, "
        f"mean over trials {mean(values):.4f}{deviation}",
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()} {platform.system()}, {made['cpu_count']} CPU cores, "
        f"{best.record['device']}, torch {made['packages']['torch']}",
    ]
    settings = {"model": {"name": contender.model}}
    chosen = nested(best.point)
    data = {"checksum": load_as_it_is(config.data).checksum[:16]}
    content = {"data": data, **chosen, "model": {**settings["model"], **chosen.get("model", {})}}
    return "".join(f"# {line}\n" for line in lines) + write_yaml(dict(sorted(content.items())))


def _values(trials: Sequence[Trial]) -> list[float]:
    """Return the values of the trials that did not fail, best first."""
    return [trial.value for trial in best_first(trials) if trial.value is not None]


def _text(value: float | None) -> str:
    return "failed" if value is None else f"{value:.4f}"


def write_tables(trials: Sequence[Trial], folder: Path) -> None:
    """Write ``trials.md`` and ``trials.csv``."""
    for name, text in (("trials.md", render_trials(trials) + "\n"), ("trials.csv", render_csv(trials))):
        with atomic_write(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")


def write_tuned(contender: Contender, trials: Sequence[Trial], budget: Budget, folder: Path) -> Path:
    """Write the best settings to ``DATA/MODEL.yaml``, where bench files look for them, and return the path.

    Raises `DataError` if the file was tuned on other data of the same name.
    """
    file = tuned_file(folder, contender.config({}).data.path, contender.model)
    file.parent.mkdir(parents=True, exist_ok=True)
    check_tuned_file(file, contender)
    with atomic_write(file) as partial:
        partial.write_text(render_tuned(contender, trials, budget), encoding="utf-8")
    return file


def check_tuned_file(file: Path, contender: Contender) -> None:
    """Raise `DataError` if the file exists and was tuned on other data than the contender's."""
    if not file.is_file():
        return
    there = (read_yaml(file).get("data") or {}).get("checksum")
    dataset = load_as_it_is(contender.config({}).data)
    if there is not None and not dataset.has_checksum(str(there)):
        raise DataError(
            file,
            f"was tuned on other data of the name '{file.parent.name}': the checksum there is {there}, "
            f"of this data {dataset.checksum[:16]}",
            "Write to another folder (--write), rename the data's folder, or delete the file.",
        )


def render_summary(found: Sequence[Sequence[Trial]]) -> str:
    """Render one line per model: value before tuning, best, mean and standard deviation over trials."""
    rows = [["model", "trials", "failed", "before tuning", "best", "mean", "deviation"]]
    for trials in found:
        values = _values(trials)
        rows.append(
            [
                trials[0].run.config.model_name,
                str(len(trials)),
                str(len(trials) - len(values)),
                _text(trials[0].value),
                f"{values[0]:.4f}" if values else "",
                f"{mean(values):.4f}" if values else "",
                f"{stdev(values):.4f}" if len(values) > 1 else "",
            ]
        )
    return markdown_table(rows)
