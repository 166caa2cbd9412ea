"""Gain by profiles, by length of history and of text: python -m benchmarks.when_profiles_help --help."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from spike_dgl.comparison.folder import StudyFolder
from spike_dgl.comparison.outcome import Comparison, Outcome
from spike_dgl.evaluation.groups import BY_ACTIVITY
from spike_dgl.evaluation.significance import paired_test
from spike_dgl.markdown import markdown_table
from spike_dgl.plots.style import COLOURS, MARKERS, new_figure, save

WITH, WITHOUT, METRIC = "spike", "spike, no profiles", "recall@20"
BY_TEXT = "By length of the item's text"


@dataclass(frozen=True)
class Group:
    """Gain of a group of users, in percent of the metric without profiles, with a 95 % interval over users."""

    training_items: float
    gain: float
    low: float
    high: float


@click.command()
@click.argument("folders", type=click.Path(exists=True, path_type=Path), nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Plot to write, as PNG.")
def main(folders: tuple[Path, ...], out: Path) -> None:
    """Print recall of SPiKE with and without profiles in study FOLDERS, and draw the gain by length of history."""
    comparisons = [StudyFolder(folder).comparison() for folder in folders]
    for by in (BY_ACTIVITY, BY_TEXT):
        rows = [row for comparison in comparisons for row in _rows(comparison, by)]
        click.echo(markdown_table([["study", by[3:], "without", "with", "gain"], *rows]) + "\n")
    draw({each.study.file.title: list(_groups(each)) for each in comparisons}, out)


def _outcome(comparison: Comparison, label: str) -> Outcome:
    return next(each for each in comparison.outcomes if each.row.label == label)


def _rows(comparison: Comparison, by: str) -> Iterator[list[str]]:
    compared = [_outcome(comparison, label) for label in (WITHOUT, WITH)]
    for entry in compared[1].records[0]["test_by_group"]:
        if entry["by"] == by and METRIC in entry:
            without, with_profiles = (np.mean(each.in_group(by, entry["group"], METRIC)) for each in compared)
            gain = f"{with_profiles / without - 1:+.0%}".replace("-", "−").replace("%", " %")
            yield [
                comparison.study.file.title,
                entry["group"],
                f"{without:.4f}",
                f"{with_profiles:.4f}",
                gain,
            ]


def _groups(comparison: Comparison) -> Iterator[Group]:
    """Yield the gains of four groups of about equal numbers of users."""
    compared = [_outcome(comparison, label) for label in (WITH, WITHOUT)]
    counts = compared[0].runs[0].training_items
    assert counts is not None
    for entry in compared[0].records[0]["test_by_group"]:
        if entry["by"] != BY_ACTIVITY:
            continue
        low, _, high = entry["group"].split()[0].partition("-")
        members = (counts >= int(low)) & (counts <= int(high or low))
        with_profiles, without = (each.per_user(METRIC)[members] for each in compared)
        test, base = paired_test(with_profiles, without), without.mean() / 100
        yield Group(
            float(np.median(counts[members])), test.difference / base, test.low / base, test.high / base
        )


def draw(studies: dict[str, list[Group]], out: Path) -> None:
    """Draw one line per study: gain over the median length of the group's histories."""
    figure, (axes,) = new_figure("What profiles add, by length of history", 1, width=9, height=5)
    for (name, groups), colour, marker in zip(studies.items(), COLOURS, MARKERS, strict=False):
        below = [each.gain - each.low for each in groups]
        above = [each.high - each.gain for each in groups]
        axes.errorbar(
            [each.training_items for each in groups],
            [each.gain for each in groups],
            yerr=[below, above],
            marker=marker,
            color=colour,
            capsize=3,
            label=name.removeprefix("Models on ").removeprefix("the "),
        )
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set(
        xscale="log", xlabel="training items of a user (median of a group)", ylabel=f"gain in {METRIC} (%)"
    )
    axes.set_xticks([2, 5, 10, 20, 50, 100, 200], ["2", "5", "10", "20", "50", "100", "200"])
    axes.minorticks_off()
    axes.legend()
    save(figure, out)
    click.echo(out)


if __name__ == "__main__":
    main()
