"""Losses: Bayesian personalised ranking, sampled softmax, InfoNCE, pairwise profile matching, and L2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from spike_dgl.nn.dispatch import is_compiled
from spike_dgl.nn.kernels.rows import differences_and_sums, normalise
from spike_dgl.nn.precision import in_full_precision

USERS_PER_BLOCK = 512
"""Number of users whose scores of all negatives are in memory at a time, at least; a 32nd of all users if more."""

RankingLoss = Literal["bpr", "softmax"]


@in_full_precision
def bpr_loss(positive_scores: Tensor, negative_scores: Tensor) -> Tensor:
    """Bayesian personalised ranking: mean of -log sigmoid(positive - negative), scores [B].

    Source: Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.
    """
    return functional.softplus(negative_scores - positive_scores).mean()


@in_full_precision
def softmax_loss(
    users: Tensor, positives: Tensor, negatives: Tensor, user_of: Tensor | None = None
) -> Tensor:
    """Sampled softmax: mean of -log softmax of each positive over itself and the negatives of the batch.

    Parameters
    ----------
    users
        Users [K, D].
    positives
        Positive items [B, D].
    negatives
        Negative items [M, D], shared by all users of the batch. A negative may be a positive of some user; uniform
        sampling makes that rare.
    user_of
        Row [B] in `users` of each positive, so that a user's negatives are summed once for all their positives.
        None if each positive has its own row, K = B.

    Source: Wu et al., "On the Effectiveness of Sampled Softmax Loss for Item Recommendation", TOIS 2024, here with
    inner products rather than cosines and without a temperature.
    """
    if user_of is None:
        user_of = torch.arange(len(users), device=users.device)
    return _Softmax.apply(users, positives, negatives, user_of, False, None)  # type: ignore[no-any-return, no-untyped-call]


@in_full_precision
def contrastive_loss(
    anchors: Tensor, others: Tensor, temperature: float, counted: Tensor | None = None
) -> Tensor:
    """InfoNCE: each row of one view should be closer to the same row of the other view than to its other rows.

    .. math:: -\\frac{1}{n} \\sum_i \\log
        \\frac{\\exp(\\cos(a_i, b_i) / \\tau)}{\\sum_j \\exp(\\cos(a_i, b_j) / \\tau)}

    The n x n cosines are computed in blocks of anchors.

    Parameters
    ----------
    anchors, others
        The same n nodes in both views, [n, D] each.
    temperature
        tau; the smaller, the higher the weight of the closest rows.
    counted
        True [n] for the nodes that count; see `distinct`. None for all.

    Source: van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018, with the cosines
    of Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020.
    """
    a, b = normalise(anchors) / temperature, normalise(others)
    each = torch.arange(len(a), device=a.device)
    return _Softmax.apply(a, b, b, each, True, counted)  # type: ignore[no-any-return, no-untyped-call]


def distinct(rows: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the distinct ones of rows [n], ascending.

    On a GPU, which would have to wait for their number, it returns all rows, ascending, and True [n] for the first of
    each; on the CPU the second result is None.
    """
    if is_compiled(rows.device):
        return torch.unique(rows), None
    ascending = rows.sort().values
    is_first = torch.ones_like(rows, dtype=torch.bool)
    is_first[1:] = ascending[1:] != ascending[:-1]
    return ascending, is_first


