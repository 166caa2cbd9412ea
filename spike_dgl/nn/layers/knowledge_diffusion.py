"""Diffusion over the rows of a knowledge graph's adjacency matrix, in memory linear in its edges."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from spike_dgl.dgl_import import dgl
from spike_dgl.nn.dispatch import is_compiled
from spike_dgl.nn.graphs.edge_list import EdgeList
from spike_dgl.nn.kernels.message_passing import inner_products, sum_of_sources, sum_over_graph
from spike_dgl.nn.precision import in_full_precision

JITTER = 1e-3
"""Variance added to keep the noise covariance invertible, as a share of the average variance."""


class KnowledgeDiffusion(nn.Module):
    r"""Diffusion model that learns the likely links of an entity by denoising its row of the adjacency matrix.

    The row x_0 in {0, 1}^N of an entity is one for the entities it is linked with. With v_1 < ... < v_T,

    .. math::
        x_t = \sqrt{1 - v_t} \, x_0 + \sqrt{v_t} \, \epsilon, \qquad
        \hat x(x_t, t) = V [\tanh(W^T x_t / s_t + b_t); 1], \qquad
        L = (\mathrm{SNR}_{t-1} - \mathrm{SNR}_t) \, \lVert \hat x - x_0 \rVert^2 / N

    where SNR_t = (1 - v_t) / v_t, and s_t^2 = (1 - v_t) |x_0|^2 + v_t N is the expectation of |x_t|^2; the weight of
    the first step is 1. Source: DiffKG (Jiang, Yang, Xia, Huang; WSDM 2024), after Wang et al., "Diffusion
    Recommender Model", SIGIR 2023. We divide by the expected length, they by the length of each x_t.

    Rows of length N are never formed. W and V have one row per entity, [N, h] and [N, h + 1], and everything is
    computed from sums over links and matrices of size h:

    - W' x_0 is a sum over neighbours; W' eps, with eps of N independent normals, is normal with covariance W'W;
    - |x^ - x_0|^2 = y'(V'V)y - 2 y'(V' x_0) + |x_0|^2 with y = [tanh(.); 1], exact over all N entries;
    - in the reverse process, x_{t-1} = a x_0 + V g keeps this form, and W' V g needs W'V only.

    So it takes O(triples h + N h^2) time and O(triples + N h) memory.

    Parameters
    ----------
    heads, tails
        Ends [E] of the edges, which must include the reverse of each. A pair with several relations is one link.
    num_entities
        N.
    hidden_dim
        h.
    noise_variances
        v_1 to v_T, ascending, between 0 and 1.
    device
        Device to compute on.
    """

    variance: Tensor
    loss_weight: Tensor

    def __init__(
        self,
        heads: Tensor,
        tails: Tensor,
        num_entities: int,
        *,
        hidden_dim: int,
        noise_variances: Tensor,
        device: torch.device,
    ) -> None:
        super().__init__()
        keys = heads.to(device) * num_entities + tails.to(device)
        links, self.link_of_edge = torch.unique(keys, return_inverse=True)
        self.num_entities, self.head, self.tail = num_entities, links // num_entities, links % num_entities
        self.reverse = torch.searchsorted(links, self.tail * num_entities + self.head)
        self.links = EdgeList(self.tail, self.head, num_entities, num_entities)
        self.num_links = self.links.in_degrees.float()
        self.linked = self.num_links.nonzero().squeeze(-1)
        self.reading = nn.Parameter(torch.empty(num_entities, hidden_dim))
        self.writing = nn.Parameter(torch.empty(num_entities, hidden_dim + 1))
        self.step_embedding = nn.Parameter(torch.zeros(len(noise_variances), hidden_dim))
        nn.init.xavier_normal_(self.reading)
        nn.init.xavier_normal_(self.writing)
        ratio = (1.0 - noise_variances) / noise_variances
        weight = torch.cat([torch.ones_like(ratio[:1]), ratio[:-1] - ratio[1:]])
        self.register_buffer("variance", noise_variances.float(), persistent=False)
        self.register_buffer("loss_weight", weight.float(), persistent=False)
        self._signal = [1.0 - variance for variance in noise_variances.float().tolist()]

    def sample_rows(self, number: int) -> Tensor:
        """Draw `number` entities that have links; all of them if there are fewer."""
        order = torch.randperm(len(self.linked), device=self.linked.device)
        rows: Tensor = self.linked.index_select(0, order[:number])
        return rows

    @in_full_precision
    def denoise(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Denoise rows [n] from one random step; return the loss of each, [n], and y [n, h + 1].

        The denoised row is V y; see `written` for sums over it.
        """
        step = torch.randint(len(self.variance), rows.shape, device=rows.device)
        both = torch.cat([self.reading, self.writing], dim=1)
        sums = self._sums_of_links(rows, both)
        read, wrote = sums[:, : self.reading.shape[1]], sums[:, self.reading.shape[1] :]
        variance = self.variance[step].unsqueeze(-1)
        noisy = (1.0 - variance).sqrt() * read + variance.sqrt() * self._noise(len(rows))
        hidden = self._hidden(noisy, step, self.num_links[rows])
        squares = (hidden @ (self.writing.T @ self.writing) * hidden).sum(-1)
        error = squares - 2.0 * (hidden * wrote).sum(-1) + self.num_links[rows]
        return self.loss_weight[step] * error / self.num_entities, hidden

    @in_full_precision
    def written(self, hidden: Tensor, values: Tensor) -> Tensor:
        """Return the sums [n, D] of the values [m, D] of the first m entities, weighted by the rows V y."""
        return hidden @ (self.writing[: len(values)].T @ values)

    @torch.no_grad()
    def scores(self) -> Tensor:
        """Return the score [links] of each link after all reverse steps from x_0, up to a constant per row."""
        read = sum_of_sources(self.links, self.reading)
        back = self.writing.T @ self.reading
        own, written = 1.0, self.writing.new_zeros(self.num_entities, self.writing.shape[1])
        for step in reversed(range(len(self.variance))):
            of_estimate, of_current = self._posterior(step)
            every = self.head.new_full((self.num_entities,), step)
            hidden = self._hidden(own * read + written @ back, every, self.num_links)
            written = of_estimate * hidden + of_current * written
            own *= of_current
        return inner_products(self.links, self.writing, written).squeeze(-1)

    def highest_edges(self, scores: Tensor, number: int) -> Tensor:
        """Return a mask [E] of the edges on each entity's `number` links of highest score, in both directions."""
        by_score = scores.argsort(descending=True, stable=True)
        order = by_score[self.head[by_score].argsort(stable=True)]
        first = self.links.in_degrees.cumsum(0) - self.links.in_degrees
        rank = torch.arange(len(order), device=order.device) - first[self.head[order]]
        kept = torch.zeros_like(scores, dtype=torch.bool).scatter_(0, order, rank < number)
        return (kept | kept[self.reverse])[self.link_of_edge]

    def _hidden(self, read: Tensor, step: Tensor, num_links: Tensor) -> Tensor:
        """Return y [n, h + 1] from W' x_t [n, h]."""
        variance = self.variance[step]
        length = ((1.0 - variance) * num_links + variance * self.num_entities).sqrt().unsqueeze(-1)
        hidden = torch.tanh(read / length + self.step_embedding.index_select(0, step))
        return functional.pad(hidden, (0, 1), value=1.0)

    def _noise(self, number: int) -> Tensor:
        """Draw W' eps [n, h]."""
        gram = self.reading.T @ self.reading
        jitter = JITTER * gram.diagonal().mean() * torch.eye(len(gram), device=gram.device, dtype=gram.dtype)
        normals = torch.randn(number, len(gram), device=gram.device, dtype=gram.dtype)
        # Without a check, which a GPU would have to wait for: where it fails the loss is not finite, and training ends.
        noise: Tensor = normals @ torch.linalg.cholesky_ex(gram + jitter).L.T
        return noise

    def _sums_of_links(self, rows: Tensor, values: Tensor) -> Tensor:
        """Return the sums [n, D] of the values [N, D] over the links of some rows [n]."""
        if not is_compiled(rows.device):  # a GPU would have to wait for the number of their links
            return sum_of_sources(self.links, values).index_select(0, rows)
        graph = dgl.in_subgraph(self.links.dgl_graph, {"dst": rows})
        return sum_over_graph(graph, values).index_select(0, rows)

    def _posterior(self, step: int) -> tuple[float, float]:
        """Return the coefficients of the estimate of x_0 and of x_t in the mean of x_{t-1}."""
        now, before = self._signal[step], self._signal[step - 1] if step else 1.0
        kept = now / before
        return before**0.5 * (1.0 - kept) / (1.0 - now), kept**0.5 * (1.0 - before) / (1.0 - now)
