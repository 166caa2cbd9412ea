"""A comparison as a plot: bars for variants, lines along an axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spike_dgl import plots
from spike_dgl.averages import spread
from spike_dgl.comparison.outcome import Comparison, Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(comparison: Comparison) -> Figure:
    """Mean and standard deviation over seeds of the study's metrics. Raises `SpikeError` without matplotlib."""
    file, finished = comparison.study.file, [outcome for outcome in comparison.outcomes if outcome.runs]
    if file.axis is None:
        bars = {
            f"test {metric}": {each.row.label: _point(each, metric) for each in finished}
            for metric in file.metrics
        }
        return plots.bars(file.title, bars, highlighted=comparison.reference)
    lines = {f"test {metric}": _lines(finished, metric) for metric in file.metrics}
    return plots.lines(file.title, file.axis.name, lines)


def _lines(outcomes: list[Outcome], metric: str) -> dict[str, dict[float, plots.Point]]:
    lines: dict[str, dict[float, plots.Point]] = {}
    for outcome in outcomes:
        assert outcome.row.value is not None
        lines.setdefault(outcome.row.variant, {})[outcome.row.value] = _point(outcome, metric)
    return lines


def _point(outcome: Outcome, metric: str) -> plots.Point:
    return plots.Point(*spread(outcome.records, metric))
