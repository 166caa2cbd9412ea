"""Quality of profiles, as far as it can be measured without a judge.

Measured are length, coverage and duplicates, texts that copy their prompt, users' texts that name held-out items, and
whether vectors are meaningful: linked nodes must be more similar than random pairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from spike_dgl.data.audit import held_out_names
from spike_dgl.data.dataset import Dataset
from spike_dgl.data.findings import Finding
from spike_dgl.data.training import TrainingData
from spike_dgl.markdown import markdown_table
from spike_dgl.profiles.llm.rejections import Candidate, rejection
from spike_dgl.profiles.llm.stages import PromptWriter
from spike_dgl.profiles.options import ProfileOptions
from spike_dgl.profiles.records import STAGES, NodeType, Profiles
from spike_dgl.profiles.words import has_blanks, num_words, tokens
from spike_dgl.typing import FloatArray, IndexArray

COPIED_RUN = 8
"""Number of consecutive words found in the prompt that count as copied. Names and phrases of facts are shorter."""
COPIED_SHARE = 0.5
"""Fraction of copied words from which a text counts as a copy of its prompt."""
MOST_PAIRS = 20_000
PERMUTATIONS = 20


@dataclass(frozen=True)
class TextQuality:
    """Measurements of the texts of one node type.

    Parameters
    ----------
    node_type
        ``item``, ``entity`` (auxiliary entities) or ``user``.
    nodes
        Number of nodes of the type.
    sources
        Number of nodes by source of their text; ``none`` for nodes without text.
    words
        10th, 50th and 90th percentile and maximum of the number of words; zeros if there are no texts.
    duplicates
        Number of nodes whose text occurs more than once.
    compared, copied
        Number of texts that were compared with their prompt, and of those that copy it.
    rejected
        Number of compared texts that would now be rejected as an answer, by reason; length is not checked.
    """

    node_type: NodeType
    nodes: int
    sources: Mapping[str, int]
    words: tuple[int, ...]
    duplicates: int
    compared: int
    copied: int
    rejected: Mapping[str, int] = field(default_factory=dict)

    @property
    def coverage(self) -> float:
        """Fraction of the nodes that have a text."""
        return 1 - self.sources.get("none", 0) / max(self.nodes, 1)


@dataclass(frozen=True)
class Separation:
    """Separation of linked pairs from random pairs by the similarity of their vectors.

    Parameters
    ----------
    pairs
        Description of the pairs.
    number
        Number of pairs compared.
    auc
        Area under the ROC curve of cosine similarity: the probability that a linked pair is more similar than a random
        pair; 0.5 for meaningless vectors. A random pair has the same first node and the second node of another pair.
    control
        Highest of `PERMUTATIONS` areas with the second nodes' vectors shuffled among the nodes, as a chance level.
    """

    pairs: str
    number: int
    auc: float
    control: float

    @property
    def is_meaningful(self) -> bool:
        """True if the vectors separate better than all shuffled ones."""
        return self.auc > self.control


@dataclass(frozen=True)
class Quality:
    """Results of `measure`: texts by node type, names of held-out items, and separations of vectors."""

    texts: tuple[TextQuality, ...]
    names: tuple[Finding, ...]
    separations: tuple[Separation, ...]


def measure(
    dataset: Dataset, profiles: Profiles, options: ProfileOptions, *, sample: int = 1000, seed: int = 0
) -> Quality:
    """Measure texts and vectors.

    Parameters
    ----------
    dataset
        Data set of the profiles. Test interactions are used to assess vectors and to find leaks.
    profiles
        Texts and vectors of all nodes.
    options
        Settings of the prompts. Ready-made texts are compared with the prompt that would be used.
    sample
        Maximum number of texts of each node type that are compared with their prompt.
    seed
        Random seed of that sample and of random pairs.
    """
    random = np.random.default_rng(seed)
    # Templates cannot leak: they contain only training items and what the knowledge graph links to them.
    sources = zip(profiles.user_texts, profiles.user_sources.tolist(), strict=True)
    users = {user: text for user, (text, source) in enumerate(sources) if text and source != "template"}
    prompts = PromptWriter(TrainingData.from_dataset(dataset), options.llm)
    texts = tuple(_text_quality(kind, dataset, profiles, prompts, sample, random) for kind in STAGES)
    return Quality(
        texts, tuple(held_out_names(dataset, users)), tuple(_separations(dataset, profiles, random))
    )


def texts_of(
    node_type: NodeType, profiles: Profiles, num_items: int
) -> tuple[int, Sequence[str], Sequence[str]]:
    """Return first row, texts and sources of the nodes of a type."""
    if node_type == "user":
        return 0, profiles.user_texts, profiles.user_sources.tolist()
    rows = slice(num_items) if node_type == "item" else slice(num_items, None)
    return rows.start or 0, profiles.entity_texts[rows], profiles.entity_sources[rows].tolist()


def _text_quality(
    node_type: NodeType,
    dataset: Dataset,
    profiles: Profiles,
    prompts: PromptWriter,
    sample: int,
    random: np.random.Generator,
) -> TextQuality:
    first, texts, sources = texts_of(node_type, profiles, dataset.num_items)
    present = [text for text in texts if text]
    words = np.array([num_words(text) for text in present] or [0])
    # Templates copy facts by design.
    asked = [row for row, source in enumerate(sources) if texts[row] and source != "template"]
    chosen = random.permutation(np.array(asked, np.int64))[:sample] + first
    items = profiles.entity_texts[: dataset.num_items]
    compared = list(prompts.requests(node_type, items, chosen.tolist()))
    return TextQuality(
        node_type=node_type,
        nodes=len(texts),
        sources=Counter(source if text else "none" for text, source in zip(texts, sources, strict=True)),
        words=(*np.percentile(words, (10, 50, 90)).astype(int).tolist(), int(words.max())),
        duplicates=sum(count for count in Counter(present).values() if count > 1),
        compared=len(compared),
        copied=sum(
            copied_share(texts[row - first], request.prompt) >= COPIED_SHARE for row, request in compared
        ),
        rejected=_rejected([(texts[row - first], request.prompt) for row, request in compared]),
    )


def _rejected(texts: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Count the texts that would be rejected as an answer to their prompt, by reason."""
    found = (rejection(Candidate(text, num_words(text), prompt)) for text, prompt in texts)
    return dict(Counter(reason for reason, _ in filter(None, found)))


