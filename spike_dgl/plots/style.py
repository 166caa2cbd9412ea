"""What all plots share: colours that a colour-blind reader can tell apart, sizes, and how a figure is made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spike_dgl.errors import SpikeError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# From the palette of Okabe and Ito, the darker ones first; light blue and yellow only where many are needed.
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#8a8a8a"
COLOURS = (BLUE, ORANGE, "#009e73", "#a0508a", "#56b4e9", "#e69f00", GREY)
MARKERS = "osD^vPX"
STYLE: Any = {
    "figure.dpi": 80,  # in a notebook; `save` is finer
    "font.size": 13,
    "axes.titlesize": 14,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "legend.frameon": False,
    "legend.fontsize": 12,
    "figure.constrained_layout.use": True,
}


def require_matplotlib() -> None:
    """Raise `SpikeError` that says how to install it."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise SpikeError('plots need matplotlib\n  pip install "matplotlib>=3.8"') from None


def new_figure(
    title: str, columns: int, rows: int = 1, *, width: float = 6.4, height: float, **shared: Any
) -> tuple[Figure, Sequence[Any]]:
    """A figure and its axes, row by row, without a window: it belongs to no graphical backend.

    Parameters
    ----------
    title
        Over the whole figure.
    columns, rows
        Of axes.
    width
        Of one column, in inches.
    height
        Of the whole figure, in inches.
    **shared
        For `Figure.subplots`, such as ``sharey=True``.
    """
    require_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width * columns, height))
        axes = figure.subplots(rows, columns, squeeze=False, **shared).ravel()
    # A title may name things, and dollar signs in names are no formulas.
    figure.suptitle(title, fontsize=16, parse_math=False)
    return figure, axes


def save(figure: Figure, file: Path) -> None:
    """Write a figure as PNG, large enough for a slide."""
    figure.savefig(file, dpi=150, format="png")
