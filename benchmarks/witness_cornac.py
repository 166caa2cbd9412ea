"""Check EASE and the metrics against Cornac, in an environment of its own: witness_cornac.py --help.

This file needs Cornac and nothing of spike_dgl, so that both can have the versions of numpy that they want.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping
from pathlib import Path

from cornac.data import Reader
from cornac.eval_methods import BaseMethod
from cornac.metrics import NDCG, Recall
from cornac.models import EASE

METRICS = {"recall@20": Recall(k=20), "ndcg@20": NDCG(k=20)}
SPLITS = {"train": "train_data", "valid": "val_data", "test": "test_data"}


def main() -> None:
    """Train EASE on the exported split, and print Cornac's metrics beside those of the exported run."""
    options = _options()
    theirs = trained_there(options.folder, options.l2_weight)
    ours = exported_metrics(options.folder)
    print("| metric | spike_dgl | Cornac | users | users with another value |")
    print("|---|---|---|---|---|")
    for name, values in theirs.items():
        own = ours[name]
        others = sum(abs(own[user] - value) > 1e-6 for user, value in values.items())
        print(f"| {name} | {_mean(own):.4f} | {_mean(values):.4f} | {len(values)} | {others} |")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "folder", type=Path, help="of main.py export RUN --format cornac, RUN of model.name=ease"
    )
    parser.add_argument("--l2-weight", type=float, default=500.0, help="model.l2_weight of the run (500)")
    return parser.parse_args()


def trained_there(folder: Path, l2_weight: float) -> dict[str, dict[str, float]]:
    """Train and evaluate in Cornac; return the value of each metric and test user."""
    files = {split: next(folder.glob(f"*/{split}.uir"), None) for split in SPLITS}
    data = {
        SPLITS[split]: Reader().read(str(file), fmt="UIR", sep="\t")
        for split, file in files.items()
        if file is not None
    }
    method = BaseMethod.from_splits(**data, exclude_unknowns=False)
    # posB would set negative weights to zero, which the paper does not.
    model = EASE(lamb=l2_weight, posB=False, verbose=False)
    metrics = list(METRICS.values())
    result = method.evaluate(model=model, metrics=metrics, user_based=True)[0]
    raw = {row: user for user, row in method.global_uid_map.items()}
    return {
        name: {raw[row]: float(value) for row, value in result.metric_user_results[metric.name].items()}
        for name, metric in METRICS.items()
    }


def exported_metrics(folder: Path) -> dict[str, dict[str, float]]:
    """Return the value of each metric and test user in the exported run."""
    with next(folder.glob("*.users.tsv")).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {name: {row["user"]: float(row[name]) for row in rows} for name in METRICS}


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)


if __name__ == "__main__":
    main()
