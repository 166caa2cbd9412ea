"""Strength of paths by the model's attention and by the gradient of the score."""

from __future__ import annotations

import numpy as np
import torch

from spike_dgl.explain.arcs import NO_ARC, Arcs
from spike_dgl.explain.paths import Paths
from spike_dgl.explain.removal import pair_scores
from spike_dgl.models.spike import Spike, SpikeStates
from spike_dgl.nn.kernels.rows import normalise
from spike_dgl.typing import FloatArray, IndexArray


def message_weights(states: SpikeStates, arcs: Arcs) -> FloatArray:
    """Return the weight [L, E + X, H] of every message: attention, or an item's share in a user's mean."""
    attention = torch.stack(states.attention).cpu().numpy()
    shares = 1.0 / arcs.count[arcs.dst[arcs.num_attended :]].astype(attention.dtype)
    num_layers, _, num_heads = attention.shape
    pooled = np.broadcast_to(shares[None, :, None], (num_layers, len(shares), num_heads))
    weights: FloatArray = np.concatenate([attention, pooled], axis=1)
    return weights


def attention_of_paths(paths: Paths, arcs: Arcs, weights: FloatArray) -> tuple[IndexArray, FloatArray]:
    """Return the products of weights along paths, for each node from which messages can reach both ends.

    Parameters
    ----------
    paths, arcs
        C paths, and the graph.
    weights
        Result [L, E + X, H] of `message_weights`.

    Returns
    -------
    meeting : IndexArray
        Positions [m] of these nodes on a path.
    attention : FloatArray
        Products [m, C], averaged over heads.
    """
    to_user, to_item = paths.towards_user(arcs), paths.towards_item(arcs)
    longest = len(weights)
    meetings = [
        place for place in range(paths.num_links + 1) if max(place, paths.num_links - place) <= longest
    ]
    products = [
        (_product(weights, to_user[:, :place][:, ::-1]) * _product(weights, to_item[:, place:])).mean(axis=1)
        for place in meetings
    ]
    return np.array(meetings), np.stack(products)


def _product(weights: FloatArray, way: IndexArray) -> FloatArray:
    """Return the product [C, H] of the weights of messages [C, k] in hops 1 to k; zero if an arc is missing."""
    product = np.ones((len(way), weights.shape[2]), weights.dtype)
    for hop, arcs in enumerate(way.T):
        product *= np.where(arcs[:, None] == NO_ARC, 0.0, weights[hop, arcs])
    return product


def gradient_of_arcs(
    model: Spike, states: SpikeStates, arcs: Arcs, weights: FloatArray, user: int, item: int
) -> FloatArray:
    """Return the contribution [E + X] of each arc to the score, to first order.

    This is the inner product of the weighted message with the gradient of the score at its dst node, summed over
    hops and heads. Weights are treated as constants.

    Parameters
    ----------
    model, states, arcs, weights
        Model in evaluation mode, its states on the whole graph, the graph, and the `message_weights`.
    user, item
        Rows of both ends in 0..U+N-1.
    """
    state, total = states.layers[0].detach(), states.final.detach()
    # Repeat the forward pass with gradients: start from h^0 minus the removed profiles, and add the layers again.
    total = total - sum(layer.detach() for layer in states.layers[1:])
    aggregated = []
    for _ in range(model.options.num_layers):
        aggregated.append(model.conv.aggregate(model.views.messages, state)[0])
        state = normalise(aggregated[-1])
        total = total + state
    score = pair_scores(model, total[[user]], total[[item]]).sum()
    return _sum_of_hops(model, states, arcs, weights, torch.autograd.grad(score, aggregated))


def _sum_of_hops(
    model: Spike, states: SpikeStates, arcs: Arcs, weights: FloatArray, gradients: tuple[torch.Tensor, ...]
) -> FloatArray:
    """Return the inner products [E + X] of weighted messages and the gradients [U + N, D] at dst, over all hops."""
    relations = model.conv.relation_embedding.detach().cpu().numpy()
    total = np.zeros(len(arcs), np.float32)
    for hop, gradient in enumerate(gradients):
        slope, state = gradient.cpu().numpy(), states.layers[hop].detach()
        chosen = np.flatnonzero((slope != 0).any(axis=1)[arcs.dst])
        src, to_user = arcs.src[chosen], arcs.is_pooling(chosen)
        message = state.cpu().numpy()[src] * relations[arcs.relation[chosen]]
        message[to_user] = model.conv.transformed(state).detach().cpu().numpy()[src[to_user]]
        message *= np.repeat(weights[hop, chosen], state.shape[1] // weights.shape[2], axis=1)
        total[chosen] += (slope[arcs.dst[chosen]] * message).sum(axis=1)
    return total
