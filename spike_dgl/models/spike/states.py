"""The result of one SPiKE propagation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class SpikeStates:
    """Result of one propagation over all U + N nodes, or over the fewer nodes of a sampled neighbourhood.

    Parameters
    ----------
    final
        z [U + N, D], users first: the embeddings whose inner products are the scores.
    embedding
        e [U + N, D], the ID embeddings.
    profile
        s [U + N, D], the projected profiles, for the matching loss; None without profiles.
    profiled
        Rows of the nodes that have a profile; None if all have one. Other nodes are not matched.
    attention
        One [E, H] tensor per layer, in the order of `MessageGraph.attended`.
    layers
        h^0 to h^L, each [U + N, D]; with neighbour sampling, of the dst nodes of each hop.
    """

    final: Tensor
    embedding: Tensor
    profile: Tensor | None
    profiled: Tensor | None
    attention: tuple[Tensor, ...]
    layers: tuple[Tensor, ...]

    @property
    def has_profiles(self) -> bool:
        """True if any of the nodes has a profile."""
        return self.profile is not None and (self.profiled is None or len(self.profiled) > 0)
