"""Findings about what graph and interactions tell of the held-out items, and whether another numbering tells more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from spike_dgl.data.dataset import Dataset, Interactions
from spike_dgl.data.findings import Finding, Level, skipped
from spike_dgl.data.signal import Signal, interaction_signal, knowledge_signal

OBVIOUSLY = 10.0
"""Standard errors of a signal that proves another numbering: numbers that are near each other are of similar items."""

BY_CHANCE = 0.5
"""Recall of random lists beyond which there are too few items for a difference to show."""


def signals(dataset: Dataset) -> Iterator[Finding]:
    """Recall without training, by the graph alone and by other users alone."""
    yield _found(
        dataset,
        "knowledge graph without signal",
        knowledge_signal(dataset),
        "Facts of wrong items do as well as those of the right ones: check links and relations.",
    )
    yield _found(
        dataset,
        "training split without signal",
        interaction_signal(dataset),
        "It tells nothing of the held-out interactions: are users and items numbered alike in both?",
    )


def _found(dataset: Dataset, check: str, signal: Signal | None, advice: str) -> Finding:
    if signal is None or signal.random > BY_CHANCE:
        return skipped(check, "Too few users or items to measure it.")
    measured = f"{str(signal).capitalize()}."
    mistake = signal.mistake or ("" if signal.is_there else _other_numbering(dataset, signal))
    if mistake:
        level: Level = "warn" if dataset.altered else "fail"
        return Finding(check, level, 1, f"{measured} It is clearly higher if {mistake}: correct the numbers.")
    return (
        Finding(check, "pass", 0, measured)
        if signal.is_there
        else Finding(check, "warn", 1, f"{measured} {advice}")
    )


def _other_numbering(dataset: Dataset, signal: Signal) -> str:
    """The first of some mistakes without which there is a signal."""
    measure = knowledge_signal if signal.by == "the graph" else interaction_signal
    for mistake, other in _variants(dataset, signal.by).items():
        found = measure(other)
        if found is not None and found.exceeds(OBVIOUSLY):
            return mistake
    return ""


def _variants(dataset: Dataset, by: str) -> Mapping[str, Dataset]:
    nodes = max(dataset.users, dataset.items, key=len)
    train, valid, test = (_swapped(part) for part in (dataset.train, dataset.valid, dataset.test))
    if by == "the graph":
        swapped = dataset.replace(train=train, valid=valid, test=test, users=nodes, items=nodes)
        return {"users and items have changed places in all splits": swapped}
    return {
        "users count from 1 in the test split and from 0 in training": _moved(dataset, -1),
        "users count from 1 in training and from 0 in the test split": _moved(dataset, 1),
        "users and items have changed places in the training split": dataset.replace(
            train=train, users=nodes, items=nodes
        ),
    }


def _swapped(part: Interactions) -> Interactions:
    return Interactions.from_pairs(part.items, part.users)


def _moved(dataset: Dataset, step: int) -> Dataset:
    """The data set with held-out items given to the user before, or after."""

    def moved(part: Interactions) -> Interactions:
        users = part.users + step
        inside = (users >= 0) & (users < dataset.num_users)
        return Interactions.from_pairs(users[inside], part.items[inside])

    return dataset.replace(valid=moved(dataset.valid), test=moved(dataset.test))
