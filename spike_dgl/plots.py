"""Plots for slides. matplotlib is an extra, and imported only when something is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spike_dgl.errors import SpikeError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#1f5f99", "#d9731a", "#8a8a8a"
COLOURS = (BLUE, ORANGE, "#3a8f5c", "#a3386c", "#6f58a8", GREY)
MARKERS = "osD^vP"
STYLE: Any = {
    "font.size": 13,
    "axes.titlesize": 15,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Point:
    """A mean and its standard deviation, if there is one."""

    mean: float
    deviation: float | None = None


def require_matplotlib() -> None:
    """Raise `SpikeError` that says how to install it."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise SpikeError('plots need matplotlib\n  pip install "matplotlib>=3.8"') from None


def bars(title: str, panels: Mapping[str, Mapping[str, Point]], highlighted: str | None = None) -> Figure:
    """Horizontal bars with whiskers of one standard deviation, a panel a metric.

    Parameters
    ----------
    title
        Over the whole figure.
    panels
        By name of the metric, the points by label; all panels have the same labels.
    highlighted
        The label in another colour.
    """
    labels = list(next(iter(panels.values())))
    figure, axes = _figure(title, len(panels), height=1.8 + 0.5 * len(labels))
    for axis, (name, points) in zip(axes, panels.items(), strict=True):
        axis.set_xlabel(f"test {name}")
        axis.grid(axis="y", visible=False)
        for place, label in enumerate(labels):
            _bar(axis, place, points[label], ORANGE if label == highlighted else BLUE)
        # From zero, as the length of a bar is what is read; the numbers need room.
        axis.set_xlim(0.0, 1.3 * max(point.mean for point in points.values()) or 1.0)
        axis.set_yticks(range(len(labels)), labels)
        axis.tick_params(axis="y", labelleft=axis is axes[0])
        axis.invert_yaxis()
    return figure


def _bar(axis: Any, place: int, point: Point, colour: str) -> None:
    deviation = point.deviation or 0.0
    axis.barh(place, point.mean, xerr=deviation or None, color=colour, capsize=4)
    text = (point.mean + deviation, place)
    axis.annotate(
        f"{point.mean:.4f}", text, xytext=(6, 0), textcoords="offset points", va="center", fontsize=11
    )


def lines(title: str, axis_name: str, panels: Mapping[str, Mapping[str, Mapping[float, Point]]]) -> Figure:
    """Lines with whiskers of one standard deviation, a panel a metric.

    Parameters
    ----------
    title
        Over the whole figure.
    axis_name
        What changes from left to right.
    panels
        By name of the metric and label of the line, the points by place; all panels have the same lines.
    """
    figure, axes = _figure(title, len(panels), height=4.8)
    for axis, (name, of_lines) in zip(axes, panels.items(), strict=True):
        axis.set_xlabel(axis_name)
        axis.set_ylabel(f"test {name}")
        for number, (label, points) in enumerate(of_lines.items()):
            places = sorted(points)
            axis.errorbar(
                places,
                [points[place].mean for place in places],
                [points[place].deviation or 0.0 for place in places],
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)],
                capsize=4,
                label=label,
            )
    if len(of_lines) > 1:
        axes[0].legend(frameon=False)
    return figure


def save(figure: Figure, file: Path) -> None:
    """Write a figure as PNG, large enough for a slide."""
    figure.savefig(file, dpi=150, format="png")


def _figure(title: str, number: int, height: float) -> tuple[Figure, Sequence[Any]]:
    """Axes side by side, without a window: the figure belongs to no graphical backend."""
    require_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4 * number, height))
        axes = figure.subplots(1, number, squeeze=False)[0]
    figure.suptitle(title, fontsize=16)
    return figure, axes
