"""Fidelity of explanations: how well rules that rank paths agree with score drops after removing the paths."""

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
"""Number of random paths of each pair that are removed, and among which each rule chooses."""
RULES = ("attention", "gradient", "removal")


@dataclass(frozen=True)
class FidelityOfRun:
    """Score drops of one run.

    Parameters
    ----------
    users
        Rows [n] of the users.
    drop
        Drop [n] by rule, when the path that the rule ranks first is removed; for "random", the mean over all paths.
    correlation
        Spearman's rank correlation [n] by rule, over the paths of a user, of the rule's value with the drop.
    """

    users: NDArray[np.int64]
    drop: dict[str, Values]
    correlation: dict[str, Values]


def measure(explainer: Explainer, num_users: int, *, seed: int = 0) -> FidelityOfRun:
    """Remove paths between random users and the items that the model ranks first for them.

    For each pair, `PATHS_OF_A_USER` random paths of the most frequent length are used; runs that rank the same item
    first use the same paths. Pairs with fewer than two paths are left out.

    Parameters
    ----------
    explainer
        Explainer of the run.
    num_users
        Number of random users.
    seed
        Random seed.
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
    values = {
        "attention": explainer.attention_of(paths),
        "gradient": explainer.gradient_of(user, item, paths),
        "removal": drops,
    }
    first = {rule: float(drops[value.argmax()]) for rule, value in values.items()}
    return first | {"random": float(drops.mean())}, {
        rule: spearman(value, drops) for rule, value in values.items()
    }


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Return the rank correlation; 0 if one of the two is constant."""
    ranks = rankdata(first), rankdata(second)
    if min(rank.std() for rank in ranks) == 0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def render(runs: Sequence[FidelityOfRun]) -> str:
    """Render a table over runs, and a conclusion about attention."""
    runs = [run for run in runs if len(run.users)]
    if not runs:
        return "No user has two paths to the item that the model ranks first."
    rows = [["path chosen by", "score drop", "against random", "p (paired t)", "rank correlation"]]
    p_values = {}
    for rule in RULES:
        # A user in several runs counts once, with the mean over the runs.
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
        "Mean over users ± standard deviation over runs. For the rule removal, the drop is the largest of all paths, "
        "and the correlation is 1 by definition."
    )
    return f"{markdown_table(rows)}\n\n{note}\n{_verdict(runs, p_values['attention'])}"


def _verdict(runs: Sequence[FidelityOfRun], p_value: float) -> str:
    difference = (_by_user(runs, "attention") - _by_user(runs, "random")).mean()
    if difference > 0 and p_value < 0.05:
        return "Attention is faithful: removing the path with most attention lowers the score more than a random path."
    return (
        "Attention is not faithful: removing the path with most attention does not lower the score more than a random "
        "path. Explanations rank paths by removal."
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
