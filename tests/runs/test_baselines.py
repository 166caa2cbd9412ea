"""Reference lines of a run: popularity and item-cosine on the same split."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from spike_dgl.api import Run, train
from spike_dgl.evaluation import EvaluationOptions, evaluate
from spike_dgl.runs import baselines as module
from spike_dgl.runs.averages import results_table
from spike_dgl.runs.baselines import Baselines, evaluate_baselines
from spike_dgl.runs.config import RunConfig, load_config
from spike_dgl.runs.report import render_baselines
from tests.toy import dataset

NOT_LEARNED = {"epochs": 1, "learning_rate": 1e-9, "threads": 1}


@pytest.fixture(scope="module")
def runs(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("baselines")
    return {
        model: train(
            data_folder,
            model=model,
            out=folder / model,
            progress=False,
            settings={"profiles.source": "none"},
            **NOT_LEARNED,
        )
        for model in ("bpr-mf", "popularity", "item-cosine")
    }


def test_they_are_what_runs_of_the_baselines_measure(runs: dict[str, Run]) -> None:
    measured = {name: run.metrics for name, run in runs.items()}
    assert runs["bpr-mf"].baselines == {name: measured[name] for name in module.BASELINES}
    assert runs["bpr-mf"].result["baseline_users"] == 30
    assert runs["popularity"].baselines == {"item-cosine": measured["item-cosine"]}
    assert runs["item-cosine"].baselines == {"popularity": measured["popularity"]}


def test_a_run_below_one_says_so_in_words(runs: dict[str, Run]) -> None:
    run = runs["bpr-mf"]
    own, other = (one.metrics["recall@20"] for one in (run, runs["item-cosine"]))
    sentence = run.below_baselines[-1]
    assert sentence.startswith(f"below item-cosine: recall@20 {own:.4f} against {other:.4f}, ndcg@20 0.")
    shown = run._repr_markdown_()
    assert f"**B{sentence[1:]}.** The last epoch was the best on validation: train longer" in shown
    assert "The lists of model.name=item-cosine are more accurate on this data." in shown
    assert f"| item-cosine |    {other:.4f} |" in shown
    assert runs["item-cosine"].below_baselines == []
    assert "Below" not in runs["item-cosine"]._repr_markdown_()


def test_python_prints_it_unless_told_to_be_quiet(
    runs: dict[str, Run], data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"profiles.source": "none"}
    for progress, expected in ((False, ""), (True, "\n".join(runs["bpr-mf"].below_baselines) + "\n")):
        out = tmp_path / str(progress)
        train(data_folder, model="bpr-mf", out=out, progress=progress, settings=settings, **NOT_LEARNED)
        assert capsys.readouterr().out == expected


def baselines(own: tuple[float, float], **others: tuple[float, float]) -> Baselines:
    def named(values: tuple[float, float]) -> dict[str, float]:
        return dict(zip(("recall@10", "ndcg@10"), values, strict=True))

    return Baselines(5, named(own), {name: named(values) for name, values in others.items()}, cutoff=10)


def test_below_is_what_is_lower_as_shown() -> None:
    found = baselines((0.2, 0.10001), popularity=(0.3, 0.10004), cosine=(0.2, 0.1), third=(0.1, 0.2))
    assert found.below() == [
        "below popularity: recall@10 0.2000 against 0.3000",
        "below third: ndcg@10 0.1000 against 0.2000",
    ]
    assert render_baselines(found, "mine", "Do this.").splitlines() == [
        "|            | recall@10 | ndcg@10 |",
        "| ---------- | --------: | ------: |",
        "| mine       |    0.2000 |  0.1000 |",
        "| popularity |    0.3000 |  0.1000 |",
        "| cosine     |    0.2000 |  0.1000 |",
        "| third      |    0.1000 |  0.2000 |",
        "",
        "**Below popularity: recall@10 0.2000 against 0.3000.** "
        "**Below third: ndcg@10 0.1000 against 0.2000.** Do this.",
    ]
    assert render_baselines(baselines((0.2, 0.2), popularity=(0.1, 0.1)), "mine", "").endswith(" 0.1000 |")


TIMED = dataset([(0, 0)], [], sizes=(1, 2, 2, 1))
TIMED = TIMED.replace(train=type(TIMED.train)(TIMED.train.users, TIMED.train.items, np.array([1.0])))
INSTEAD = "The lists of model.name=popularity are more accurate on this data."
STOPPED = {"epochs": 9, "reported_epoch": 3, "valid": {"ndcg@20": 0.1}}


@pytest.mark.parametrize(
    ("record", "settings", "advice"),
    [
        ({"epochs": 0, "reported_epoch": 0, "valid": {}}, {}, ""),
        ({**STOPPED, "reported_epoch": 9}, {}, "The last epoch was the best on validation: train longer"),
        ({**STOPPED, "reported_epoch": 9, "valid": {}}, {"training.recency": 1}, "Other settings may help"),
        (STOPPED, {}, "This data has times: training in the order of time may help"),
        (STOPPED, {"training.recency": 1}, "Other settings may help: python main.py tune"),
    ],
)
def test_the_remedy_fits_the_run(record: dict, settings: dict, advice: str) -> None:
    config: RunConfig = load_config(overrides=[f"{key}={value}" for key, value in settings.items()])
    remedy = baselines((0.1, 0.1), popularity=(0.2, 0.2)).remedy(config, record, TIMED)
    assert remedy.startswith(advice)
    assert remedy.endswith(INSTEAD)
    assert INSTEAD not in baselines((0.1, 0.1), popularity=(0.2, 0.1)).remedy(config, record, TIMED)
    assert baselines((0.2, 0.2), popularity=(0.2, 0.1)).remedy(config, record, TIMED) == ""


def test_a_run_below_popularity_is_told_of_the_term() -> None:
    def remedy(lost_to: str, **model: object) -> str:
        settings = [f"model.{key}={value}" for key, value in model.items()]
        found = baselines((0.1, 0.1), **{lost_to: (0.2, 0.2)})
        return found.remedy(load_config(overrides=settings), STOPPED, TIMED)

    named = "model.popularity_weight=auto adds it to the scores."
    assert named in remedy("popularity", name="lightgcn")
    assert named in remedy("popularity", popularity_weight=0.0)
    assert named not in remedy("popularity")  # SPiKE has it
    assert named not in remedy("popularity", name="ease")  # it has no such setting
    assert named not in remedy("item-cosine")


def test_where_all_users_cost_too_much_a_sample_is_compared_with_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Item 0 is the most popular; only users with an even row have it in test. The model recommends item 1."""
    train_pairs = [(user, item) for user in range(6) for item in ([2] if user < 5 else [0, 1, 2])]
    data = dataset(
        [*train_pairs, (4, 0)], [], sizes=(6, 4, 4, 1), test=[(user, user % 2) for user in range(4)]
    )
    options = EvaluationOptions((1,))
    evaluation = evaluate(lambda users: torch.eye(4)[1].expand(len(users), -1), data, "test", options)
    monkeypatch.setattr(module, "BUDGET", 2 * len(data.train))
    found, again = (
        evaluate_baselines(evaluation, data, "mine", options, torch.device("cpu")) for _ in range(2)
    )
    assert found == again
    assert found.users == 2
    chosen = module._sample(evaluation, data)
    assert found.own["recall@1"] == evaluation.per_user["recall@1"][chosen].mean()
    assert found.metrics["popularity"]["recall@1"] == 1 - found.own["recall@1"]
    assert found.record()["baseline_users"] == 2
    monkeypatch.setattr(module, "BUDGET", 1)
    assert evaluate_baselines(evaluation, data, "mine", options, torch.device("cpu")).users == 1


def test_a_run_of_an_earlier_version_has_none_and_is_opened_and_averaged(
    runs: dict[str, Run], tmp_path: Path
) -> None:
    shutil.copytree(runs["bpr-mf"].path, tmp_path / "run")
    file = tmp_path / "run" / "result.json"
    new = ("test_beyond_accuracy", "baselines", "baseline_users", "below_baselines")
    record = json.loads(file.read_text())
    file.write_text(json.dumps({key: value for key, value in record.items() if key not in new}))
    run = Run.open(tmp_path / "run")
    assert (run.baselines, run.below_baselines, run.beyond_accuracy) == ({}, [], {})
    assert run.metrics == runs["bpr-mf"].metrics
    assert "| bpr-mf |    2 |" in results_table([run.folder, runs["bpr-mf"].folder])
    assert set(runs["bpr-mf"].beyond_accuracy) == set(record["test_beyond_accuracy"])
