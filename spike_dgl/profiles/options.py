"""Settings of profiles."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.profiles.encoders.options import OpenAIEncoderOptions, SentenceTransformersOptions
from spike_dgl.profiles.llm.options import LlmOptions
from spike_dgl.profiles.records import Kind


@dataclass(frozen=True, config=STRICT)
class ProfileOptions:
    """Where profiles come from, and how large they are.

    Parameters
    ----------
    source
        ``auto`` takes what the data set brings along, which is text vectors, else profile texts, then the texts of
        a language model in `store`, and templates for the nodes that have none; with `store` or `texts`, vectors of
        the data set are left aside. ``llm`` is ``auto`` without what the data set brings. ``template`` writes
        templates for all nodes, and ``none`` does without profiles: both leave `store` and `texts` aside too.
    store
        File of a language model's answers, which ``python main.py profile`` writes; None for no such texts. Used
        are the answers to the very prompts that `llm` and the training data lead to.
    texts
        Folder of profile texts that come before all others: ``item_profiles.json``, ``entity_profiles.json`` and
        ``user_profiles.json`` as in the data set's folder, one of them at least.
    llm
        What the language model is asked.
    encoder
        What turns texts into vectors: ``tfidf-svd`` is fitted on the texts themselves and needs nothing else,
        ``openai`` is a server that speaks OpenAI's protocol, ``sentence-transformers`` a model on this machine.
    vector_dim
        Dimension d_t of the vectors that ``tfidf-svd`` makes; a small data set gets fewer.
    openai, sentence_transformers
        Settings of those encoders.
    vector_cache
        File where their vectors are kept, so that no text is encoded twice.
    item_words, entity_words, user_words
        Most words of a template profile of an item, an auxiliary entity and a user; those of the paper.
    neighbours
        Most names a template lists of one relation.
    without
        Kinds of nodes whose profiles are left out: ``user``, ``item``, ``auxiliary`` (entities that are no items).
        Profiles that were written from theirs keep what they quote.
    permute
        Exchange the profiles among users, among items and among auxiliary entities: the same texts, at nodes that
        they say nothing about.
    seed
        Of the randomised matrix factorisation in ``tfidf-svd``, and of `permute`.
    """

    source: Literal["auto", "llm", "template", "none"] = "auto"
    store: str | None = Field(default=None, min_length=1)
    texts: str | None = Field(default=None, min_length=1)
    llm: LlmOptions = Field(default_factory=LlmOptions)
    encoder: Literal["tfidf-svd", "openai", "sentence-transformers"] = "tfidf-svd"
    vector_dim: int = Field(default=128, ge=1, le=65_536)
    openai: OpenAIEncoderOptions = Field(default_factory=OpenAIEncoderOptions)
    sentence_transformers: SentenceTransformersOptions = Field(default_factory=SentenceTransformersOptions)
    vector_cache: str = Field(default="runs/vectors.sqlite", min_length=1)
    item_words: int = Field(default=150, ge=1)
    entity_words: int = Field(default=150, ge=1)
    user_words: int = Field(default=100, ge=1)
    neighbours: int = Field(default=8, ge=1)
    without: tuple[Kind, ...] = ()
    permute: bool = False
    seed: int = Field(default=2020, ge=0, le=2**32 - 1)

    def __post_init__(self) -> None:
        if self.source == "none" and (self.without or self.permute):
            raise ValueError("without and permute change profiles, and source is none: there are none")
        if set(self.without) >= {"user", "item", "auxiliary"}:
            raise ValueError("without leaves no profile at all; set source to none instead")
