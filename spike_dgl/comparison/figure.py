"""Plot of a comparison: bars for variants, or lines over an axis or over groups of users or items."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spike_dgl import plots
from spike_dgl.comparison.definition import By
from spike_dgl.comparison.outcome import Comparison, Outcome
from spike_dgl.runs.averages import mean_and_deviation, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(comparison: Comparison) -> Figure:
    """Draw mean and standard deviation over seeds of the metrics. Raises `SpikeError` without matplotlib."""
    file, finished = comparison.study.file, [outcome for outcome in comparison.outcomes if outcome.runs]
    if file.plot_by is not None:
        return _draw_groups(comparison, finished, file.plot_by)
    if file.axis is None:
        bars = {
            f"test {metric}": {each.row.label: _point(each, metric) for each in finished}
            for metric in file.metrics
        }
        return plots.bars(file.title, bars, highlighted=comparison.reference)
    lines = {f"test {metric}": _lines(finished, metric) for metric in file.metrics}
    return plots.lines(file.title, file.axis.name, lines)


def _draw_groups(comparison: Comparison, outcomes: list[Outcome], what: By) -> Figure:
    """Draw one line per row over the groups, which are taken from the first row."""
    by = f"By {what}"
    groups = [entry for entry in outcomes[0].records[0]["test_by_group"] if entry["by"] == by]
    names = [entry["group"] for entry in groups]
    panels = {
        f"test {metric}": {each.row.label: _over_groups(each, by, names, metric) for each in outcomes}
        for metric in comparison.study.file.metrics
    }
    return plots.lines(comparison.study.file.title, f"by {what}", panels, place_names=names)


def _over_groups(outcome: Outcome, by: str, names: list[str], metric: str) -> dict[float, plots.Point]:
    values = [outcome.in_group(by, name, metric) for name in names]
    return {place: plots.Point(*mean_and_deviation(found)) for place, found in enumerate(values) if found}


def _lines(outcomes: list[Outcome], metric: str) -> dict[str, dict[float, plots.Point]]:
    lines: dict[str, dict[float, plots.Point]] = {}
    for outcome in outcomes:
        assert outcome.row.value is not None
        lines.setdefault(outcome.row.variant, {})[outcome.row.value] = _point(outcome, metric)
    return lines


def _point(outcome: Outcome, metric: str) -> plots.Point:
    return plots.Point(*spread(outcome.records, metric))
