"""Plots as matplotlib figures, from plain numbers and names.

matplotlib is an optional dependency, imported when something is drawn.
"""

from spike_dgl.plots.charts import Interval, Point, bars, dots, intervals, lines
from spike_dgl.plots.distributions import density, histograms, maps
from spike_dgl.plots.network import Edge, Node, network
from spike_dgl.plots.style import BLUE, COLOURS, GREY, ORANGE, require_matplotlib, save

__all__ = [
    "BLUE",
    "COLOURS",
    "GREY",
    "ORANGE",
    "Edge",
    "Interval",
    "Node",
    "Point",
    "bars",
    "density",
    "dots",
    "histograms",
    "intervals",
    "lines",
    "maps",
    "network",
    "require_matplotlib",
    "save",
]
