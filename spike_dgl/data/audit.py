"""What may be wrong with a data set: leaks between its parts, nodes without data, odd relations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from spike_dgl.data.dataset import Dataset, Interactions
from spike_dgl.data.mentions import NamedItems, named_items
from spike_dgl.data.statistics import entities_with_triples, statistics
from spike_dgl.typing import BoolArray, IndexArray

__all__ = ["Finding", "audit", "held_out_names", "render", "statistics"]

Level: TypeAlias = Literal["pass", "warn", "fail"]

MOSTLY = 0.8
"""Share of a relation's triples that must stand reversed in another before the two count as inverses."""
MARKEDLY = 0.1
"""Of the rate at which profiles name training items: held-out items that reach it were known to the writer."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Parameters
    ----------
    check
        What was looked for.
    level
        "pass" if there is none of it, "fail" if results would be wrong, "warn" for what one should know.
    count
        How many there are.
    message
        What that means, and what to do; empty for a pass.
    """

    check: str
    level: Level
    count: int
    message: str = ""


def audit(dataset: Dataset) -> list[Finding]:
    """Look for what makes results wrong or misleading.

    Returns
    -------
    list of Finding
        One for each check, whether it found something or not. With ids out of range, the checks that could
        not be trusted then are left out.
    """
    findings = [_ids_out_of_range(dataset), *_left_out(dataset), *_altered(dataset)]
    if findings[0].level == "fail":
        return findings
    return [
        *findings,
        *_leaks(dataset),
        *held_out_names(dataset, dataset.profiles.users),
        *_cold(dataset),
        *_knowledge(dataset),
        *_inverse_relations(dataset),
    ]


def render(dataset: Dataset) -> str:
    """A report of `statistics` and `audit` to print."""
    lines = [f"{dataset.name}", ""]
    lines += [f"  {_label(key):28s}{_number(key, value):>12s}" for key, value in statistics(dataset).items()]
    lines += ["", "audit"]
    for finding in audit(dataset):
        lines.append(f"  {finding.level:6s}{finding.check:48s}{finding.count:>10,d}")
        if finding.message:
            lines.append(f"        {finding.message}")
    return "\n".join(lines)


def _finding(check: str, count: int | np.integer, level: Level, message: str) -> Finding:
    """A finding of that level if there is anything, else a pass."""
    return Finding(check, level, int(count), message) if count else Finding(check, "pass", 0)


def _ids_out_of_range(dataset: Dataset) -> Finding:
    columns = [
        (dataset.triples.heads, dataset.num_entities),
        (dataset.triples.relations, dataset.num_relations),
        (dataset.triples.tails, dataset.num_entities),
    ]
    for part in (dataset.train, dataset.valid, dataset.test):
        columns += [(part.users, dataset.num_users), (part.items, dataset.num_items)]
    count = sum(int(((column < 0) | (column >= size)).sum()) for column, size in columns)
    message = "They name rows that do not exist: correct them. The other checks were left out."
    return _finding("ids out of range", count, "fail", message)


def _left_out(dataset: Dataset) -> Iterator[Finding]:
    """What loading left out; pairs and triples are always reported."""
    dropped = dict(dataset.dropped)
    triples = dropped.pop("duplicate triples", 0)
    pairs = {what: count for what, count in dropped.items() if what.startswith("duplicate pairs")}
    where = ", ".join(f"{count:,} {what}" for what, count in pairs.items())
    yield _finding("duplicate pairs", sum(pairs.values()), "warn", f"Each was kept once: {where}.")
    yield _finding("duplicate triples", triples, "warn", "Each was kept once.")
    for what, count in dropped.items():
        if what not in pairs:
            yield _finding(what, count, "warn", "They were left out.")


def _altered(dataset: Dataset) -> Iterator[Finding]:
    """What settings changed on purpose; nothing where they changed nothing."""
    if dataset.altered:
        yield Finding("changed by settings", "warn", len(dataset.altered), f"{'; '.join(dataset.altered)}.")


def _leaks(dataset: Dataset) -> Iterator[Finding]:
    known = "A model has seen these answers before they are asked for: remove them from"
    checks = (
        ("test pairs in train", dataset.test, dataset.train, f"{known} one of the two parts."),
        ("validation pairs in train", dataset.valid, dataset.train, f"{known} one of the two parts."),
        ("test pairs in validation", dataset.test, dataset.valid, f"{known} the validation part."),
    )
    for check, first, second, message in checks:
        yield _finding(check, _overlap(first, second, dataset.num_items), "fail", message)


def _overlap(first: Interactions, second: Interactions, num_items: int) -> int:
    return len(np.intersect1d(first.keys(num_items), second.keys(num_items), assume_unique=True))


def held_out_names(dataset: Dataset, texts: Mapping[int, str]) -> Iterator[Finding]:
    """Items of the validation and test part that the text of their user names.

    "fail" where held-out items are named at least `MARKEDLY` as often as training items, chance put aside; "warn"
    where they are clearly named more often than chance has it.

    Parameters
    ----------
    dataset
        The data set.
    texts
        Profiles by user.
    """
    found = named_items(dataset, texts)
    for part, what in (("valid", "validation"), ("test", "test")):
        named = found[part]
        level: Level = "pass"
        if named.is_more_than_chance:
            level = "fail" if named.share >= MARKEDLY * found["train"].share else "warn"
        message = _about_names(dataset, named, found["train"], part, level) if level != "pass" else ""
        yield Finding(f"{what} items named in their users' profiles", level, len(named.named), message)


