"""SPiKE: profiles of every node inside relation-aware attention over the knowledge graph."""

from spike_dgl.models.spike.model import Spike, SpikeStates
from spike_dgl.models.spike.options import SpikeOptions, SpikeQuirks

__all__ = ["Spike", "SpikeOptions", "SpikeQuirks", "SpikeStates"]
