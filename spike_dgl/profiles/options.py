"""Settings of profiles."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT


@dataclass(frozen=True, config=STRICT)
class ProfileOptions:
    """Where profiles come from, and how large they are.

    Parameters
    ----------
    source
        ``auto`` takes what the data set brings along: text vectors, else profile texts, with templates for the
        nodes that have none. ``template`` writes templates for all nodes, whatever the data set brings.
        ``none`` does without profiles.
    vector_dim
        Dimension d_t of the vectors that the built-in encoder makes; a small data set gets fewer.
    item_words, entity_words, user_words
        Most words of a template profile of an item, an auxiliary entity and a user; those of the paper.
    neighbours
        Most names a template lists of one relation.
    seed
        Of the encoder's randomised matrix factorisation.
    """

    source: Literal["auto", "template", "none"] = "auto"
    vector_dim: int = Field(default=128, ge=1)
    item_words: int = Field(default=150, ge=1)
    entity_words: int = Field(default=150, ge=1)
    user_words: int = Field(default=100, ge=1)
    neighbours: int = Field(default=8, ge=1)
    seed: int = Field(default=2020, ge=0)
