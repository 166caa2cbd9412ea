"""Edges in any order, on any device, with both compressed sparse formats."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from spike_dgl.dgl_import import DGLGraph, dgl
from spike_dgl.nn.graphs.positions import row_pointer


class Compressed(NamedTuple):
    """Edges by one end: edges ``start[i]`` to ``start[i + 1] - 1`` have end i; their other ends and positions."""

    start: Tensor
    other: Tensor
    edge: Tensor


@dataclass(frozen=True)
class EdgeList:
    """Edges from n src nodes to m dst nodes, in any order.

    Parameters
    ----------
    src, dst
        Rows [E] of both ends.
    num_src, num_dst
        n and m.
    """

    src: Tensor
    dst: Tensor
    num_src: int
    num_dst: int

    def __len__(self) -> int:
        return len(self.src)

    @cached_property
    def csc(self) -> Compressed:
        """Edges by dst."""
        return _compressed(self.dst, self.src, self.num_dst)

    @cached_property
    def csr(self) -> Compressed:
        """Edges by src."""
        return _compressed(self.src, self.dst, self.num_src)

    @cached_property
    def dgl_graph(self) -> DGLGraph:
        """The same edges in the same order as a bipartite DGL graph."""
        return dgl.heterograph(
            {("src", "to", "dst"): (self.src, self.dst)}, {"src": self.num_src, "dst": self.num_dst}
        )

    @cached_property
    def in_degrees(self) -> Tensor:
        """Number of edges to each dst node, [m]."""
        return row_pointer(self.dst, self.num_dst).diff()

    def keep(self, edges: Tensor) -> EdgeList:
        """Return the edges at some positions, in that order."""
        return EdgeList(self.src[edges], self.dst[edges], self.num_src, self.num_dst)


def _compressed(by: Tensor, other: Tensor, num_rows: int) -> Compressed:
    edge = torch.argsort(by, stable=True)
    return Compressed(row_pointer(by, num_rows), other.index_select(0, edge), edge)
