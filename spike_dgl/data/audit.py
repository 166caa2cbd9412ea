"""Audit of a data set: leaks between splits, wrong row numbers, nodes without data, redundant relations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from spike_dgl.data.audit_nodes import coverage, nodes
from spike_dgl.data.audit_numbering import numbering
from spike_dgl.data.audit_relations import repeated_relations
from spike_dgl.data.audit_signal import signals
from spike_dgl.data.audit_times import order_in_time
from spike_dgl.data.dataset import Dataset, Interactions
from spike_dgl.data.findings import Finding, Level, finding, skipped
from spike_dgl.data.mentions import NamedItems, named_items
from spike_dgl.data.statistics import statistics
from spike_dgl.data.titles import difference

__all__ = ["audit", "held_out_names", "render", "statistics"]

LEAK_RATE = 0.1
"""Fail if profiles name held-out items at this share of the rate at which they name training items."""
MAX_WRONG_LINKS = 0.2
"""Fail if at least this share of the links is wrong: the whole link file is suspect then."""


def audit(dataset: Dataset, *, thorough: bool = True) -> list[Finding]:
    """Check a data set for mistakes that make results wrong or misleading.

    Parameters
    ----------
    dataset
        The data set.
    thorough
        Also run the checks that take seconds: item names in profiles, and the signal of interactions and graph.

    Returns
    -------
    list of Finding
        One finding per check, including passed ones. If ids are out of range, the checks that rely on them are not
        run.
    """
    findings = [_ids_out_of_range(dataset), *_left_out(dataset), *_altered(dataset)]
    if findings[0].level == "fail":
        return findings
    return [
        *findings,
        *numbering(dataset),
        *_leaks(dataset),
        *order_in_time(dataset),
        *(held_out_names(dataset, dataset.profiles.users) if thorough else ()),
        *nodes(dataset),
        *_mislinked(dataset),
        *repeated_relations(dataset),
        *(signals(dataset) if thorough else ()),
        *coverage(dataset),
    ]


def in_short(dataset: Dataset) -> list[str]:
    """Return one line per failed check, then one per warning; skips the checks that take seconds."""
    findings = audit(dataset, thorough=False)
    return [
        f"{found.level}: {found.check}: {found.count:,}"
        for level in ("fail", "warn")
        for found in findings
        if found.level == level
    ]


def render(dataset: Dataset) -> str:
    """Return `statistics` and `audit` as text to print."""
    lines = [f"{dataset.name}", ""]
    lines += [f"  {_label(key):28s}{_number(key, value):>12s}" for key, value in statistics(dataset).items()]
    lines += ["", "audit"]
    for found in audit(dataset):
        lines.append(f"  {found.level:6s}{found.check:60s}{found.count:>8,d}")
        if found.message:
            lines.append(f"        {found.message}")
    return "\n".join(lines)


def _ids_out_of_range(dataset: Dataset) -> Finding:
    columns = [
        (dataset.triples.heads, dataset.num_entities),
        (dataset.triples.relations, dataset.num_relations),
        (dataset.triples.tails, dataset.num_entities),
    ]
    for part in (dataset.train, dataset.valid, dataset.test):
        columns += [(part.users, dataset.num_users), (part.items, dataset.num_items)]
    count = sum(int(((column < 0) | (column >= size)).sum()) for column, size in columns)
    message = "These rows do not exist: correct the ids. The other checks were not run."
    return finding("ids out of range", count, "fail", message)


def _left_out(dataset: Dataset) -> Iterator[Finding]:
    """Yield findings on what loading left out; duplicate pairs and triples are always reported."""
    dropped = dict(dataset.dropped)
    triples = dropped.pop("duplicate triples", 0)
    pairs = {what: count for what, count in dropped.items() if what.startswith("duplicate pairs")}
    where = ", ".join(f"{count:,} {what}" for what, count in pairs.items())
    yield finding("duplicate pairs", sum(pairs.values()), "warn", f"One copy of each was kept: {where}.")
    yield finding("duplicate triples", triples, "warn", "One copy of each was kept.")
    for what, count in dropped.items():
        if what not in pairs:
            yield finding(what, count, "warn", "They were left out.")


def _altered(dataset: Dataset) -> Iterator[Finding]:
    """Yield a finding that lists the changes requested by settings, if there are any."""
    if dataset.altered:
        yield Finding("changed by settings", "warn", len(dataset.altered), f"{'; '.join(dataset.altered)}.")


def _leaks(dataset: Dataset) -> Iterator[Finding]:
    known = "A leak: the model sees these pairs before they are evaluated. Remove them from"
    checks = (
        ("test pairs in train", dataset.test, dataset.train, f"{known} one of the two splits."),
        ("validation pairs in train", dataset.valid, dataset.train, f"{known} one of the two splits."),
        ("test pairs in validation", dataset.test, dataset.valid, f"{known} the validation split."),
    )
    for check, first, second, message in checks:
        yield finding(check, _overlap(first, second, dataset.num_items), "fail", message)


def _overlap(first: Interactions, second: Interactions, num_items: int) -> int:
    return len(np.intersect1d(first.keys(num_items), second.keys(num_items), assume_unique=True))


def held_out_names(dataset: Dataset, texts: Mapping[int, str]) -> Iterator[Finding]:
    """Check whether users' profiles name items of their validation and test splits.

    The level is "fail" if held-out items are named at least `LEAK_RATE` times as often as training items (both rates
    corrected for chance), and "warn" if they are named clearly more often than expected by chance.

    Parameters
    ----------
    dataset
        The data set.
    texts
        Profile text by user row.
    """
    found = named_items(dataset, texts)
    for part, what in (("valid", "validation"), ("test", "test")):
        check, named = f"{what} items named in their users' profiles", found[part]
        if not named.pairs:
            yield skipped(check, f"No user with a {what} item has a profile in the data.")
            continue
        level: Level = "pass"
        if named.is_more_than_chance:
            level = "fail" if named.share >= LEAK_RATE * found["train"].share else "warn"
        message = _about_names(dataset, named, found["train"], part, level) if level != "pass" else ""
        yield Finding(check, level, len(named.named), message)


def _about_names(dataset: Dataset, named: NamedItems, train: NamedItems, part: str, level: Level) -> str:
    examples = [
        f"'{dataset.items.names[item]}' in the profile of user {dataset.users.ids[user]}"
        for user, item in zip(named.named.users[:3], named.named.items[:3], strict=True)
    ]
    advice = "Good guesses of the profile writer can explain this; check the examples."
    if level == "fail":
        advice = (
            "The profiles were probably written from held-out interactions: write them from training interactions "
            "only, or use profiles.source=template."
        )
    if level == "fail" and part == "valid":
        advice += (
            " Profiles written before a validation split was taken from the training split name its items too: "
            "validation metrics are then too high, test metrics are not affected."
        )
    return (
        f"{len(named.named) / named.pairs:.2%} of its pairs ({named.expected / named.pairs:.3%} expected by chance, "
        f"{len(train.named) / max(train.pairs, 1):.2%} in training), such as {', '.join(examples)}. {advice}"
    )


def _mislinked(dataset: Dataset) -> Iterator[Finding]:
    """Check for items linked to an entity whose name or year does not match their title."""
    linked, titles = dataset.linked_names, dataset.items.names
    if not linked:
        yield skipped(
            "items linked to something else", "The data does not have the names of linked entities."
        )
        return
    differences = {item: difference(titles[item], name) for item, name in linked.items()}
    for kind, check in (
        ("name", "items linked to an entity of another name"),
        ("year", "items linked to an entity of another year"),
    ):
        wrong = [item for item, found in differences.items() if found == kind]
        examples = ", ".join(f"'{titles[item]}' to '{linked[item]}'" for item in wrong[:5])
        message = (
            f"{len(wrong) / len(linked):.1%} of {len(linked):,} links, such as {examples}. Unless the two are names of "
            "the same thing, the items have the wrong facts: correct or remove the links."
        )
        level: Level = "fail" if len(wrong) >= MAX_WRONG_LINKS * len(linked) else "warn"
        yield finding(check, len(wrong), level, message)


def _label(key: str) -> str:
    return key.replace("_", " ").replace("kg", "knowledge")


def _number(key: str, value: int | float) -> str:
    if key.startswith("profile_coverage"):
        return f"{value:.1%}"
    return f"{value:,d}" if isinstance(value, int) else f"{value:.5f}"
