"""Charts of numbers by name: bars, lines, dots and intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any

from spike_dgl.plots.style import BLUE, COLOURS, GREY, MARKERS, ORANGE, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROW = 0.5
"""Height of a row, in inches."""
NAME_WIDTH = 12
"""Maximum number of characters per line of a tick label."""


@dataclass(frozen=True)
class Point:
    """Mean, and standard deviation if there is one."""

    mean: float
    deviation: float | None = None


@dataclass(frozen=True)
class Interval:
    """Value with the ends of its confidence interval."""

    value: float
    low: float
    high: float


def bars(title: str, panels: Mapping[str, Mapping[str, Point]], highlighted: str | None = None) -> Figure:
    """Draw horizontal bars with error bars of one standard deviation.

    Parameters
    ----------
    title
        Title of the figure.
    panels
        Points by panel, such as "test recall@20", and label; all panels have the same labels.
    highlighted
        Label drawn in another colour.
    """
    labels = list(next(iter(panels.values())))
    figure, axes = new_figure(title, len(panels), height=1.8 + ROW * len(labels))
    for axis, (name, points) in zip(axes, panels.items(), strict=True):
        axis.set_xlabel(name)
        for place, label in enumerate(labels):
            _bar(axis, place, points[label], ORANGE if label == highlighted else BLUE)
        # From zero, since readers compare the lengths of bars; with room for the numbers.
        axis.set_xlim(0.0, 1.3 * max(point.mean for point in points.values()) or 1.0)
        _name_rows(axis, labels, is_first=axis is axes[0])
    return figure


def _bar(axis: Any, place: int, point: Point, colour: str) -> None:
    deviation = point.deviation or 0.0
    axis.barh(place, point.mean, xerr=deviation or None, color=colour, capsize=4)
    text = (point.mean + deviation, place)
    # Counts have no decimals.
    number = f"{point.mean:,.0f}" if point.mean == int(point.mean) else f"{point.mean:.4f}"
    axis.annotate(number, text, xytext=(6, 0), textcoords="offset points", va="center", fontsize=11)


def lines(
    title: str,
    axis_name: str,
    panels: Mapping[str, Mapping[str, Mapping[float, Point]]],
    place_names: Sequence[str] = (),
) -> Figure:
    """Draw lines with error bars of one standard deviation.

    Parameters
    ----------
    title
        Title of the figure.
    axis_name
        Label of the x-axis.
    panels
        Points by panel, label of the line, and x. A line has the same colour in all panels.
    place_names
        Names of the x values 0, 1, ..., if these are not numbers.
    """
    figure, axes = new_figure(title, len(panels), height=4.8)
    labels = list(dict.fromkeys(label for of_lines in panels.values() for label in of_lines))
    for axis, (name, of_lines) in zip(axes, panels.items(), strict=True):
        axis.set_xlabel(axis_name)
        axis.set_ylabel(name)
        for label, points in of_lines.items():
            places, number = sorted(points), labels.index(label)
            axis.errorbar(
                places,
                [points[place].mean for place in places],
                [points[place].deviation or 0.0 for place in places],
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)],
                capsize=4,
                label=label,
            )
        if place_names:
            axis.set_xticks(range(len(place_names)), [fill(name, NAME_WIDTH) for name in place_names])
    if len(labels) > 1:
        axes[0].legend(frameon=False)
    return figure


def dots(
    title: str,
    axis_name: str,
    panels: Mapping[str, Mapping[str, Mapping[str, float]]],
    reference: float | None = None,
) -> Figure:
    """Draw several values per row, joined by a line that shows their distance.

    Parameters
    ----------
    title
        Title of the figure.
    axis_name
        Label of the x-axis.
    panels
        Values by panel, row and series; all panels have the same rows.
    reference
        Position of a vertical reference line; None starts the x-axis at zero.
    """
    rows = list(next(iter(panels.values())))
    figure, axes = new_figure(title, len(panels), height=2.2 + ROW * len(rows), sharex=True)
    for axis, (name, of_rows) in zip(axes, panels.items(), strict=True):
        axis.set_title(name)
        axis.set_xlabel(axis_name)
        for place, row in enumerate(rows):
            values = of_rows[row]
            axis.plot(
                [min(values.values()), max(values.values())], [place] * 2, color="#cccccc", lw=3, zorder=1
            )
        for number, series in enumerate(dict.fromkeys(label for row in of_rows.values() for label in row)):
            places = [place for place, row in enumerate(rows) if series in of_rows[row]]
            axis.scatter(
                [of_rows[rows[place]][series] for place in places],
                places,
                s=70,
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)],
                label=series,
                zorder=2,
            )
        _name_rows(axis, rows, is_first=axis is axes[0])
        if reference is not None:
            axis.axvline(reference, color="#444444", lw=1, zorder=0)
    if reference is None:
        axes[0].set_xlim(left=0.0)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=12)
    return figure


def intervals(title: str, axis_name: str, rows: Mapping[str, Interval]) -> Figure:
    """Draw differences with intervals: orange above zero, blue below, grey if the interval contains zero.

    Parameters
    ----------
    title
        Title of the figure.
    axis_name
        Label of the x-axis.
    rows
        Intervals by label, the first on top.
    """
    figure, (axis,) = new_figure(title, 1, width=9.6, height=1.8 + ROW * len(rows))
    axis.axvline(0.0, color="#444444", lw=1)
    axis.set_xlabel(axis_name)
    for place, found in enumerate(rows.values()):
        colour = ORANGE if found.low > 0 else BLUE if found.high < 0 else GREY
        axis.plot([found.low, found.high], [place] * 2, color=colour, lw=3, solid_capstyle="butt")
        axis.plot(found.value, place, "o", color=colour, ms=9)
        axis.annotate(
            f"{found.value:+.4f}", (found.value, place), xytext=(0, 9), textcoords="offset points",
            ha="center", fontsize=11,
        )  # fmt: skip
    axis.margins(y=0.35 / max(len(rows) - 1, 1))
    _name_rows(axis, list(rows), is_first=True)
    return figure


def _name_rows(axis: Any, labels: list[str], *, is_first: bool) -> None:
    """Label rows from top to bottom, next to the first panel."""
    axis.grid(axis="y", visible=False)
    axis.set_yticks(range(len(labels)), labels)
    axis.tick_params(axis="y", labelleft=is_first)
    axis.invert_yaxis()
