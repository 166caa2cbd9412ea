"""SPiKE: LLM-written node profiles in relation-aware attention over the knowledge graph."""

from spike_dgl.models.spike.model import Spike
from spike_dgl.models.spike.options import SpikeOptions, SpikeQuirks
from spike_dgl.models.spike.states import SpikeStates

__all__ = ["Spike", "SpikeOptions", "SpikeQuirks", "SpikeStates"]
