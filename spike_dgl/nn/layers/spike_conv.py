"""SPiKE's graph layer: entities attend to their neighbours, users average theirs."""

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
"""Features [n, D] by node type."""


def require_whole_heads(embedding_dim: int, num_heads: int) -> None:
    """Raise `ValueError` unless `num_heads` divides `embedding_dim`."""
    if embedding_dim % num_heads:
        raise ValueError(f"embedding_dim {embedding_dim} is not a multiple of num_heads {num_heads}")


class SpikeConv(nn.Module):
    r"""Graph layer of SPiKE, one hop: profile-aware knowledge graph aggregation on a heterograph.

    An entity h attends to its in-neighbours t over all relations r at once: one softmax over all its in-edges. For
    attention head m, with :math:`d_k = D / H`,

    .. math::
        \alpha_m = \mathrm{softmax}_{(r, t)} \big( \langle (h W_Q)_m, (t W_Q)_m \odot (e_r)_m \rangle
                   / \sqrt{d_k} \big), \qquad
        h' = \mathrm{norm}\Big( \mathrm{dropout}\Big(
             \big\Vert_m \sum_{(r, t)} \alpha_m \, (t \odot e_r)_m \Big)\Big)

    A node of a type in `mean_ntypes`, such as a user, averages its in-neighbours instead:

    .. math:: u' = \mathrm{norm}\Big( \mathrm{dropout}\Big( \frac{1}{|N_u|} \sum_{t \in N_u} t \Big)\Big)

    Query and key share :math:`W_Q`; there is no value matrix and no self-loop. The output of a node without in-edges
    is zero. Profiles act through the features: SPiKE adds the gated profile to the embedding of each node before the
    first hop, so the attention depends on the profiles.

    Source: SPiKE (Ahn, Shin, Seo: "Enriching Semantic Profiles into Knowledge Graph for Recommender Systems Using
    Large Language Models", KDD 2026).
    `relation_init="identity"` and `mean_transform` are ours.

    Parameters
    ----------
    in_feats
        D, the dimension of input and output.
    num_heads
        H, a divisor of D.
    etypes
        Canonical edge types to attend along; row i of the relation embedding belongs to ``etypes[i]``. A graph need
        not have all of them. Edges of other types are ignored, except those to `mean_ntypes`.
    mean_ntypes
        Node types that average their in-neighbours over all edge types.
    feat_drop
        Dropout on the aggregated messages.
    relation_init
        Initial relation embeddings: ``random`` (Xavier) or ``identity`` (Xavier plus one). A message is the product
        of a state and a relation embedding. Xavier's small values of either sign shrink messages and logits at first;
        values near one leave them nearly unchanged.
    mean_transform
        Whether to multiply means with a learned matrix, initialised to the identity.
    backend
        Implementation: ``compiled`` (CPU), ``triton`` (GPU), ``torch`` (any device), ``dgl`` (DGL's message passing,
        one edge type at a time) or ``auto`` (compiled on the CPU; on a GPU triton, or torch without Triton). All give
        the same numbers.

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
            Features [n, D] by node type; of the src nodes if `graph` is a block.
        get_attention
            Whether to return the attention as well.

        Returns
        -------
        dict of Tensor
            Features [n, D] by node type; of the dst nodes if `graph` is a block.
        dict of Tensor
            Attention weights [E, H] by attended edge type, in the order of edge ids; only with `get_attention`.
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
        """Compute one hop on a `MessageGraph`, which is built once and not in every call.

        Parameters
        ----------
        messages
            Edges of the hop; a training step may have dropped some.
        states
            States [U + N, D], users first.
        dst
            Rows [m] of the nodes whose next states to compute; None for all.

        Returns
        -------
        states : Tensor
            Next states [U + N, D], or [m, D] with `dst`.
        attention : Tensor
            Attention weights [E, H] in the order of ``messages.attended``, without gradient.
        """
        aggregated, attention = self.aggregate(messages, states)
        if dst is not None:
            aggregated = aggregated.index_select(0, dst)
        return normalise(aggregated, self.feat_drop if self.training else 0.0), attention

    def aggregate(self, messages: MessageGraph, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return the aggregated messages [U + N, D] before dropout and normalisation, and the attention [E, H]."""
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
        """Apply the learned transform of means, if any, to [n, D]."""
        return means if self.mean_transform is None else means @ self.mean_transform

    def _numbered(
        self, graph: DGLGraph, feat: Mapping[str, Tensor]
    ) -> tuple[Features, dict[EdgeType, Tensor]]:
        """Number the nodes of all types consecutively, `mean_ntypes` first, and aggregate on a `MessageGraph`."""
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
                # The edges of a type are sorted by dst, and those to the same dst by edge id.
                of_type = attention[messages.relation == row]
                weights[etype] = torch.empty_like(of_type).index_copy_(0, dst.argsort(stable=True), of_type)
        return weights

    def _by_edge_type(
        self, graph: DGLGraph, feat: Mapping[str, Tensor]
    ) -> tuple[Features, dict[EdgeType, Tensor]]:
        """Aggregate with DGL's message functions, one edge type at a time: the equations, line by line."""
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
        """Reshape [n, D] to [n, H, d_k]."""
        return rows.view(len(rows), self.num_heads, -1)


def _softmax_over_edge_types(graph: DGLGraph, etypes: Sequence[EdgeType]) -> None:
    """Set the edge data "attention" to the softmax of "logit" over all in-edges of these types of a node."""

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
    """Return the mean [n, D] over all in-edges; zero for nodes without in-edges."""
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
