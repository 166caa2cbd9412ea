"""Are the profiles any good? What can be measured without asking anybody.

Length, coverage and repetition; texts that copy their prompt; users' texts that name held-out items; and whether
the vectors carry meaning: nodes that belong together must be more alike than nodes drawn at random.
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
"""So many words in a row that stand in the prompt as well are copied; names and phrases of facts are shorter."""
COPIED_SHARE = 0.5
"""Of a text's words: from here on it repeats its prompt instead of saying something."""
MOST_PAIRS = 20_000
PERMUTATIONS = 20


@dataclass(frozen=True)
class TextQuality:
    """The texts of one node type.

    Parameters
    ----------
    node_type
        ``item``, ``entity`` (auxiliary ones) or ``user``.
    nodes
        All nodes of the type.
    sources
        Nodes by where their text comes from; ``none`` has none.
    words
        10th, 50th and 90th percentile and maximum of the words a text has; zeros where there is no text.
    duplicates
        Nodes whose text another node has too.
    compared, copied
        Texts that were compared with their prompt, and those that repeat it.
    rejected
        How many of the compared texts would be rejected as an answer now, by reason; length does not count.
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
        """Share of the nodes that have a text."""
        return 1 - self.sources.get("none", 0) / max(self.nodes, 1)


@dataclass(frozen=True)
class Separation:
    """How well the vectors tell pairs that belong together from random ones.

    Parameters
    ----------
    pairs
        What the pairs are.
    number
        How many were compared.
    auc
        Area under the ROC curve of cosine similarity: how often a pair is more alike than a random one, 0.5 for
        vectors without meaning. A random pair has the same first node, and another pair's second.
    control
        The highest of `PERMUTATIONS` areas with the second nodes' vectors shuffled among the nodes: what chance does.
    """

    pairs: str
    number: int
    auc: float
    control: float

    @property
    def is_meaningful(self) -> bool:
        """True where the vectors do better than any shuffled ones."""
        return self.auc > self.control


@dataclass(frozen=True)
class Quality:
    """What `measure` found, for texts by node type, names of held-out items, and vectors."""

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
        What the profiles are about. Test interactions are used to judge vectors and to look for leaks.
    profiles
        Texts and vectors of all nodes.
    options
        What texts are asked for by: given ones are compared with the prompt that would be used.
    sample
        Most texts of each node type that are compared with their prompt.
    seed
        Of that sample and of random pairs.
    """
    random = np.random.default_rng(seed)
    # A template names what the knowledge graph links to training items, and cannot know more.
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
    """First row, texts and sources of the nodes of a type."""
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
    # Templates are made of facts on purpose.
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
    """Texts, each with its prompt, that today's rules would not take for an answer, by reason."""
    found = (rejection(Candidate(text, num_words(text), prompt)) for text, prompt in texts)
    return dict(Counter(reason for reason, _ in filter(None, found)))


def copied_share(text: str, prompt: str) -> float:
    """Share of a text's words that stand in runs of `COPIED_RUN` or more which its prompt has as well."""
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
    """The separation of one kind of pairs; nothing where there are no two pairs with vectors."""
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
    """A report to print."""
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
            yield f"      of {texts.compared:,} compared, some would not pass as an answer now: {reasons}"


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
