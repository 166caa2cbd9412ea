"""The choice of the popularity term's weight on the validation split, and its place in a run."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spike_dgl.api import train
from spike_dgl.config import merge
from spike_dgl.runs.config import RunConfig
from spike_dgl.runs.experiment import Experiment
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.popularity_weight import FILE, WEIGHTS, choose_popularity_weight
from spike_dgl.runs.set_up import reopen, start
from tests.runs.test_regimes import SMALL, write_data

NOISE = np.random.default_rng(0).normal(size=200)


def values(**gains: float) -> dict[float, np.ndarray]:
    """Return metrics of 200 users for each weight: 0.1 has the mean 0, others a gain with a deviation of 1."""
    noise = NOISE - NOISE.mean()
    return {
        weight: noise * (weight != 0.1) + gains.get(f"w{weight:g}".replace(".", "_"), -1.0)
        for weight in WEIGHTS
    }


def test_a_weight_must_be_better_by_two_standard_errors() -> None:
    error = float(NOISE.std()) / np.sqrt(200)
    assert choose_popularity_weight(values(w0_1=0.0, w1=1.9 * error), "ndcg@20").weight == 0.1
    assert choose_popularity_weight(values(w0_1=0.0, w1=2.1 * error), "ndcg@20").weight == 1.0
    assert choose_popularity_weight(values(w0_1=0.0, w0=2.1 * error, w1=2.5 * error), "ndcg@20").weight == 1.0
    assert choose_popularity_weight(values(w0_1=0.0, w0=2.1 * error), "ndcg@20").weight == 0.0


def test_equal_metrics_and_no_validation_split_are_no_evidence() -> None:
    assert choose_popularity_weight({weight: np.full(9, 0.2) for weight in WEIGHTS}, "ndcg@20").weight == 0.1
    choice = choose_popularity_weight({}, "ndcg@20")
    assert choice.record() == {"weight": 0.1, "metric": "ndcg@20", "valid": {}}


def hits(size: int = 60, users: int = 80, length: int = 16) -> list[list[int]]:
    """Most interactions are with a third of the items, whoever the user is."""
    draw, shares = random.Random(0), [5 if item < size // 3 else 1 for item in range(size)]
    walks = []
    for _ in range(users):
        walk = dict.fromkeys(draw.choices(range(size), shares, k=10 * length))
        walks.append(list(walk)[:length])
    return walks


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("hits") / "hits", hits())


def settings(data: Path, **sections: dict[str, Any]) -> RunConfig:
    return RunConfig.from_mapping(merge(SMALL, {"data": {"path": str(data)}}, sections))


def run(config: RunConfig, path: Path) -> Experiment:
    experiment = start(config, RunFolder.create(path))
    experiment.train(progress=False)
    return experiment


def test_where_a_model_knows_less_than_popularity_a_large_weight_is_chosen(
    data: Path, tmp_path: Path
) -> None:
    untrained = {"epochs": 1, "learning_rate": 1e-9}
    done = run(settings(data, training=untrained), tmp_path / "run")
    recorded = done.folder.read_json("result.json")["popularity_weight"]
    assert recorded == done.folder.read_json(FILE)
    assert recorded["weight"] >= 1.0
    assert max(recorded["valid"].values()) == recorded["valid"][f"{recorded['weight']:g}"]
    text = done.folder.file("RESULT.md").read_text(encoding="utf-8")
    assert (
        f"Weight of the popularity term: {recorded['weight']:g}, chosen on the validation split (ndcg@20 "
        in text
    )
    without = run(settings(data, training=untrained, model={"popularity_weight": 0.0}), tmp_path / "without")
    assert not without.folder.file(FILE).exists()
    # Validation during training has no term, so that it does not depend on what is chosen at the end.
    for one, other in zip(done.folder.metrics().read(), without.folder.metrics().read(), strict=True):
        assert one["valid/ndcg@20"] == other["valid/ndcg@20"]
    fixed = {"popularity_weight": recorded["weight"]}
    same = run(settings(data, training=untrained, model=fixed), tmp_path / "same")
    results = [each.folder.read_json("result.json")["test"] for each in (done, same, without)]
    assert results[0] == results[1]
    assert results[0]["ndcg@20"] > results[2]["ndcg@20"]


def test_a_resumed_run_chooses_again_and_equals_an_uninterrupted_one(data: Path, tmp_path: Path) -> None:
    short = run(settings(data, training={"epochs": 2, "patience": None}), tmp_path / "short")
    reopened = reopen(short.folder, ["training.epochs=4"])
    # The earlier choice is used until training goes on.
    assert (
        reopened.evaluate(reopened.best_scores(), "test").means
        == short.folder.read_json("result.json")["test"]
    )
    reopened.train(resume=True, progress=False)
    whole = run(settings(data, training={"epochs": 4, "patience": None}), tmp_path / "whole")
    for name in ("users", "items"):
        found = [each.folder.read_arrays("embeddings.npz")[name] for each in (short, whole)]
        np.testing.assert_array_equal(*found)
    assert short.folder.read_json(FILE) == whole.folder.read_json(FILE)
    losses = [[record["valid/ndcg@20"] for record in each.folder.metrics().read()] for each in (short, whole)]
    assert losses[0] == losses[1]


def test_a_run_without_a_choice_has_no_term(data: Path, tmp_path: Path) -> None:
    """Runs of earlier versions, and those that are not finished, have none."""
    done = run(settings(data, training={"epochs": 1}), tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "old")
    (tmp_path / "old" / FILE).unlink()
    assert reopen(RunFolder.open(tmp_path / "old")).model.popularity_term is None  # type: ignore[union-attr]
    assert reopen(done.folder).model.popularity_term is not None  # type: ignore[union-attr]


def test_other_models_choose_if_asked(data: Path, tmp_path: Path) -> None:
    def width(weight: Any, name: str) -> int:
        given = {"model.popularity_weight": weight} if weight is not None else {}
        done = train(
            data, model="bpr-mf", settings=given, out=tmp_path / name, epochs=1, threads=1, progress=False
        )
        return int(done.recommender.item_embeddings.shape[1])

    assert (width(None, "default"), width("auto", "auto")) == (64, 65)
