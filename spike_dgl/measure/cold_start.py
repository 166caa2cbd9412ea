"""Evaluation of cold start: recommendations for users and items not in the training data, by several methods."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np
import torch

from spike_dgl.config import build
from spike_dgl.data.dataset import Dataset
from spike_dgl.data.options import DataOptions, load
from spike_dgl.data.training import TrainingData
from spike_dgl.errors import ConfigError
from spike_dgl.evaluation.evaluate import Split
from spike_dgl.evaluation.metrics import ndcg, recall
from spike_dgl.markdown import markdown_table
from spike_dgl.profiles.options import ProfileOptions
from spike_dgl.profiles.templates import TemplateWriter
from spike_dgl.recommend.recommender import NewItem, Recommender
from spike_dgl.runs.averages import mean_and_deviation, render_spread
from spike_dgl.runs.folder import RunFolder
from spike_dgl.typing import BoolArray, FloatArray, IndexArray

CUTOFF = 20
LIKED = (1, 5, None)
"""Numbers of liked items of a new user; None for all of the training interactions."""


@dataclass(frozen=True)
class ColdResult:
    """Mean recall@20 and NDCG@20 of one method for cold users or items, over `users` users of one run."""

    nodes: str
    by: str
    users: int
    recall: float
    ndcg: float


def cold_results(folder: RunFolder, split: Split = "test") -> list[ColdResult]:
    """Evaluate a run on the users and items that `data.hidden_users` and `data.hidden_items` hid from it.

    A hidden user is given by some items of their training interactions, or by a template profile written from all of
    them; the items in `split` are relevant, and all other items of the user are excluded. A hidden item is added by
    its triples and template profile, or by the profile only; it is relevant for the users of the run who interacted
    with it in the test split, or for ``valid`` in the other two. What the hidden items cost the other ones is measured
    as in the evaluation of a run: users' known items in `split` are relevant, with and without the hidden items among
    the candidates. ("Known and new items": the hidden ones in `split` are relevant, too.)

    Raises
    ------
    ConfigError
        If the run has no hidden users or items.
    """
    settings = folder.settings()
    options = build(DataOptions, settings.get("data"), "data")
    if not options.hidden_users and not options.hidden_items:
        raise ConfigError(
            f"{folder.path} has no hidden users or items\n"
            "  Train with, for example, data.hidden_users=0.2 data.hidden_items=0.1."
        )
    whole = load(dataclasses.replace(options, hidden_users=0.0, hidden_items=0.0))
    profiles = build(ProfileOptions, settings.get("profiles"), "profiles")
    contest = _Contest(
        Recommender.load(folder.path), whole, TemplateWriter(TrainingData.from_dataset(whole), profiles)
    )
    results = list(contest.of_users(split)) if options.hidden_users else []
    return results + (list(contest.of_items(split)) if options.hidden_items else [])


class _Contest:
    def __init__(self, recommender: Recommender, whole: Dataset, templates: TemplateWriter) -> None:
        self.recommender, self.whole, known = recommender, whole, recommender.dataset
        self.item_texts = templates.items()
        self.user_texts = templates.users(self.item_texts)
        # Both datasets number common items in the same order.
        self.items = np.array([row for row, raw in enumerate(whole.items.ids) if raw in known.items])
        self.hidden_items = np.setdiff1d(np.arange(whole.num_items), self.items)
        self.popularity = np.bincount(known.train.items, minlength=known.num_items).astype(np.float32)

    def of_users(self, split: Split) -> Iterator[ColdResult]:
        """Evaluate new users, given by 1, 5 and all of their training items, and by text."""
        whole, known, cold_start = self.whole, self.recommender.dataset, self.recommender.cold_start
        new_row = np.full(whole.num_items, -1)
        new_row[self.items] = np.arange(len(self.items))
        relevant_pairs = whole.valid if split == "valid" else whole.test
        others = whole.test if split == "valid" else whole.valid
        texts = cold_start.encoder().encode([self.item_texts[row] for row in self.items])
        scores: dict[str, list[tuple[float, float]]] = {}
        for user in range(whole.num_users):
            if whole.users.ids[user] in known.users:
                continue
            liked, wanted, also = (
                rows[rows >= 0]
                for rows in (new_row[p.items[p.users == user]] for p in (whole.train, relevant_pairs, others))
            )
            if not len(liked) or not len(wanted):
                continue
            allowed = np.ones(len(self.items), bool)
            allowed[liked] = allowed[also] = False
            relevant = np.zeros(len(allowed), bool)
            relevant[wanted] = True
            for way, of_items in self._of_user(user, liked, texts).items():
                scores.setdefault(way, []).append(_metrics(of_items, relevant, allowed))
        yield from _means("users", scores)

    def _of_user(self, user: int, liked: IndexArray, texts: FloatArray) -> dict[str, FloatArray]:
        cold_start, embeddings = self.recommender.cold_start, self.recommender.item_embeddings
        shuffled = np.random.default_rng(user).permutation(liked)
        found = {"popularity": self.popularity}
        for number in LIKED:
            some, label = shuffled[:number], f"{number or 'all'} liked"
            found[f"items, {label}"] = embeddings @ cold_start.user_of_items(np.sort(some))
            found[f"profile cosine, {label}"] = texts @ texts[some].mean(axis=0)
        text = self.user_texts[user]
        found["text"] = cold_start.scores_of_text(cold_start.read(text), embeddings)
        found["profile cosine, text"] = texts @ cold_start.encoded([text])[0]
        return found

    def of_items(self, split: Split) -> Iterator[ColdResult]:
        """Evaluate new items, ranked among new items only and among all items."""
        whole, known = self.whole, self.recommender.dataset
        new_items = [self._new_item(row) for row in self.hidden_items.tolist()]
        grown = self.recommender.add_items(new_items)
        by_text = self.recommender.add_items(
            [dataclasses.replace(item, triples=()) if item.text else item for item in new_items]
        )
        texts = grown.cold_start.encoder().encode(
            [self.item_texts[row] for row in [*self.items.tolist(), *self.hidden_items.tolist()]]
        )
        new_row = np.argsort(np.concatenate([self.items, self.hidden_items]))
        earlier = whole.train.union(whole.valid)
        wanted = earlier if split == "valid" else whole.test
        pairs = earlier.union(whole.test)
        is_new = np.arange(len(grown.items)) >= known.num_items
        popularity = np.concatenate([self.popularity, np.zeros(len(self.hidden_items), np.float32)])
        seen = known.train if split == "valid" else known.train.union(known.valid)

        def by_profile(user: int) -> FloatArray:
            cosines: FloatArray = texts @ texts[seen.items[seen.users == user]].mean(axis=0)
            return cosines

        among_new: dict[str, list[tuple[float, float]]] = {}
        among_all: dict[str, list[tuple[float, float]]] = {}
        for user, raw in enumerate(known.users.ids):
            row = whole.users.index(raw)
            seen_by_user, right = (new_row[part.items[part.users == row]] for part in (pairs, wanted))
            relevant = np.zeros(len(grown.items), bool)
            relevant[right[is_new[right]]] = True
            allowed = np.ones(len(relevant), bool)
            allowed[seen_by_user] = False
            allowed |= relevant
            if not relevant.any() or not (seen.users == user).any():
                continue
            ways = {
                "popularity": popularity,
                "add_item": grown.scores_of(user),
                "add_item, text alone": by_text.scores_of(user),
                "profile cosine": by_profile(user),
            }
            for way, scores in ways.items():
                among_new.setdefault(way, []).append(_metrics(scores, relevant, allowed & is_new))
                among_all.setdefault(way, []).append(_metrics(scores, relevant, allowed))
        yield from _means("items, among new ones", among_new)
        yield from _means("items, among all", among_all)
        yield from self._of_known_items(
            split, new_row, {"add_item": grown.scores_of, "profile cosine": by_profile}
        )

    def _of_known_items(
        self, split: Split, new_row: IndexArray, scores_of: Mapping[str, Callable[[int], FloatArray]]
    ) -> Iterator[ColdResult]:
        """Evaluate users by items of the run, and by all items, before and after the new items were added."""
        whole, known = self.whole, self.recommender.dataset
        wanted, seen = (
            (whole.valid, whole.train) if split == "valid" else (whole.test, whole.train.union(whole.valid))
        )
        is_new = np.arange(whole.num_items) >= known.num_items
        kinds = {"known items": ~is_new, "known and new items": np.ones_like(is_new)}
        scores: dict[str, dict[str, list[tuple[float, float]]]] = {kind: {} for kind in kinds}
        for user in np.unique(known.train.users).tolist():
            row = whole.users.index(known.users.ids[user])
            relevant, allowed = np.zeros_like(is_new), np.ones_like(is_new)
            relevant[new_row[wanted.items[wanted.users == row]]] = True
            allowed[new_row[seen.items[seen.users == row]]] = False
            relevant &= allowed
            for way, of_user in scores_of.items():
                of_items = of_user(user)
                for (kind, counted), (when, listed) in itertools.product(
                    kinds.items(), {f"{way}, before": ~is_new, f"{way}, after": np.ones_like(is_new)}.items()
                ):
                    if (relevant & counted).any():
                        metrics = _metrics(of_items, relevant & counted, allowed & listed)
                        scores[kind].setdefault(when, []).append(metrics)
        for kind, of_kind in scores.items():
            yield from _means(kind, of_kind)

    def _new_item(self, row: int) -> NewItem:
        whole, triples, known = self.whole, self.whole.triples, self.recommender.dataset.entities
        facts = [
            (whole.relations.ids[relation], whole.entities.ids[tail])
            for relation, tail in zip(
                triples.relations[triples.heads == row].tolist(),
                triples.tails[triples.heads == row].tolist(),
                strict=True,
            )
        ]
        triples_to_known = tuple(fact for fact in facts if fact[1] in known)
        text = self.item_texts[row]
        is_known = self.recommender.cold_start.encoder().encode([text]).any()
        return NewItem(whole.items.ids[row], triples_to_known, text if is_known else "")


def _metrics(scores: FloatArray, relevant: BoolArray, allowed: BoolArray) -> tuple[float, float]:
    rows = np.flatnonzero(allowed)
    best = rows[np.argsort(-scores[rows], kind="stable")[:CUTOFF]]
    hits, number = torch.zeros(1, CUTOFF, dtype=torch.bool), torch.tensor([relevant.sum()])
    hits[0, : len(best)] = torch.from_numpy(relevant[best])
    return float(recall(hits, number, CUTOFF)), float(ndcg(hits, number, CUTOFF))


def _means(nodes: str, scores: dict[str, list[tuple[float, float]]]) -> Iterator[ColdResult]:
    for way, of_users in scores.items():
        yield ColdResult(nodes, way, len(of_users), *np.mean(of_users, axis=0).tolist())


def render_cold(runs: Sequence[Sequence[ColdResult]]) -> str:
    """Render a table of means over runs, with standard deviations if there are several."""
    rows = [["cold nodes", "by", "users", f"recall@{CUTOFF}", f"ndcg@{CUTOFF}"]]
    for results in zip(*runs, strict=True):
        first = results[0]
        sizes = round(mean(result.users for result in results))
        metrics = (
            render_spread(*mean_and_deviation([getattr(result, name) for result in results]))
            for name in ("recall", "ndcg")
        )
        rows.append([first.nodes, first.by, f"{sizes:,}", *metrics])
    return markdown_table(rows)
