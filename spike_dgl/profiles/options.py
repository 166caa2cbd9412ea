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
    """Sources, sizes and encoder of profiles.

    Parameters
    ----------
    source
        ``auto`` uses the data set's text vectors if it has them and neither `store` nor `texts` is set. Otherwise
        each node gets the data set's profile text, else the language model's text in `store`, else a template.
        ``llm`` ignores the data set's texts and vectors. ``template`` writes templates for all nodes. ``none`` uses
        no profiles. The last two also ignore `store` and `texts`.
    store
        SQLite file of a language model's answers, written by ``python main.py profile``; None for none. An answer is
        used only if its prompt is the one that `llm` and the training data produce now.
    texts
        Folder of profile texts that take precedence over all others. It contains at least one of
        ``item_profiles.json``, ``entity_profiles.json`` and ``user_profiles.json``, in the data set's format.
    llm
        Settings of the prompts, the language model and its server.
    encoder
        Text encoder: ``tfidf-svd`` is fitted on the profiles and needs no model, ``minilm`` is all-MiniLM-L6-v2 from
        the extra ``minilm``, ``sentence-transformers`` runs any such model on this machine, ``openai`` calls a server
        with an OpenAI-compatible API.
    encode_facts
        Encode a text that was ready-made or written by a language model together with the node's template profile,
        which lists its facts. The text that is shown stays the same.
    vector_dim
        Dimension d_t of the ``tfidf-svd`` vectors; lower for small data sets.
    openai, sentence_transformers
        Settings of the pretrained encoders.
    vector_cache
        File that caches the vectors of pretrained encoders, so that no text is encoded twice.
    vectors_on_disk
        Keep the text vectors in float16 in a file of the run folder, for tables larger than memory: a training step
        reads only the rows that it uses. For SPiKE with ``model.fanout``.
    item_words, entity_words, user_words
        Maximum number of words of a template profile of an item, an auxiliary entity and a user. Defaults are the
        paper's.
    neighbours
        Maximum number of names that a template lists per relation.
    without
        Kinds of nodes whose profiles are removed: ``user``, ``item``, ``auxiliary`` (entities that are not items).
        Other profiles that quote them stay unchanged.
    permute
        Permute the profiles among users, among items and among auxiliary entities, as a control: the texts stay, but
        no longer describe their nodes.
    seed
        Random seed of the matrix factorisation in ``tfidf-svd`` and of `permute`.
    """

    source: Literal["auto", "llm", "template", "none"] = "auto"
    store: str | None = Field(default=None, min_length=1)
    texts: str | None = Field(default=None, min_length=1)
    llm: LlmOptions = Field(default_factory=LlmOptions)
    encoder: Literal["tfidf-svd", "minilm", "sentence-transformers", "openai"] = "tfidf-svd"
    encode_facts: bool = True
    vector_dim: int = Field(default=128, ge=1, le=65_536)
    openai: OpenAIEncoderOptions = Field(default_factory=OpenAIEncoderOptions)
    sentence_transformers: SentenceTransformersOptions = Field(default_factory=SentenceTransformersOptions)
    vector_cache: str = Field(default="runs/vectors.sqlite", min_length=1)
    vectors_on_disk: bool = False
    item_words: int = Field(default=150, ge=1)
    entity_words: int = Field(default=150, ge=1)
    user_words: int = Field(default=100, ge=1)
    neighbours: int = Field(default=8, ge=1)
    without: tuple[Kind, ...] = ()
    permute: bool = False
    seed: int = Field(default=2020, ge=0, le=2**32 - 1)

    def __post_init__(self) -> None:
        if self.source == "none" and (self.without or self.permute):
            raise ValueError("without and permute change profiles, but source is none: there are no profiles")
        if set(self.without) >= {"user", "item", "auxiliary"}:
            raise ValueError("without removes all profiles; set source to none instead")
