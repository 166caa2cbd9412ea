"""Top-k lists, scores and similar items from a finished run, also for cold-start users and items."""

from spike_dgl.recommend.recommender import Item, NewItem, Recommender, ScoredItem

__all__ = ["Item", "NewItem", "Recommender", "ScoredItem"]
