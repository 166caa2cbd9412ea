"""Bipartite edges in both compressed sparse formats: CSC (by dst) and CSR (by src)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from spike_dgl.dgl_import import DGLGraph, dgl
from spike_dgl.nn.graphs.positions import row_pointer, thin_out
from spike_dgl.nn.graphs.spans import Spans


@dataclass(frozen=True)
class BipartiteEdges:
    """Edges from n src nodes to m dst nodes, sorted by dst (CSC).

    Parameters
    ----------
    src, dst
        Rows [E] of both ends; `dst` is ascending.
    csr_order
        Positions [E] of the edges when sorted by src (CSR).
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
        """Create from edges in any order."""
        order = dst.argsort(stable=True)
        return cls.from_sorted(src[order], dst[order], num_src, num_dst)

    @classmethod
    def from_sorted(cls, src: Tensor, dst: Tensor, num_src: int, num_dst: int) -> BipartiteEdges:
        """Create from edges sorted by dst."""
        return cls(src, dst, src.argsort(stable=True), num_src, num_dst)

    def __len__(self) -> int:
        return len(self.src)

    @cached_property
    def csc_start(self) -> Tensor:
        """CSC row pointer [m + 1]: first edge to each dst node."""
        return row_pointer(self.dst, self.num_dst)

    @cached_property
    def csr_start(self) -> Tensor:
        """CSR row pointer [n + 1]: first position in `csr_order` of each src node."""
        return row_pointer(self.src, self.num_src)

    @cached_property
    def csr_dst(self) -> Tensor:
        """Dst rows [E] in `csr_order`."""
        return self.dst.index_select(0, self.csr_order)

    @cached_property
    def csc_spans(self) -> Spans:
        """Spans of the edges to each dst node."""
        return Spans.from_rows(self.csc_start, len(self))

    @cached_property
    def csr_spans(self) -> Spans:
        """Spans in `csr_order` of the edges from each src node."""
        return Spans.from_rows(self.csr_start, len(self))

    @cached_property
    def dgl_graph(self) -> DGLGraph:
        """The same edges as a bipartite DGL graph."""
        return dgl.heterograph(
            {("src", "to", "dst"): (self.src, self.dst)}, {"src": self.num_src, "dst": self.num_dst}
        )

    def to(self, device: torch.device) -> BipartiteEdges:
        """Return the same edges on a device."""
        return replace(
            self, src=self.src.to(device), dst=self.dst.to(device), csr_order=self.csr_order.to(device)
        )

    def keep(self, edges: Tensor) -> BipartiteEdges:
        """Return the subset of the edges at ascending positions `edges`."""
        return replace(
            self,
            src=self.src.index_select(0, edges),
            dst=self.dst.index_select(0, edges),
            csr_order=thin_out(self.csr_order, edges),
        )