class _Softmax(torch.autograd.Function):
    """Sampled softmax that computes loss and gradients in one pass over blocks of users, not all scores [K, M] at once.

    With L the log-sum-exp of a user's negative scores, the loss of a positive of score s is softplus(L - s), or
    L - s if the negatives contain the positive (`positive_among`).
    """

    @staticmethod
    def forward(
        ctx: Any,
        users: Tensor,
        positives: Tensor,
        negatives: Tensor,
        user_of: Tensor,
        positive_among: bool,
        counted: Tensor | None,
    ) -> Tensor:
        to_users, to_negatives = torch.empty_like(users), torch.zeros_like(negatives)
        own_users = users[user_of]
        scores = (own_users * positives).sum(-1)
        log_sums = users.new_full((len(users),), -torch.inf)
        # Each block scans all positives, at most 33 times in total, which costs little; selecting those of the block
        # would synchronise a GPU. Positives of later blocks have a gap of minus infinity, so their slope is 0.
        for block in _blocks(len(users)):
            user = users[block]
            shares = user @ negatives.t()
            if counted is not None:
                shares.masked_fill_(~counted, -torch.inf)
            highest = shares.amax(-1, keepdim=True)
            totals = shares.sub_(highest).exp_().sum(-1, keepdim=True)
            log_sums[block] = (totals.log() + highest).squeeze(-1)
            slopes = _slopes(log_sums[user_of] - scores, positive_among, counted)
            shares *= slopes.new_zeros(len(users)).index_add_(0, user_of, slopes)[block, None] / totals
            torch.mm(shares, negatives, out=to_users[block])
            to_negatives.addmm_(shares.t(), user)
        gaps = log_sums[user_of] - scores
        slopes = -_slopes(gaps, positive_among, counted)[:, None]
        to_users.index_add_(0, user_of, slopes * positives)
        ctx.save_for_backward(to_users, slopes * own_users, to_negatives)
        ctx.mean_over = len(positives) if counted is None else counted.sum()
        if counted is not None:
            gaps = gaps * counted * (len(positives) / ctx.mean_over)
        return gaps.mean() if positive_among else functional.softplus(gaps).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *(slope * (grad / ctx.mean_over) for slope in ctx.saved_tensors), None, None, None


def _blocks(users: int) -> Iterator[slice]:
    size = max(USERS_PER_BLOCK, -(-users // 32))
    return (slice(first, first + size) for first in range(0, users, size))


def _slopes(gaps: Tensor, positive_among: bool, counted: Tensor | None) -> Tensor:
    """Return the derivative of the loss by the gap; 0 where the gap is minus infinity or the positive not counted."""
    if not positive_among:
        return gaps.sigmoid()
    return (gaps.isfinite() if counted is None else gaps.isfinite() & counted).to(gaps.dtype)


@in_full_precision
def matching_loss(embeddings: Tensor, profiles: Tensor, nodes: Tensor | None = None) -> Tensor:
    """Mean squared difference between the cosine similarities of node embeddings and those of their profiles.

    .. math:: \\frac{1}{k^2} \\lVert A A^T - B B^T \\rVert_F^2

    with A and B the row-normalised inputs. Source: "pairwise profile preference matching" of SPiKE (Ahn, Shin, Seo;
    KDD 2026).

    No k x k matrix is formed. With P = A - B and Q = A + B the loss is (<P'P, Q'Q> + <P'Q, (P'Q)'>) / 2 / k^2, which
    takes O(k D^2) time and O(D^2) memory. The Gram identity, which subtracts three large terms, would lose precision
    in float32 where A is close to B.

    Parameters
    ----------
    embeddings, profiles
        Embeddings and projected profiles of the same nodes, [n, D] each.
    nodes
        Samples [S, k] of the rows; None for all rows, k = n.

    Returns
    -------
    Tensor
        Scalar, the mean over samples. Gradients flow to both inputs.
    """
    both = differences_and_sums(embeddings, profiles)
    if nodes is not None:
        both = both.index_select(0, nodes.flatten()).view(*nodes.shape, -1)
    return _Matching.apply(both)  # type: ignore[no-any-return, no-untyped-call]


class _Matching(torch.autograd.Function):
    """Matching loss of [P Q], [..., k, 2 D], from the products P'P, P'Q and Q'Q.

    The gradient for P is (P Q'Q + Q P'Q) / k^2, that for Q is (Q P'P + P Q'P) / k^2.
    """

    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:
        p, q = both.chunk(2, dim=-1)
        pp, pq = (p.transpose(-1, -2) @ both).chunk(2, dim=-1)
        qp, qq = pq.transpose(-1, -2), q.transpose(-1, -2) @ q
        to_both = torch.cat([torch.cat([qq, qp], dim=-1), torch.cat([pq, pp], dim=-1)], dim=-2)
        ctx.mean_over = both.shape[:-2].numel() * both.shape[-2] ** 2
        ctx.save_for_backward(both, to_both)
        loss: Tensor = ((pp * qq).sum() + (pq * qp).sum()) / (2 * ctx.mean_over)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        both, to_both = ctx.saved_tensors
        slopes: Tensor = both @ (to_both * (grad / ctx.mean_over))
        return slopes


@in_full_precision
def l2_loss(*embeddings: Tensor) -> Tensor:
    """Return half the squared norm of a batch's embeddings [B, D], averaged over the batch."""
    total = torch.stack([rows.square().sum() for rows in embeddings]).sum()
    return total / (2 * len(embeddings[0]))
