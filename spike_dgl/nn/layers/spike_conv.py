"""SPiKE's graph layer: relation-aware attention for entities, means for users."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from spike_dgl.dgl_import import DGLGraph, fn
from spike_dgl.graph import EdgeType
from spike_dgl.nn.graphs.messages import MessageGraph
from spike_dgl.nn.graphs.relational import RelationalGraph
from spike_dgl.nn.kernels import Backend, attend, mean_of_sources
from spike_dgl.nn.kernels.rows import normalise

RelationInit = Literal["random", "identity"]
Features: TypeAlias = dict[str, Tensor]
"""Rows of every node type."""


def require_whole_heads(embedding_dim: int, num_heads: int) -> None:
    """Raise `ValueError` where the heads do not divide the dimension."""
    if embedding_dim % num_heads:
        raise ValueError(f"embedding_dim {embedding_dim} is not a multiple of num_heads {num_heads}")


class SpikeConv(nn.Module):
    r"""One hop of SPiKE: profile-aware knowledge graph aggregation on a heterograph.

    An entity h attends to all its in-neighbours t, whatever the relation r. With :math:`d_k = D / H` and head m,

    .. math::
        \alpha_m = \mathrm{softmax}_{(r, t)} \big( \langle (h W_Q)_m, (t W_Q)_m \odot (e_r)_m \rangle
                   / \sqrt{d_k} \big), \qquad
        h' = \mathrm{norm}\Big( \mathrm{dropout}\Big(
             \big\Vert_m \sum_{(r, t)} \alpha_m \, (t \odot e_r)_m \Big)\Big)

    A node of the types `mean_ntypes`, such as a user, averages its in-neighbours instead,

    .. math:: u' = \mathrm{norm}\Big( \mathrm{dropout}\Big( \frac{1}{|N_u|} \sum_{t \in N_u} t \Big)\Big)

    There is one :math:`W_Q` for query and key, no value matrix and no self-loop. A node without in-edges becomes zero.
    Profiles act through the features: SPiKE adds the projected profile to the embedding of every node before the first
    hop, so that the profiles gate the attention.

    Source: SPiKE (Ahn, Shin, Seo: "Semantic Profiles into Knowledge Graphs for Enhanced Recommendation", KDD 2026).
    The transform of means is ours.

    Parameters
    ----------
    in_feats
        D, of input and output.
    num_heads
        H, a divisor of D.
    etypes
        Canonical edge types along which nodes attend; row i of the relation embedding belongs to ``etypes[i]``. A graph
        may lack some of them. Edges of other types are not used, except those to `mean_ntypes`.
    mean_ntypes
        Node types that average their in-neighbours over all edge types.
    feat_drop
        Dropout on what a node aggregates.
    relation_init
        How relation embeddings begin: ``random`` (Xavier), or ``identity``, the same around one. A message is the
        product of a state and a relation: small numbers of either sign leave little of the state, and of the logits,
        before they are learned; ones let it pass as it is.
    mean_transform
        Whether means are multiplied with a learned matrix, which starts as the identity.
    backend
        What computes it: ``compiled`` (on the CPU), ``torch`` (any device), ``dgl`` (DGL's message passing, on the
        heterograph one edge type after the other), or ``auto``: compiled on the CPU, torch elsewhere. Same numbers.

    Examples
    --------
    >>> import torch
    >>> from spike_dgl.dgl_import import dgl
    >>> from spike_dgl.nn.layers.spike_conv import SpikeConv
    >>> graph = dgl.heterograph({
    ...     ("person", "directed", "film"): ([0, 0, 1], [0, 1, 2]),
    ...     ("film", "directed by", "person"): ([0, 1, 2], [0, 0, 1]),
    ...     ("user", "watched", "film"): ([0, 1], [0, 1]),
    ...     ("film", "watched by", "user"): ([0, 1], [0, 1]),
    ... })
    >>> etypes = [etype for etype in graph.canonical_etypes if etype[2] != "user"]
    >>> conv = SpikeConv(8, num_heads=2, etypes=etypes)
    >>> feat = {ntype: torch.randn(graph.num_nodes(ntype), 8) for ntype in graph.ntypes}
    >>> out, attention = conv(graph, feat, get_attention=True)
    >>> out["film"].shape
    torch.Size([3, 8])
    >>> attention["person", "directed", "film"].shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        in_feats: int,
        num_heads: int,
        etypes: Sequence[EdgeType],
        *,
        mean_ntypes: Sequence[str] = ("user",),
        feat_drop: float = 0.0,
        relation_init: RelationInit = "random",
        mean_transform: bool = False,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        require_whole_heads(in_feats, num_heads)
        self.num_heads, self.etypes, self.mean_ntypes = num_heads, list(etypes), tuple(mean_ntypes)
        self.feat_drop, self.backend = feat_drop, backend
        self.query_projection = nn.Parameter(torch.empty(in_feats, in_feats))
        self.relation_embedding = nn.Parameter(torch.empty(len(self.etypes), in_feats))
        nn.init.xavier_uniform_(self.query_projection)
        nn.init.xavier_uniform_(self.relation_embedding)
        if relation_init == "identity":
            with torch.no_grad():
                self.relation_embedding.add_(1.0)
        self.mean_transform = nn.Parameter(torch.eye(in_feats)) if mean_transform else None

    def forward(
        self, graph: DGLGraph, feat: Mapping[str, Tensor], get_attention: bool = False
    ) -> Features | tuple[Features, dict[EdgeType, Tensor]]:
        """Compute one hop over all edges.

        Parameters
        ----------
        graph
            A heterograph, or a block (`dgl.to_block`) of one.
        feat
            Features [n, D] of the nodes of every type; of a block's sources.
        get_attention
            Whether to return the attention as well.

        Returns
        -------
        dict of Tensor
            [n, D] for every node type; for a block its destinations.
        dict of Tensor
            [E, H] weights of the edges of each attended type, in the order of edge ids; only with `get_attention`.
        """
        if self.backend == "dgl":
            aggregated, attention = self._by_edge_type(graph, feat)
        else:
            aggregated, attention = self._numbered(graph, feat)
        dropout = self.feat_drop if self.training else 0.0
        out = {
            ntype: normalise(rows[: graph.num_dst_nodes(ntype)], dropout)
            for ntype, rows in aggregated.items()
        }
        return (out, attention) if get_attention else out

    def hop(self, messages: MessageGraph, states: Tensor, dst: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute the same on nodes that are numbered through, which saves the derivation of the structure.

        Parameters
        ----------
        messages
            Structure; may lack edges that were dropped for a training step.
        states
            [U + N, D] users first.
        dst
            [m] rows of the nodes whose next states are wanted; all where not given.

        Returns
        -------
        states : Tensor
            [U + N, D], or [m, D].
        attention : Tensor
            [E, H] weights in the order of ``messages.attended``. Without gradient.
        """
        aggregated, attention = self.aggregate(messages, states)
        if dst is not None:
            aggregated = aggregated.index_select(0, dst)
        return normalise(aggregated, self.feat_drop if self.training else 0.0), attention

    def aggregate(self, messages: MessageGraph, states: Tensor) -> tuple[Tensor, Tensor]:
        """Compute `hop` without dropout and normalisation: [U + N, D], and the attention [E, H]."""
        gathered, attention = attend(
            messages,
            states @ self.query_projection,
            states,
            self.relation_embedding,
            self.num_heads,
            self.backend,
        )
        means = mean_of_sources(messages.pooled, states, self.backend)
        return torch.cat([self.transformed(means), gathered]), attention

    def transformed(self, means: Tensor) -> Tensor:
        """Return what means [n, D] contribute to the states of `mean_ntypes`."""
        return means if self.mean_transform is None else means @ self.mean_transform

    def _numbered(
        self, graph: DGLGraph, feat: Mapping[str, Tensor]
    ) -> tuple[Features, dict[EdgeType, Tensor]]:
        """Number the nodes through, averaging types first, and aggregate on that."""
        ntypes = tuple(sorted(graph.srctypes, key=lambda ntype: ntype not in self.mean_ntypes))
        pooled = [etype for etype in graph.canonical_etypes if etype[2] in self.mean_ntypes]
        numbered = RelationalGraph.from_edge_types(graph, [*self.etypes, *pooled], ntypes)
        num_means = sum(graph.num_src_nodes(ntype) for ntype in ntypes if ntype in self.mean_ntypes)
        messages = MessageGraph.from_relational(numbered, num_means)
        states = torch.cat([feat[ntype] for ntype in ntypes])
        aggregated, attention = self.aggregate(messages.to(states.device), states)
        parts = torch.split(aggregated, [graph.num_src_nodes(ntype) for ntype in ntypes])
        return dict(zip(ntypes, parts, strict=True)), self._by_edge_id(graph, messages, attention)

    def _by_edge_id(
        self, graph: DGLGraph, messages: MessageGraph, attention: Tensor
    ) -> dict[EdgeType, Tensor]:
        weights = {}
        for row, etype in enumerate(self.etypes):
            if etype in graph.canonical_etypes:
                _, dst = graph.edges(etype=etype, order="eid")
                # Edges of one type stand in the order of destinations, those of one destination by edge id.
                of_type = attention[messages.relation == row]
                weights[etype] = torch.empty_like(of_type).index_copy_(0, dst.argsort(stable=True), of_type)
        return weights

    def _by_edge_type(
        self, graph: DGLGraph, feat: Mapping[str, Tensor]
    ) -> tuple[Features, dict[EdgeType, Tensor]]:
        """Compute with DGL's message functions, one edge type after the other, as the formulas read."""
        attended = [
            etype for etype in self.etypes if etype in graph.canonical_etypes and graph.num_edges(etype)
        ]
        aggregated = {ntype: torch.zeros_like(rows) for ntype, rows in feat.items()}
        attention: dict[EdgeType, Tensor] = {}
        if attended:
            gathered, attention = self._attend(graph, attended, feat)
            aggregated |= gathered
        for ntype in self.mean_ntypes:
            aggregated[ntype] = self.transformed(_mean_of_in_neighbours(graph, ntype, feat))
        return aggregated, attention

    def _attend(
        self, graph: DGLGraph, etypes: Sequence[EdgeType], feat: Mapping[str, Tensor]
    ) -> tuple[Features, dict[EdgeType, Tensor]]:
        with graph.local_scope():
            for ntype, rows in feat.items():
                query = self._heads(rows @ self.query_projection)
                graph.srcnodes[ntype].data["query"] = query
                graph.srcnodes[ntype].data["state"] = self._heads(rows)
                graph.dstnodes[ntype].data["query"] = query[: graph.num_dst_nodes(ntype)]
            sums = {}
            for etype in etypes:
                relation = self._heads(self.relation_embedding[self.etypes.index(etype)][None])
                src, name = graph.srcnodes[etype[0]].data, str(etype)
                src[f"key {name}"], src[f"value {name}"] = src["query"] * relation, src["state"] * relation
                graph.apply_edges(fn.u_dot_v(f"key {name}", "query", "logit"), etype=etype)
                graph.edges[etype].data["logit"] = graph.edges[etype].data["logit"] / math.sqrt(
                    relation.shape[-1]
                )
                sums[etype] = (fn.u_mul_e(f"value {name}", "attention", "message"), fn.sum("message", "sum"))
            _softmax_over_edge_types(graph, etypes)
            graph.multi_update_all(sums, "sum")
            gathered = {
                ntype: graph.dstnodes[ntype].data["sum"].flatten(1) for ntype in {e[2] for e in etypes}
            }
            weights = {etype: graph.edges[etype].data["attention"].detach().squeeze(-1) for etype in etypes}
            return gathered, weights

    def _heads(self, rows: Tensor) -> Tensor:
        """[n, D] as [n, H, d_k]."""
        return rows.view(len(rows), self.num_heads, -1)


def _softmax_over_edge_types(graph: DGLGraph, etypes: Sequence[EdgeType]) -> None:
    """Set "attention" of the edges of some types to the softmax of "logit" over all of these edges of a node."""

    def aggregate(field: str, reduce: Callable[[str, str], object], across: str, out: str) -> None:
        functions = {etype: (fn.copy_e(field, "message"), reduce("message", out)) for etype in etypes}
        graph.multi_update_all(functions, across)

    aggregate("logit", fn.max, "max", "highest")
    for etype in etypes:
        graph.apply_edges(fn.e_sub_v("logit", "highest", "shifted"), etype=etype)
        graph.edges[etype].data["exponential"] = graph.edges[etype].data["shifted"].exp()
    aggregate("exponential", fn.sum, "sum", "total")
    for etype in etypes:
        graph.apply_edges(fn.e_div_v("exponential", "total", "attention"), etype=etype)


def _mean_of_in_neighbours(graph: DGLGraph, ntype: str, feat: Mapping[str, Tensor]) -> Tensor:
    """[n, D] over all edge types; zero for nodes without in-edges."""
    etypes = [etype for etype in graph.canonical_etypes if etype[2] == ntype]
    total = torch.zeros_like(feat[ntype][: graph.num_dst_nodes(ntype)])
    count = total.new_zeros(len(total), 1)
    with graph.local_scope():
        for etype in etypes:
            graph.srcnodes[etype[0]].data["state"] = feat[etype[0]]
            graph.update_all(fn.copy_u("state", "message"), fn.sum("message", "sum"), etype=etype)
            total = total + graph.dstnodes[ntype].data["sum"]
            count = count + graph.in_degrees(etype=etype)[:, None]
    return total / count.clamp(min=1)
