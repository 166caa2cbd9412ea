"""SPiKE on DGL: recommendation with knowledge graphs and LLM-written profiles."""

__version__ = "0.1.0"
