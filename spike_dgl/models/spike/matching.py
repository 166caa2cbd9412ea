"""Pairwise profile matching: two nodes should be as similar in the embedding space as their profiles are."""

from __future__ import annotations

import torch
from torch import Tensor

from spike_dgl.models.spike.options import MatchingOptions
from spike_dgl.models.spike.states import SpikeStates
from spike_dgl.nn.losses import matching_loss


class ProfileMatching:
    """Matching loss over random samples of the nodes that have a profile; see `spike_dgl.nn.losses.matching_loss`.

    Parameters
    ----------
    options
        See `MatchingOptions`.
    """

    def __init__(self, options: MatchingOptions) -> None:
        self.options = options

    def __call__(self, states: SpikeStates) -> Tensor:
        """Return the unweighted loss over newly drawn samples."""
        return self.on(states, self._sample_profiled(states))

    def on(self, states: SpikeStates, nodes: Tensor | None) -> Tensor:
        """Return the unweighted loss over samples [S, k] of the rows of `states`; over all rows if None."""
        assert states.profile is not None
        target = states.final if self.options.matching_target == "final" else states.embedding
        return matching_loss(target, states.profile, nodes)

    def sample(self, num_nodes: int, device: torch.device) -> Tensor | None:
        """Draw S samples [S, k] of k rows in 0..num_nodes-1; None if all nodes are matched."""
        ratio = self.options.matching_sample_ratio
        if ratio == 1.0:
            return None
        size = min(num_nodes, max(2, int(ratio * num_nodes)))
        samples = range(self.options.matching_samples)
        return torch.stack([torch.randperm(num_nodes, device=device)[:size] for _ in samples])

    def _sample_profiled(self, states: SpikeStates) -> Tensor | None:
        device = states.final.device
        if states.profiled is None:
            return self.sample(len(states.final), device)
        nodes = self.sample(len(states.profiled), device)
        return states.profiled[None] if nodes is None else states.profiled[nodes]
