"""Whether what ranks paths ranks those that matter: scores drop most where their links are taken out of the graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from spike_dgl.evaluation.significance import paired_test
from spike_dgl.explain.explainer import Explainer
from spike_dgl.explain.paths import Paths
from spike_dgl.markdown import markdown_table

Values = NDArray[np.float64]

PATHS_OF_A_USER = 60
"""Random paths of each user and item that are removed, and among which each rule chooses."""
RULES = ("attention", "gradient", "removal")


@dataclass(frozen=True)
class FidelityOfRun:
    """Score drops of one run.

    Parameters
    ----------
    users
        [n] rows of the users.
    drop
        By rule, and for "random": [n] drop by removing the path that the rule puts first; for "random" the mean over
        all paths.
    correlation
        By rule [n] Spearman's rank correlation, over the paths of a user, of what the rule says with the drop.
    """

    users: NDArray[np.int64]
    drop: dict[str, Values]
    correlation: dict[str, Values]


def measure(explainer: Explainer, num_users: int, *, seed: int = 0) -> FidelityOfRun:
    """Remove paths between users and the items that the model puts first for them.

    Of each pair the most frequent length of paths counts, and `PATHS_OF_A_USER` of them, at random; the same users and
    paths whatever the run, as far as they have the same items first. Users of whose item no two paths tell are left
    out.

    Parameters
    ----------
    explainer
        Of the run.
    num_users
        How many users, at random.
    seed
        Of all choices.
    """
    random = np.random.default_rng(seed)
    users, found = [], []
    for user in random.permutation(explainer.dataset.num_users)[:num_users].tolist():
        item = explainer.best_item(user)
        paths = max(explainer.paths(user, item), key=len, default=None)
        if paths is None or len(paths) < 2:
            continue
        chosen = random.permutation(len(paths))[:PATHS_OF_A_USER]
        users.append(user)
        found.append(_of_pair(explainer, user, item, paths.select(chosen)))
    drop, correlation = (
        {name: np.array([pair[part][name] for pair in found]) for name in (found[0][part] if found else ())}
        for part in (0, 1)
    )
    return FidelityOfRun(np.array(users, dtype=np.int64), drop, correlation)


def _of_pair(
    explainer: Explainer, user: int, item: int, paths: Paths
) -> tuple[dict[str, float], dict[str, float]]:
    drops = explainer.drops(user, item, paths)
    says = {
        "attention": explainer.attention_of(paths),
        "gradient": explainer.gradient_of(user, item, paths),
        "removal": drops,
    }
    first = {rule: float(drops[value.argmax()]) for rule, value in says.items()}
    return first | {"random": float(drops.mean())}, {
        rule: spearman(value, drops) for rule, value in says.items()
    }


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Rank correlation; 0 where one of the two is constant."""
    ranks = rankdata(first), rankdata(second)
    if min(rank.std() for rank in ranks) == 0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def render(runs: Sequence[FidelityOfRun]) -> str:
    """A table over runs, and what it says of attention."""
    runs = [run for run in runs if len(run.users)]
    if not runs:
        return "No user has two paths to the item that the model puts first."
    rows = [["path chosen by", "score drop", "against random", "p (paired t)", "rank correlation"]]
    p_values = {}
    for rule in RULES:
        # A user of several runs counts once, with the mean over them.
        ours, random = (_by_user(runs, name) for name in (rule, "random"))
        test = paired_test(ours, random)
        p_values[rule] = test.p_value
        rows.append(
            [
                rule,
                _spread([run.drop[rule].mean() for run in runs]),
                f"{test.difference:+.4f}",
                f"{test.p_value:.1g}",
                _spread([run.correlation[rule].mean() for run in runs]),
            ]
        )
    rows.append(["random", _spread([run.drop["random"].mean() for run in runs]), "", "", ""])
    note = (
        "Means over users, and ± their standard deviation over runs. Removal is measured by itself: its drop is the "
        "most that one of these paths reaches, and its correlation is 1 by definition."
    )
    return f"{markdown_table(rows)}\n\n{note}\n{_verdict(runs, p_values['attention'])}"


def _verdict(runs: Sequence[FidelityOfRun], p_value: float) -> str:
    difference = (_by_user(runs, "attention") - _by_user(runs, "random")).mean()
    if difference > 0 and p_value < 0.05:
        return "Paths with much attention matter more than random ones."
    return (
        "Attention is not faithful here: the path with most attention does not matter more than a random one. "
        "Explanations rank paths by their removal."
    )


def _by_user(runs: Sequence[FidelityOfRun], name: str) -> Values:
    users = np.concatenate([run.users for run in runs])
    drops = np.concatenate([run.drop[name] for run in runs])
    _, row = np.unique(users, return_inverse=True)
    means: Values = np.bincount(row, drops) / np.bincount(row)
    return means


def _spread(values: Sequence[float]) -> str:
    mean = f"{np.mean(values):.4f}"
    return f"{mean} ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else mean
