"""Losses: Bayesian personalised ranking, pairwise profile matching, and L2 on a batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def bpr_loss(positive_scores: Tensor, negative_scores: Tensor) -> Tensor:
    """Bayesian personalised ranking: the mean of -log sigmoid(positive - negative), scores [B].

    Source: Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.
    """
    return functional.softplus(negative_scores - positive_scores).mean()


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
    a, b = functional.normalize(embeddings, dim=-1), functional.normalize(profiles, dim=-1)
    p, q = a - b, a + b
    p_t = p.transpose(-1, -2)
    pp, qq, pq = p_t @ p, q.transpose(-1, -2) @ q, p_t @ q
    squares = (pp * qq).sum((-1, -2)) + (pq * pq.transpose(-1, -2)).sum((-1, -2))
    return (squares / 2).mean() / embeddings.shape[-2] ** 2


def l2_loss(*embeddings: Tensor) -> Tensor:
    """Half the squared norm of a batch's embeddings [B, D], averaged over the batch."""
    total = torch.stack([rows.square().sum() for rows in embeddings]).sum()
    return total / (2 * len(embeddings[0]))
