"""Style of all plots: colours for colour-blind readers, sizes, and creation of figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spike_dgl.errors import SpikeError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# From the palette of Okabe and Ito, darker colours first.
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#8a8a8a"
COLOURS = (BLUE, ORANGE, "#009e73", "#a0508a", "#56b4e9", "#e69f00", GREY)
MARKERS = "osD^vPX"
STYLE: Any = {
    "figure.dpi": 80,  # in a notebook; `save` uses a higher resolution
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
    """Raise `SpikeError` if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise SpikeError('plots need matplotlib\n  Install it: pip install "matplotlib>=3.8"') from None


def new_figure(
    title: str, columns: int, rows: int = 1, *, width: float = 6.4, height: float, **shared: Any
) -> tuple[Figure, Sequence[Any]]:
    """Create a figure, independent of graphical backends, and its axes row by row.

    Parameters
    ----------
    title
        Title of the figure.
    columns, rows
        Numbers of columns and rows of axes.
    width
        Width of a column in inches.
    height
        Height of the figure in inches.
    **shared
        Arguments of `Figure.subplots`, such as ``sharey=True``.
    """
    require_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width * columns, height))
        axes = figure.subplots(rows, columns, squeeze=False, **shared).ravel()
    # Names in titles may contain dollar signs, which are not formulas.
    figure.suptitle(title, fontsize=16, parse_math=False)
    return figure, axes


def save(figure: Figure, file: Path) -> None:
    """Write a figure as PNG at a resolution for slides."""
    figure.savefig(file, dpi=150, format="png")
