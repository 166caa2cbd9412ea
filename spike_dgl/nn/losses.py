"""Losses: Bayesian personalised ranking, sampled softmax, contrast, pairwise profile matching, and L2 on a batch."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from spike_dgl.nn.precision import in_full_precision
from spike_dgl.nn.rows import normalise

USERS_PER_BLOCK = 512
"""Users whose scores of all negatives are in memory at a time."""


@in_full_precision
def bpr_loss(positive_scores: Tensor, negative_scores: Tensor) -> Tensor:
    """Bayesian personalised ranking: the mean of -log sigmoid(positive - negative), scores [B].

    Source: Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.
    """
    return functional.softplus(negative_scores - positive_scores).mean()


@in_full_precision
def softmax_loss(users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """Sampled softmax: the mean of -log of the share of each positive among itself and the negatives of all.

    Parameters
    ----------
    users, positives
        [B, D] the two ends of each interaction.
    negatives
        [M, D] items that every user of the batch shares. One of them may be a positive of some user; uniform
        sampling makes that rare.

    Source: Wu et al., "On the Effectiveness of Sampled Softmax Loss for Item Recommendation", TOIS 2024, here with
    inner products rather than cosines and without a temperature.
    """
    return _Softmax.apply(users, positives, negatives, False)  # type: ignore[no-any-return, no-untyped-call]


@in_full_precision
def contrastive_loss(anchors: Tensor, others: Tensor, temperature: float) -> Tensor:
    """InfoNCE: each row of one view shall be closer to the same row of the other view than to the other rows.

    .. math:: -\\frac{1}{n} \\sum_i \\log
        \\frac{\\exp(\\cos(a_i, b_i) / \\tau)}{\\sum_j \\exp(\\cos(a_i, b_j) / \\tau)}

    The n x n cosines are computed for some anchors at a time and never there as a whole.

    Parameters
    ----------
    anchors, others
        [n, D] the same n nodes in both views, each node once.
    temperature
        tau; the smaller, the more the closest rows count.

    Source: van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018, with the cosines
    of Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020.
    """
    a, b = normalise(anchors) / temperature, normalise(others)
    return _Softmax.apply(a, b, b, True)  # type: ignore[no-any-return, no-untyped-call]


class _Softmax(torch.autograd.Function):
    """Loss and gradients at once, for some users at a time: the scores [B, M] are never there as a whole.

    `positive_among` says that the negatives hold each positive too, which then counts once.
    """

    @staticmethod
    def forward(
        ctx: Any, users: Tensor, positives: Tensor, negatives: Tensor, positive_among: bool
    ) -> Tensor:
        to_users, to_positives = torch.empty_like(users), torch.empty_like(positives)
        to_negatives, loss = torch.zeros_like(negatives), users.new_zeros(())
        for first in range(0, len(users), USERS_PER_BLOCK):
            block = slice(first, first + USERS_PER_BLOCK)
            user, positive = users[block], positives[block]
            own = (user * positive).sum(-1, keepdim=True)
            shares = user @ negatives.t()
            highest = torch.maximum(shares.amax(-1, keepdim=True), own)
            shares.sub_(highest).exp_()
            own_share = torch.zeros_like(own) if positive_among else (own - highest).exp()
            total = shares.sum(-1, keepdim=True) + own_share
            loss += (total.log() + highest - own).sum()
            shares /= total
            missing = own_share / total - 1.0
            to_users[block] = torch.addmm(missing * positive, shares, negatives)
            to_positives[block] = missing * user
            to_negatives.addmm_(shares.t(), user)
        ctx.save_for_backward(to_users, to_positives, to_negatives)
        return loss / len(users)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *(slope * (grad / len(ctx.saved_tensors[0])) for slope in ctx.saved_tensors), None


RankingLoss = Literal["bpr", "softmax"]


def ranking_loss(
    name: RankingLoss, users: Tensor, positives: Tensor, negatives: Tensor, softmax_negatives: int
) -> Tensor:
    """The ranking loss of that name, from the rows [B, D] of a batch's users and items.

    Of the negatives, the softmax takes the first `softmax_negatives`.
    """
    if name == "bpr":
        return bpr_loss((users * positives).sum(-1), (users * negatives).sum(-1))
    return softmax_loss(users, positives, negatives[:softmax_negatives])


@in_full_precision
def matching_loss(embeddings: Tensor, profiles: Tensor) -> Tensor:
    """How far the cosine similarities among node embeddings are from those among their profiles.

    .. math:: \\frac{1}{k^2} \\lVert A A^T - B B^T \\rVert_F^2

    with A and B the row-normalised inputs: the "pairwise profile preference matching" of SPiKE (METHOD section 1).
    No k x k matrix is formed. With P = A - B and Q = A + B the same number is
    (<P'P, Q'Q> + <P'Q, (P'Q)'>) / 2, in O(k D^2) time and O(D^2) memory, and unlike the Gram identity that
    subtracts three large terms it keeps its precision in float32 where A is close to B.

    Parameters
    ----------
    embeddings, profiles
        [..., k, D] the same k nodes in both; leading dimensions are samples.

    Returns
    -------
    Tensor
        Scalar, the mean over samples. Gradients flow to both inputs.
    """
    shape = embeddings.shape
    a, b = (normalise(rows.flatten(0, -2)).view(shape) for rows in (embeddings, profiles))
    return _Matching.apply(a, b)  # type: ignore[no-any-return, no-untyped-call]


class _Matching(torch.autograd.Function):
    """The loss of normalised rows A and B. One Gram matrix of [P Q] says all, also about the gradients.

    With M = A A^T - B B^T the gradients are 4 M A / k^2 and -4 M B / k^2, and as M = (P Q^T + Q P^T) / 2,
    A = (P + Q) / 2 and B = (Q - P) / 2, both are [P Q] times small matrices.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        both = torch.cat([a - b, a + b], dim=-1)
        gram = both.transpose(-1, -2) @ both
        pp, pq, _, qq = _quarters(gram)
        squares = (pp * qq).sum() + (pq * pq.transpose(-1, -2)).sum()
        ctx.mean_over = a.shape[:-2].numel() * a.shape[-2] ** 2
        ctx.save_for_backward(both, gram)
        loss: Tensor = squares / (2 * ctx.mean_over)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        both, gram = ctx.saved_tensors
        pp, pq, qp, qq = _quarters(gram)
        to_a = torch.cat([qp + qq, pp + pq], dim=-2)
        to_b = torch.cat([qp - qq, pp - pq], dim=-2)
        slopes = both @ (torch.cat([to_a, to_b], dim=-1) * (grad / ctx.mean_over))
        of_a, of_b = slopes.chunk(2, dim=-1)
        return of_a, of_b


def _quarters(gram: Tensor) -> list[Tensor]:
    """P'P, P'Q, Q'P and Q'Q of [P Q]'[P Q]."""
    return [quarter for half in gram.chunk(2, dim=-2) for quarter in half.chunk(2, dim=-1)]


@in_full_precision
def l2_loss(*embeddings: Tensor) -> Tensor:
    """Half the squared norm of a batch's embeddings [B, D], averaged over the batch."""
    total = torch.stack([rows.square().sum() for rows in embeddings]).sum()
    return total / (2 * len(embeddings[0]))