def _about_names(dataset: Dataset, named: NamedItems, train: NamedItems, part: str, level: Level) -> str:
    examples = [
        f"'{dataset.items.names[item]}' in that of user {dataset.users.ids[user]}"
        for user, item in zip(named.named.users[:3], named.named.items[:3], strict=True)
    ]
    advice = "A writer who knows what goes together may guess so many; see whether you believe that."
    if level == "fail":
        advice = (
            "Whoever wrote the texts had seen these answers: write them from training interactions only, "
            "or use profiles.source=template."
        )
    if level == "fail" and part == "valid":
        advice += (
            " Texts that are older than the split know a validation part that is carved from training; what is "
            "chosen on it leans on them, the test part does not."
        )
    return (
        f"{len(named.named) / named.pairs:.2%} of its pairs, {named.expected / named.pairs:.3%} expected by chance, "
        f"{len(train.named) / max(train.pairs, 1):.2%} in training: {', '.join(examples)}. {advice}"
    )


def _cold(dataset: Dataset) -> Iterator[Finding]:
    """Users and items that are asked for in validation or test, or not at all, but have no training pair."""
    held_out = dataset.valid.union(dataset.test)
    for kind, size, trained, asked in (
        ("users", dataset.num_users, dataset.train.users, held_out.users),
        ("items", dataset.num_items, dataset.train.items, held_out.items),
    ):
        in_train, in_held_out = _present(trained, size), _present(asked, size)
        cold, unused = in_held_out & ~in_train, ~in_held_out & ~in_train
        message = "Nothing but text and knowledge graph tells about them; look at their metrics apart."
        if kind == "users":
            message = "They have no history: only a profile can tell what they like."
        yield _finding(f"{kind} in validation or test only", cold.sum(), "warn", message)
        message = f"They are part of the graph{' and of every ranking' if kind == 'items' else ''}."
        yield _finding(f"{kind} without any interaction", unused.sum(), "warn", message)


def _present(rows: IndexArray, size: int) -> BoolArray:
    present = np.zeros(size, dtype=bool)
    present[rows] = True
    return present


def _knowledge(dataset: Dataset) -> Iterator[Finding]:
    joined, num_items = entities_with_triples(dataset), dataset.num_items
    yield _finding(
        "items without a triple",
        (~joined[:num_items]).sum(),
        "warn",
        "The knowledge graph says nothing about them: only interactions and text do.",
    )
    yield _finding(
        "auxiliary entities without a triple",
        (~joined[num_items:]).sum(),
        "warn",
        "They take part in nothing and can be removed.",
    )
    yield _finding(
        "self loops",
        (dataset.triples.heads == dataset.triples.tails).sum(),
        "warn",
        "A triple from an entity to itself states no fact; it only weighs in that entity's attention.",
    )


def _inverse_relations(dataset: Dataset) -> Iterator[Finding]:
    """Relations that stand in the data in both directions, although the graph adds every inverse itself."""
    first, second, shared = _reversed_pairs(dataset)
    triples = dataset.triples
    proper = triples.heads != triples.tails
    sizes = np.bincount(triples.relations[proper], minlength=dataset.num_relations)
    mostly = shared >= MOSTLY * np.minimum(sizes[first], sizes[second])
    names = dataset.relations.names
    found = list(zip(first[mostly].tolist(), second[mostly].tolist(), strict=True))
    pairs = [f"'{names[r]}' and '{names[s]}'" for r, s in found if r < s]
    symmetric = [f"'{names[r]}'" for r, s in found if r == s]
    advice = "the graph adds inverses itself, so each such fact counts twice"
    yield _finding(
        "inverse relations stored twice",
        len(pairs),
        "warn",
        f"Keep one relation of {', '.join(pairs)}: {advice}.",
    )
    yield _finding(
        "symmetric relations stored in both directions",
        len(symmetric),
        "warn",
        f"Keep one direction of {', '.join(symmetric)}: {advice}.",
    )


def _reversed_pairs(dataset: Dataset) -> tuple[IndexArray, IndexArray, IndexArray]:
    """Relations (r, s) with r <= s, and the number of pairs (h, t) with (h, r, t) and (t, s, h), h != t."""
    triples, size = dataset.triples, dataset.num_entities
    proper = triples.heads != triples.tails
    heads, relations, tails = (a[proper] for a in (triples.heads, triples.relations, triples.tails))
    forward, backward = heads * size + tails, tails * size + heads
    order = np.argsort(backward, kind="stable")
    start = np.searchsorted(backward[order], forward, side="left")
    count = np.searchsorted(backward[order], forward, side="right") - start
    # A join: triple i meets the `count[i]` triples at positions start[i], start[i] + 1, ... of the order.
    left = np.repeat(np.arange(len(forward)), count)
    within = np.arange(len(left)) - np.repeat(np.cumsum(count) - count, count)
    first, second = relations[left], relations[order[start[left] + within]]
    codes, shared = np.unique((first * dataset.num_relations + second)[first <= second], return_counts=True)
    return codes // dataset.num_relations, codes % dataset.num_relations, shared


def _label(key: str) -> str:
    return key.replace("_", " ").replace("kg", "knowledge")


def _number(key: str, value: int | float) -> str:
    if key.startswith("profile_coverage"):
        return f"{value:.1%}"
    return f"{value:,d}" if isinstance(value, int) else f"{value:.5f}"
