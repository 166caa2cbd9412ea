"""How strong paths are by what the model itself computes: its attention, and the gradient of the score."""

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
    """[L, E + X, H] weight of every message: attention, and for users the share of each item in their mean."""
    attention = torch.stack(states.attention).cpu().numpy()
    shares = 1.0 / arcs.count[arcs.dst[arcs.num_attended :]].astype(attention.dtype)
    num_layers, _, num_heads = attention.shape
    pooled = np.broadcast_to(shares[None, :, None], (num_layers, len(shares), num_heads))
    weights: FloatArray = np.concatenate([attention, pooled], axis=1)
    return weights


def attention_of_paths(paths: Paths, arcs: Arcs, weights: FloatArray) -> tuple[IndexArray, FloatArray]:
    """Products of the weights along paths, from each node where messages to both ends can start.

    Parameters
    ----------
    paths, arcs
        C paths, and the graph.
    weights
        [L, E + X, H] of `message_weights`.

    Returns
    -------
    meeting : IndexArray
        [m] positions of these nodes on a path.
    attention : FloatArray
        [m, C] the products, averaged over heads.
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
    """[C, H] product of the weights of messages [C, k] in the hops 1 to k; zero where one cannot be sent."""
    product = np.ones((len(way), weights.shape[2]), weights.dtype)
    for hop, arcs in enumerate(way.T):
        product *= np.where(arcs[:, None] == NO_ARC, 0.0, weights[hop, arcs])
    return product


def gradient_of_arcs(
    model: Spike, states: SpikeStates, arcs: Arcs, weights: FloatArray, user: int, item: int
) -> FloatArray:
    """[E + X] how much each arc adds to the score, to first order.

    A node aggregates a sum of weighted messages; this is the product of each with the gradient of the score,
    summed over hops and heads. The weights of other messages count as given.

    Parameters
    ----------
    model, states, arcs, weights
        In evaluation mode, its whole pass, the graph, and its `message_weights`.
    user, item
        Rows of both ends in 0..U+N-1.
    """
    state, total = states.layers[0].detach(), states.final.detach()
    # The pass again, with gradients; layers other than the first come back on top of what is not computed from them.
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
    """[E + X] inner products of weighted messages and the gradients [U + N, D] at their receivers, over all hops."""
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
