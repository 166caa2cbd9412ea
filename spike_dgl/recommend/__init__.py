"""Top-k lists, scores and similar items from a finished run, also for cold-start users and items."""

from spike_dgl.recommend.matched import EntityMatch, ItemMatch
from spike_dgl.recommend.recommender import Item, MatchedItem, NewItem, Recommender, ScoredItem, TextRanking

__all__ = [
    "EntityMatch",
    "Item",
    "ItemMatch",
    "MatchedItem",
    "NewItem",
    "Recommender",
    "ScoredItem",
    "TextRanking",
]
