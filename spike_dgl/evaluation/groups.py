"""Metrics by users' activity, by items' popularity and length of text, and by the source of profiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from spike_dgl.data.dataset import Dataset, Interactions
from spike_dgl.evaluation.evaluate import Evaluation, hit_matrix
from spike_dgl.evaluation.metrics import ndcg, recall
from spike_dgl.markdown import markdown_table
from spike_dgl.profiles.records import ProfileSources, Sources
from spike_dgl.profiles.words import num_words
from spike_dgl.typing import BoolArray, IndexArray

SHOWN = ("recall", "ndcg")
BY_ACTIVITY = "By activity of users"


@dataclass(frozen=True)
class Group:
    """One row of a table: a group of users or items and its metrics.

    Parameters
    ----------
    label
        Name of the group, such as ``5-12 training items``.
    sizes
        Number of evaluated ``users`` that the means are taken over and, for a group of items, number of ``items``.
    means
        Recall and NDCG at the table's cutoff, keyed by names such as ``recall@20``; empty if there is no user.
    """

    label: str
    sizes: dict[str, int]
    means: dict[str, float]


@dataclass(frozen=True)
class GroupTable:
    """Groups with metrics at one cutoff, the least active or popular first."""

    title: str
    cutoff: int
    groups: tuple[Group, ...]


def by_user_activity(
    evaluation: Evaluation, dataset: Dataset, *, cutoff: int = 20, num_groups: int = 4
) -> GroupTable:
    """Return recall and NDCG of users grouped by their number of training items.

    Parameters
    ----------
    evaluation
        Evaluation on `dataset`; `cutoff` must be one of its cutoffs.
    dataset
        Data set whose training interactions are counted.
    cutoff
        Cutoff of the metrics.
    num_groups
        Target number of groups, of about equal numbers of users. Users with equal counts stay together, so there can
        be fewer groups.
    """
    counts = num_training_items(evaluation, dataset)
    names = [f"{metric}@{cutoff}" for metric in SHOWN]
    groups = []
    for members in _groups_of_users(counts, num_groups):
        means = {name: float(evaluation.per_user[name][members].mean()) for name in names}
        label = _range_label(counts[members], "training item")
        groups.append(Group(label, {"users": int(members.sum())}, means))
    return GroupTable(BY_ACTIVITY, cutoff, tuple(groups))


def num_training_items(evaluation: Evaluation, dataset: Dataset) -> IndexArray:
    """Number of training items of each evaluated user [n]."""
    return np.bincount(dataset.train.users, minlength=dataset.num_users)[evaluation.users]


def least_active(counts: IndexArray, *, num_groups: int = 4) -> BoolArray:
    """True [n] for users in the first group of `by_user_activity`; `counts` [n] from `num_training_items`."""
    return next(_groups_of_users(counts, num_groups))


def _groups_of_users(counts: IndexArray, num_groups: int) -> Iterator[BoolArray]:
    return _equal_groups(counts, np.ones(len(counts), np.int64), num_groups)


def by_item_popularity(
    evaluation: Evaluation, dataset: Dataset, *, cutoff: int = 20, num_groups: int = 4
) -> GroupTable:
    """Return recall and NDCG by popularity of the relevant items.

    Within a group, only its items are relevant, and the means are over users with a relevant item in it. Ranks are
    still those among all items.

    Parameters
    ----------
    evaluation
        Evaluation on `dataset`, with lists of at least `cutoff` items.
    dataset
        Data set whose training interactions are counted.
    cutoff
        Cutoff of the metrics.
    num_groups
        Target number of groups, with about equal shares of the training interactions: a few popular items weigh as
        much as many rare ones. Items with equal counts stay together, so there can be fewer groups. Items without
        training interactions are a separate group.
    """
    counts = np.bincount(dataset.train.items, minlength=dataset.num_items)
    groups = []
    if (counts == 0).any():
        groups.append(_item_group("cold: no training user", counts == 0, evaluation, cutoff))
    for members in _equal_groups(counts, counts, num_groups):
        label = _range_label(counts[members], "training user")
        groups.append(_item_group(label, members, evaluation, cutoff))
    return GroupTable("By popularity of items", cutoff, tuple(groups))


def by_text_length(
    evaluation: Evaluation, dataset: Dataset, *, cutoff: int = 20, num_groups: int = 4
) -> GroupTable:
    """Return recall and NDCG by the number of words that the data set has about the relevant items.

    Parameters
    ----------
    evaluation, cutoff
        See `by_item_popularity`, also for the means.
    dataset
        Data set whose profile texts are counted, or its descriptions of items without a profile text. A run without
        profiles has the same groups.
    num_groups
        Target number of groups, with about equal shares of the training interactions. Items without a text are a
        separate group.
    """
    words = np.array([num_words(_text_of(dataset, item)) for item in range(dataset.num_items)])
    groups = []
    if (words == 0).any():
        groups.append(_item_group("no text", words == 0, evaluation, cutoff))
    popularity = np.bincount(dataset.train.items, minlength=dataset.num_items)
    for members in _equal_groups(words, np.where(words > 0, popularity, 0), num_groups):
        groups.append(_item_group(_range_label(words[members], "word"), members, evaluation, cutoff))
    return GroupTable("By length of the item's text", cutoff, tuple(groups))


def _text_of(dataset: Dataset, item: int) -> str:
    return dataset.profiles.entities.get(item) or dataset.descriptions.entities.get(item, "")


def by_user_source(evaluation: Evaluation, sources: Sources, *, cutoff: int = 20) -> GroupTable:
    """Return recall and NDCG of users grouped by the source of their profile.

    Parameters
    ----------
    evaluation
        Evaluation that has `cutoff` as one of its cutoffs.
    sources
        Profile source of each user [U], such as ``template`` or ``llm:gpt-4o-mini``.
    cutoff
        Cutoff of the metrics.
    """
    names = [f"{metric}@{cutoff}" for metric in SHOWN]
    of_evaluated = sources[evaluation.users]
    groups = []
    for source in np.unique(of_evaluated):
        members = of_evaluated == source
        means = {name: float(evaluation.per_user[name][members].mean()) for name in names}
        groups.append(Group(str(source), {"users": int(members.sum())}, means))
    return GroupTable("By profile of the user", cutoff, tuple(groups))


def by_item_source(evaluation: Evaluation, sources: Sources, *, cutoff: int = 20) -> GroupTable:
    """Return recall and NDCG by the profile source of the relevant items; see `by_item_popularity` for the means.

    Parameters
    ----------
    evaluation
        Evaluation with lists of at least `cutoff` items.
    sources
        Profile source of each item [I].
    cutoff
        Cutoff of the metrics.
    """
    groups = [
        _item_group(str(source), sources == source, evaluation, cutoff) for source in np.unique(sources)
    ]
    return GroupTable("By profile of the item", cutoff, tuple(groups))


def _item_group(label: str, members: BoolArray, evaluation: Evaluation, cutoff: int) -> Group:
    relevant = evaluation.relevant.select(members[evaluation.relevant.items])
    users, num_relevant = np.unique(relevant.users, return_counts=True)
    means = _means(users, num_relevant, relevant, evaluation, cutoff, len(members)) if len(users) else {}
    return Group(label, {"items": int(members.sum()), "users": len(users)}, means)


def _means(
    users: IndexArray,
    num_relevant: IndexArray,
    relevant: Interactions,
    evaluation: Evaluation,
    cutoff: int,
    num_items: int,
) -> dict[str, float]:
    """Return mean recall and NDCG over `users`, counting only the pairs in `relevant`."""
    ranked = evaluation.ranked[np.searchsorted(evaluation.users, users)]
    hits = torch.from_numpy(hit_matrix(users, ranked, relevant, num_items))
    totals = torch.from_numpy(num_relevant)
    return {
        f"{metric.__name__}@{cutoff}": float(metric(hits, totals, cutoff).mean()) for metric in (recall, ndcg)
    }


def _equal_groups(counts: IndexArray, weights: IndexArray, num_groups: int) -> Iterator[BoolArray]:
    """Yield masks of groups of about equal weight, by ascending count.

    Rows with equal counts stay together. Rows with weight 0 are in no group.
    """
    levels, level_of_row = np.unique(counts, return_inverse=True)
    weight_of_level = np.bincount(level_of_row, weights=weights, minlength=len(levels))
    middle = np.cumsum(weight_of_level) - weight_of_level / 2
    group_of_level = np.floor(num_groups * middle / max(weight_of_level.sum(), 1)).astype(np.int64)
    group_of_row = np.where(weights > 0, group_of_level[level_of_row], -1)
    for group in np.unique(group_of_row[group_of_row >= 0]):
        yield group_of_row == group


def _range_label(counts: IndexArray, noun: str) -> str:
    low, high = int(counts.min()), int(counts.max())
    shown = f"{low}" if low == high else f"{low}-{high}"
    return f"{shown} {noun}" if high == 1 and low == high else f"{shown} {noun}s"


def render(table: GroupTable) -> str:
    """Return the table as aligned Markdown, readable in a terminal too."""
    names = [f"{metric}@{table.cutoff}" for metric in SHOWN]
    header = [table.title, *table.groups[0].sizes, *names]
    return markdown_table([header, *(_cells(group, names) for group in table.groups)])


def _cells(group: Group, names: Sequence[str]) -> list[str]:
    sizes = [f"{size:,}" for size in group.sizes.values()]
    return [group.label, *sizes, *(f"{group.means[name]:.4f}" if group.means else "-" for name in names)]


def by_source(evaluation: Evaluation, dataset: Dataset, sources: ProfileSources) -> list[GroupTable]:
    """Return the tables of users and items by profile source, leaving out tables with a single group."""
    cutoff = evaluation.shown_cutoff
    tables = (
        by_user_source(evaluation, sources.users, cutoff=cutoff),
        by_item_source(evaluation, sources.entities[: dataset.num_items], cutoff=cutoff),
    )
    return [table for table in tables if len(table.groups) > 1]


def by_count(evaluation: Evaluation, dataset: Dataset) -> list[GroupTable]:
    """Return the tables by activity, popularity and length of text, at the cutoff nearest to 20.

    The last is left out if no item has a text.
    """
    cutoff = evaluation.shown_cutoff
    tables = [of(evaluation, dataset, cutoff=cutoff) for of in (by_user_activity, by_item_popularity)]
    if dataset.profiles.entities or dataset.descriptions.entities:
        tables.append(by_text_length(evaluation, dataset, cutoff=cutoff))
    return tables


def render_groups(evaluation: Evaluation, dataset: Dataset, sources: ProfileSources) -> str:
    """Return all tables as Markdown, at the evaluation's cutoff nearest to 20."""
    tables = (*by_count(evaluation, dataset), *by_source(evaluation, dataset, sources))
    return "\n\n".join(map(render, tables))
