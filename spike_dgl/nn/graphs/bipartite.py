"""Edges from some rows to others, as both compressed forms of sparse matrices: by destination and by source."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from spike_dgl.dgl_import import DGLGraph, dgl
from spike_dgl.nn.graphs.positions import row_pointer, thin_out


@dataclass(frozen=True)
class BipartiteEdges:
    """Edges from n sources to m destinations, in the order of their destinations (CSC).

    Parameters
    ----------
    src, dst
        [E] rows of both ends; `dst` is ascending.
    csr_order
        [E] positions of the edges in the order of their sources (CSR).
    num_src, num_dst
        n and m.
    """

    src: Tensor
    dst: Tensor
    csr_order: Tensor
    num_src: int
    num_dst: int

    @classmethod
    def from_edges(cls, src: Tensor, dst: Tensor, num_src: int, num_dst: int) -> BipartiteEdges:
        """Index edges in any order."""
        order = dst.argsort(stable=True)
        return cls.from_sorted(src[order], dst[order], num_src, num_dst)

    @classmethod
    def from_sorted(cls, src: Tensor, dst: Tensor, num_src: int, num_dst: int) -> BipartiteEdges:
        """Index edges whose destinations ascend."""
        return cls(src, dst, src.argsort(stable=True), num_src, num_dst)

    def __len__(self) -> int:
        return len(self.src)

    @cached_property
    def csc_start(self) -> Tensor:
        """[m + 1] where the edges to each destination begin."""
        return row_pointer(self.dst, self.num_dst)

    @cached_property
    def csr_start(self) -> Tensor:
        """[n + 1] where the edges from each source begin in `csr_order`."""
        return row_pointer(self.src, self.num_src)

    @cached_property
    def csr_dst(self) -> Tensor:
        """[E] destinations in `csr_order`."""
        return self.dst.index_select(0, self.csr_order)

    @cached_property
    def dgl_graph(self) -> DGLGraph:
        """The same as a bipartite DGL graph."""
        return dgl.heterograph(
            {("src", "to", "dst"): (self.src, self.dst)}, {"src": self.num_src, "dst": self.num_dst}
        )

    def to(self, device: torch.device) -> BipartiteEdges:
        """Return the same edges on a device."""
        return replace(
            self, src=self.src.to(device), dst=self.dst.to(device), csr_order=self.csr_order.to(device)
        )

    def keep(self, edges: Tensor) -> BipartiteEdges:
        """Return only some of the edges: ascending positions."""
        return replace(
            self,
            src=self.src.index_select(0, edges),
            dst=self.dst.index_select(0, edges),
            csr_order=thin_out(self.csr_order, edges),
        )
