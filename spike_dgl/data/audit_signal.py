"""Checks that the knowledge graph and the training split predict held-out items, and do so with the right numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from spike_dgl.data.dataset import Dataset, Interactions
from spike_dgl.data.findings import Finding, Level, skipped
from spike_dgl.data.signal import Signal, interaction_signal, knowledge_signal

MISTAKE_ERRORS = 10.0
"""Minimum signal, in standard errors, to conclude that another numbering is right.

High, since items with neighbouring numbers are often similar.
"""

MAX_RANDOM_RECALL = 0.5
"""Maximum recall of random lists: above it there are too few items to measure a difference."""


def signals(dataset: Dataset) -> Iterator[Finding]:
    """Check that held-out items can be ranked, without training, by the graph alone and by other users alone."""
    yield _found(
        dataset,
        "knowledge graph without signal",
        knowledge_signal(dataset),
        "The items' own facts rank no better than facts of random items: check links and relations.",
    )
    yield _found(
        dataset,
        "training split without signal",
        interaction_signal(dataset),
        "It does not predict the held-out interactions: check that both splits use the same user and item numbers.",
    )


def _found(dataset: Dataset, check: str, signal: Signal | None, advice: str) -> Finding:
    if signal is None or signal.random > MAX_RANDOM_RECALL:
        return skipped(check, "There are too few users or items to measure it.")
    measured = f"{str(signal).capitalize()}."
    mistake = signal.mistake or ("" if signal.is_there else _other_numbering(dataset, signal))
    if mistake:
        level: Level = "warn" if dataset.altered else "fail"
        advice = f"Recall is clearly higher when assuming that {mistake}: correct the numbers."
        return Finding(check, level, 1, f"{measured} {advice}")
    return (
        Finding(check, "pass", 0, measured)
        if signal.is_there
        else Finding(check, "warn", 1, f"{measured} {advice}")
    )


def _other_numbering(dataset: Dataset, signal: Signal) -> str:
    """Return the first numbering mistake whose correction gives a signal, or an empty text."""
    measure = knowledge_signal if signal.by == "the graph" else interaction_signal
    for mistake, other in _variants(dataset, signal.by).items():
        found = measure(other)
        if found is not None and found.exceeds(MISTAKE_ERRORS):
            return mistake
    return ""


def _variants(dataset: Dataset, by: str) -> Mapping[str, Dataset]:
    nodes = max(dataset.users, dataset.items, key=len)
    train, valid, test = (_swapped(part) for part in (dataset.train, dataset.valid, dataset.test))
    if by == "the graph":
        swapped = dataset.replace(train=train, valid=valid, test=test, users=nodes, items=nodes)
        return {"users and items are swapped in all splits": swapped}
    return {
        "users count from 1 in the test split and from 0 in training": _moved(dataset, -1),
        "users count from 1 in training and from 0 in the test split": _moved(dataset, 1),
        "users and items are swapped in the training split": dataset.replace(
            train=train, users=nodes, items=nodes
        ),
    }


def _swapped(part: Interactions) -> Interactions:
    return Interactions.from_pairs(part.items, part.users)


def _moved(dataset: Dataset, step: int) -> Dataset:
    """Return the data set with the user rows of held-out pairs shifted by `step`."""

    def moved(part: Interactions) -> Interactions:
        users = part.users + step
        inside = (users >= 0) & (users < dataset.num_users)
        return Interactions.from_pairs(users[inside], part.items[inside])

    return dataset.replace(valid=moved(dataset.valid), test=moved(dataset.test))
