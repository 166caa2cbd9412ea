"""Plots of distributions: histograms, scatter plots of embeddings, and joint densities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spike_dgl.plots.style import COLOURS, ORANGE, new_figure
from spike_dgl.typing import FloatArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 30
MOST_GROUPS = len(COLOURS) - 1


def histograms(
    title: str,
    axis_name: str,
    panels: Mapping[str, Mapping[str, FloatArray]],
    counted: str = "share",
    columns: int = 2,
) -> Figure:
    """Draw histograms as outlines, with a dashed line at each median.

    Parameters
    ----------
    title
        Title of the figure.
    axis_name
        Label of the x-axis.
    panels
        Values [n] by panel and label; values that are not finite are left out.
    counted
        Label of the y-axis.
    columns
        Number of panels side by side.
    """
    rows = -(-len(panels) // columns)
    figure, axes = new_figure(title, columns, rows, height=0.8 + 3.4 * rows, sharex=True, sharey=True)
    known = {(p, s): v[np.isfinite(v)] for p, series in panels.items() for s, v in series.items()}
    everything = np.concatenate(list(known.values()))
    edges = np.histogram_bin_edges(everything, BINS)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    for axis, (name, series) in zip(axes, panels.items(), strict=False):
        axis.set_title(name)
        for number, label in enumerate(series):
            values, colour = known[name, label], COLOURS[number % len(COLOURS)]
            weights = np.full(len(values), 1 / max(len(values), 1))
            axis.hist(values, edges, weights=weights, histtype="step", color=colour, lw=2, label=label)
            if len(values):
                axis.axvline(float(np.median(values)), color=colour, ls="--", lw=1.5)
    for axis in axes[-columns:]:
        axis.set_xlabel(axis_name)
    for axis in axes[::columns]:
        axis.set_ylabel(counted)
    if any(len(series) > 1 for series in panels.values()):
        _legend_below(figure, axes[0])
    return figure


def maps(title: str, panels: Mapping[str, FloatArray], groups: Sequence[str]) -> Figure:
    """Draw points in the plane, with the largest groups in colour in front of the others in grey.

    Parameters
    ----------
    title
        Title of the figure.
    panels
        Positions [n, 2] by panel.
    groups
        Group [n] of each point; "" for none.
    """
    names, counts = np.unique([group for group in groups if group], return_counts=True)
    largest = [str(name) for name in names[np.argsort(-counts, kind="stable")][:MOST_GROUPS]]
    figure, axes = new_figure(title, len(panels), height=4.8)
    of_points = np.asarray(groups, dtype=np.str_)
    for axis, (name, places) in zip(axes, panels.items(), strict=True):
        axis.set_title(name)
        axis.axis("off")  # the axes of such a projection have no meaning
        rest = ~np.isin(of_points, largest)
        axis.scatter(*places[rest].T, s=6, color="#d5d5d5", label="other" if rest.any() else None, lw=0)
        for colour, group in zip(COLOURS, largest, strict=False):
            axis.scatter(*places[of_points == group].T, s=16, color=colour, alpha=0.8, label=group, lw=0)
    _legend_below(figure, axes[0], marker_scale=2.0)
    return figure


def density(
    title: str, axis_name: str, value_name: str, panels: Mapping[str, tuple[FloatArray, FloatArray]]
) -> Figure:
    """Draw the joint density of two quantities, with a running median.

    Parameters
    ----------
    title
        Title of the figure.
    axis_name, value_name
        Labels of the x-axis and the y-axis.
    panels
        Both quantities [n] by panel.
    """
    figure, axes = new_figure(title, len(panels), height=5.2, sharex=True, sharey=True)
    for axis, (name, (x, y)) in zip(axes, panels.items(), strict=True):
        axis.set_title(name)
        axis.set_xlabel(axis_name)
        axis.hexbin(x, y, gridsize=24, bins="log", cmap="Greys", mincnt=1, linewidths=0)
        places, medians = running_median(x, y)
        axis.plot(places, medians, color=ORANGE, lw=3, marker="o", label="median")
    axes[0].set_ylabel(value_name)
    axes[0].legend(loc="upper left")
    return figure


def running_median(x: FloatArray, y: FloatArray, parts: int = 12) -> tuple[FloatArray, FloatArray]:
    """Return medians of both quantities in equal parts of the pairs, by ascending `x`; at most `parts` of each."""
    portions = [part for part in np.array_split(np.argsort(x, kind="stable"), parts) if len(part)]
    medians = [[np.median(values[part]) for part in portions] for values in (x, y)]
    return np.array(medians[0], dtype=np.float32), np.array(medians[1], dtype=np.float32)


def _legend_below(figure: Figure, axis: Any, marker_scale: float = 1.0) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(len(labels), 5),
        frameon=False,
        fontsize=12,
        markerscale=marker_scale,
    )
