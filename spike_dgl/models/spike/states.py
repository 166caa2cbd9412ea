"""The result of one propagation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class SpikeStates:
    """Result of one propagation over the whole graph, or over a sampled neighbourhood of fewer nodes.

    Parameters
    ----------
    final
        z, [U + N, D], users first: what scores.
    embedding
        e, [U + N, D], the ID embeddings of the same nodes.
    profile
        s, [U + N, D], the projected profiles the matching loss compares with; None without profiles.
    profiled
        Rows of the nodes that have a profile; None where all have. The others are not matched.
    attention
        One [E, H] tensor a layer, in the order of the propagated `MessageGraph.attended`.
    layers
        h^0 to h^L, each of the nodes that its hop gave: over the whole graph [U + N, D].
    """

    final: Tensor
    embedding: Tensor
    profile: Tensor | None
    profiled: Tensor | None
    attention: tuple[Tensor, ...]
    layers: tuple[Tensor, ...]

    @property
    def has_profiles(self) -> bool:
        """Whether any of the nodes has a profile."""
        return self.profile is not None and (self.profiled is None or len(self.profiled) > 0)