def copied_share(text: str, prompt: str) -> float:
    """Return the fraction of a text's words in runs of at least `COPIED_RUN` words that its prompt also contains."""
    words, source = tokens(text.casefold()), tokens(prompt.casefold())
    length = COPIED_RUN if has_blanks(text) else round(COPIED_RUN * len(words) / max(num_words(text), 1))
    runs = set(_runs(source, length))
    copied = np.zeros(len(words), dtype=bool)
    for start, run in enumerate(_runs(words, length)):
        if run in runs:
            copied[start : start + length] = True
    return float(copied.mean()) if len(words) else 0.0


def _runs(words: Sequence[str], length: int) -> Iterator[tuple[str, ...]]:
    return (tuple(words[start : start + length]) for start in range(len(words) - length + 1))


def _separations(dataset: Dataset, profiles: Profiles, random: np.random.Generator) -> Iterator[Separation]:
    users, entities = profiles.user_vectors, profiles.entity_vectors
    if users is None or entities is None:
        return
    heads, tails = dataset.triples.heads, dataset.triples.tails
    proper = heads != tails
    yield from _separation(
        "entities joined by a triple", entities, heads[proper], entities, tails[proper], random
    )
    test = dataset.test
    yield from _separation("users and their test items", users, test.users, entities, test.items, random)


def _separation(
    pairs: str,
    left: FloatArray,
    left_rows: IndexArray,
    right: FloatArray,
    right_rows: IndexArray,
    random: np.random.Generator,
) -> Iterator[Separation]:
    """Yield the separation of one kind of pairs, nothing if fewer than two pairs have vectors."""
    encoded = np.flatnonzero(left[left_rows].any(axis=1) & right[right_rows].any(axis=1))
    chosen = np.sort(random.permutation(encoded)[:MOST_PAIRS])
    if len(chosen) < 2:
        return
    left_rows, right_rows = left_rows[chosen], right_rows[chosen]
    first, others = left[left_rows], random.permutation(right_rows)
    with_vector = np.flatnonzero(right.any(axis=1))
    controls = []
    for _ in range(PERMUTATIONS):
        shuffled = right.copy()
        shuffled[with_vector] = right[random.permutation(with_vector)]
        controls.append(_auc(first, shuffled[right_rows], shuffled[others]))
    yield Separation(pairs, len(chosen), _auc(first, right[right_rows], right[others]), max(controls))


def _auc(first: FloatArray, linked: FloatArray, others: FloatArray) -> float:
    from sklearn.metrics import roc_auc_score

    alike = [np.einsum("ij,ij->i", first, second) / _lengths(first, second) for second in (linked, others)]
    return float(roc_auc_score(np.repeat([1, 0], len(first)), np.concatenate(alike)))


def _lengths(first: FloatArray, second: FloatArray) -> FloatArray:
    lengths: FloatArray = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return lengths


def render(quality: Quality) -> str:
    """Return a report to print."""
    rows = [
        ["nodes", "number", "with text", "words 10%", "median", "90%", "most", "duplicates", "copied prompt"]
    ]
    for texts in quality.texts:
        copied = f"{texts.copied:,} of {texts.compared:,}" if texts.compared else "-"
        rows.append(
            [
                texts.node_type,
                f"{texts.nodes:,}",
                f"{texts.coverage:.1%}",
                *(f"{count:,}" for count in (*texts.words, texts.duplicates)),
                copied,
            ]
        )
    return "\n".join(
        [markdown_table(rows), "", *_sources(quality), "", *_names(quality), "", *_similarity(quality)]
    )


def _sources(quality: Quality) -> Iterator[str]:
    for texts in quality.texts:
        counts = ", ".join(f"{count:,} {source}" for source, count in sorted(texts.sources.items()))
        yield f"{texts.node_type}: {counts}"
        if texts.rejected:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(texts.rejected.items()))
            yield f"      of {texts.compared:,} compared, these would now be rejected as an answer: {reasons}"


def _names(quality: Quality) -> Iterator[str]:
    for finding in quality.names:
        yield f"{finding.level:6s}{finding.check}: {finding.count:,}"
        if finding.message:
            yield f"      {finding.message}"


def _similarity(quality: Quality) -> Iterator[str]:
    rows = [["similarity of", "pairs", "AUC", "best of shuffled", "meaningful"]]
    for found in quality.separations:
        verdict = "yes" if found.is_meaningful else "no"
        rows.append([found.pairs, f"{found.number:,}", f"{found.auc:.3f}", f"{found.control:.3f}", verdict])
    yield markdown_table(rows) if quality.separations else "no vectors to compare"
