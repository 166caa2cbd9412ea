"""Training regimes: presets of settings, and the choice between them by short runs on the inner split."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import spike_dgl
from spike_dgl.cli import train
from spike_dgl.config import flat, merge
from spike_dgl.data.options import load
from spike_dgl.errors import ConfigError, DataError, SpikeError
from spike_dgl.runs import choice
from spike_dgl.runs.baselines import Baselines
from spike_dgl.runs.choice import Trial, settle
from spike_dgl.runs.config import RunConfig
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.regimes import REGIMES, in_regime
from spike_dgl.runs.set_up import start
from spike_dgl.training.interrupt import Interrupted
from tests.command_line import run_command

SMALL: dict[str, Any] = {
    "profiles": {"source": "none"},
    "model": {"embedding_dim": 8, "num_layers": 1, "num_heads": 1, "similar_items": 0},
    "training": {"threads": 1, "epochs": 8, "learning_rate": 0.05, "batch_size": 64},
}
Walks = Sequence[Sequence[int]]


def ring(size: int = 30, users: int = 60, length: int = 16) -> Walks:
    """Walks around a ring: an item has neighbours on both sides, and only the order tells which one is next."""
    return [[(user * 7 + step) % size for step in range(length)] for user in range(users)]


def tastes(genres: int = 4, size: int = 20, users: int = 120, length: int = 26) -> Walks:
    """Half of the items at random, half of a user's genre, in an order without meaning: long histories tell more."""
    draw, walks = random.Random(0), []
    for user in range(users):
        own, others = draw.sample(range(size), size), draw.sample(range(genres * size), genres * size)
        walk: list[int] = []
        while len(walk) < length:
            item = own.pop() + size * (user % genres) if own and draw.random() < 0.5 else others.pop()
            walk += [] if item in walk else [item]
        walks.append(walk)
    return walks


def write_data(folder: Path, walks: Walks, *, times: bool = True, backwards: bool = False) -> Path:
    """Write walks as a data set: the last four items of each are two of validation and two of test."""
    folder.mkdir()
    for name, part in (("train", slice(0, -4)), ("valid", slice(-4, -2)), ("test", slice(-2, None))):
        steps = [list(enumerate(walk, start=1))[part] for walk in walks]
        _write_rows(folder / f"{name}.txt", [[item for _, item in each] for each in steps])
        if times:
            stamps = [[1000 - time if backwards else time for time, _ in each] for each in steps]
            _write_rows(folder / f"{name}_times.txt", stamps)
    items = sorted({item for walk in walks for item in walk})
    (folder / "kg_final.txt").write_text("".join(f"{item} 0 {len(items)}\n" for item in items))
    return folder


def _write_rows(file: Path, rows: list[list[int]]) -> None:
    file.write_text("".join(" ".join(map(str, [user, *row])) + "\n" for user, row in enumerate(rows)))


@pytest.fixture(scope="module")
def walks_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("regimes") / "ring", ring())


def settings(folder: Path, **sections: dict[str, Any]) -> dict[str, Any]:
    return merge(SMALL, {"data": {"path": str(folder)}}, sections)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """Replace the short runs with made-up ones, in which the order of time wins; return their settings."""
    seen: list[RunConfig] = []

    def run(config: RunConfig, seconds: float, *, compare: bool) -> tuple[Trial, Baselines | None]:
        seen.append(config)
        value = 0.5 if config.model.newest_interactions else 0.4
        means = {"ndcg@20": value, "recall@20": value}
        others = Baselines(1, means, {"popularity": {"ndcg@20": 0.6, "recall@20": 0.1}}, 20)
        return Trial(means, 3, seconds, True), others if compare else None

    monkeypatch.setattr(choice, "_run_briefly", run)
    return seen


def silent(_: str) -> None:
    pass


def test_any_order_are_the_defaults_and_in_order_those_of_movielens_1m() -> None:
    defaults = flat(RunConfig.from_mapping({}).to_mapping())
    assert {key: defaults[key] for key in REGIMES["any-order"]} == REGIMES["any-order"]
    assert RunConfig.from_mapping({}) == in_regime({}, "any-order")
    file = Path(__file__).parents[2] / "configs" / "ml-1m.yaml"
    published = flat(spike_dgl.config.read_yaml(file))
    assert {key: published[key] for key in REGIMES["in-order"]} == REGIMES["in-order"]


def test_explicit_settings_take_precedence_over_the_regime() -> None:
    given = {"model": {"user_embedding": True}, "training": {"recency": 0.0}}
    config = in_regime(given, "in-order")
    assert (config.model.newest_interactions, config.model.user_embedding) == (5, True)
    assert (config.training.recency, config.profiles.without) == (0.0, ("user",))
    assert in_regime({"profiles": {"source": "none"}}, "in-order").profiles.without == ()


@pytest.mark.parametrize(
    ("given", "regime", "message"),
    [
        ({}, "in-ordre", "no training regime 'in-ordre'; did you mean 'in-order'"),
        ({"model": {"name": "lightgcn"}}, "in-order", "is for SPiKE, but model.name is lightgcn"),
        ({"model": {"fanout": [5, 5]}}, "in-order", "need the whole graph; leave out fanout"),
        ({"model": {"fan": 5}}, "auto", "unknown setting 'model.fan'"),
    ],
)
def test_bad_requests_are_refused(given: dict[str, Any], regime: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settle(given, regime)


def test_the_command_line_has_the_same_default_budget() -> None:
    defaults = {option.name: option.default for option in train.params}
    assert defaults["budget"] == choice.BUDGET


def test_training_in_any_order_on_data_split_by_time_says_that_there_is_another_regime(
    walks_folder: Path, tmp_path: Path
) -> None:
    def said(**sections: dict[str, Any]) -> str:
        return choice.hint(RunConfig.from_mapping(settings(walks_folder, **sections)), dataset)

    dataset = load(RunConfig.from_mapping(settings(walks_folder)).data)
    assert "--regime auto compares it with the order of time" in said()
    assert said(model={"newest_interactions": 5, "matching_weight": 0.0}) == ""
    assert said(training={"recency": 1.0}) == ""
    assert choice.hint(RunConfig.from_mapping({"model": {"name": "lightgcn"}}), dataset) == ""
    config = RunConfig.from_mapping(settings(write_data(tmp_path / "without", ring(), times=False)))
    assert choice.hint(config, load(config.data)) == ""


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan")])
def test_the_budget_is_positive(budget: float) -> None:
    with pytest.raises(ConfigError, match="must be positive"):
        settle({}, "auto", budget)


def test_where_only_the_order_predicts_the_next_item_it_is_chosen_and_recorded(
    walks_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [f"{key}={json.dumps(value)}" for key, value in flat(settings(walks_folder)).items()]
    decide = ["training.metric=ndcg@1", "evaluation.cutoffs=[2]"]
    code, out, error = run_command(
        monkeypatch,
        capsys,
        "train",
        *options,
        *decide,
        "--regime",
        "auto",
        "--quiet",
        "--out",
        tmp_path / "run",
    )
    assert code == 0, error
    assert "Short runs on the inner split chose training in the order of time (in-order): ndcg@1 " in out
    run = spike_dgl.Run.open(tmp_path / "run")
    recorded = run.result["regime"]
    assert recorded == run.folder.read_json("environment.json")["regime"]
    assert recorded["name"] == "in-order"
    trials = recorded["choice"]["trials"]
    assert trials["in-order"]["metrics"]["ndcg@1"] > 2 * trials["any-order"]["metrics"]["ndcg@1"]
    assert {trial["epochs"] for trial in trials.values()} <= set(range(1, 9))
    assert recorded["choice"]["text"] in run._repr_markdown_()
    assert recorded["choice"]["text"] in out
    assert set(recorded["choice"]["baselines"]) == {"popularity", "item-cosine"}
    # Everything is in config.yaml, so the run is the one of these settings.
    assert run.config.model.newest_interactions == 5
    assert not run.config.data.inner_split
    again = start(run.config, RunFolder.create(tmp_path / "again")).train(progress=False)
    assert again.means == run.metrics


def test_where_the_order_means_nothing_it_is_not_chosen(tmp_path: Path) -> None:
    given = settings(write_data(tmp_path / "tastes", tastes()), training={"epochs": 6})
    config, record = settle(given, "auto", say=silent)
    assert record["name"] == "any-order"
    assert config == in_regime(given, "any-order")


def test_the_short_runs_do_not_see_the_test_split(walks_folder: Path, tmp_path: Path) -> None:
    """Other test items, at the same times, change nothing."""
    other = write_data(tmp_path / "other", [[*walk[:-2], 0, 1] for walk in ring()])
    records = [
        settle(settings(data, training={"epochs": 1}), "auto", say=silent)[1]
        for data in (walks_folder, other)
    ]
    metrics = [
        {name: one["metrics"] for name, one in record["choice"]["trials"].items()} for record in records
    ]
    assert metrics[0] == metrics[1]


def test_the_budget_ends_the_short_runs(walks_folder: Path) -> None:
    said: list[str] = []
    _, record = settle(settings(walks_folder, training={"epochs": 100_000}), "auto", 0.2, said.append)
    for trial in record["choice"]["trials"].values():
        assert trial["out_of_time"]
        assert 1 <= trial["epochs"] < 1000
    assert "Their time ran out; a larger budget than 0.2 s makes the choice more reliable." in said[-1]


def test_words_and_table(walks_folder: Path, tried: list[RunConfig]) -> None:
    said: list[str] = []
    _, record = settle(settings(walks_folder), "auto", 30.0, said.append)
    assert len(tried) == 2
    assert record["choice"]["text"].splitlines() == [
        "Short runs on the inner split chose training in the order of time (in-order): ndcg@20 0.5000 against 0.4000 "
        "in any order (+25 %). Their time ran out; a larger budget than 30 s makes the choice more reliable. "
        "**Ahead of it there without any training: popularity (0.6000).**",
        "",
        "| inner split | ndcg@20 | recall@20 | epochs |    s |",
        "| ----------- | ------: | --------: | -----: | ---: |",
        "| any-order   |  0.4000 |    0.4000 |      3 | 15.0 |",
        "| in-order    |  0.5000 |    0.5000 |      3 | 15.0 |",
        "| popularity  |  0.6000 |    0.1000 |        |      |",
    ]
    assert said == [
        "choosing a training regime by short runs on the inner split, 30 s at most (docs/training.md)",
        record["choice"]["text"] + "\n",
    ]


@pytest.mark.parametrize(
    ("how", "given", "reason"),
    [
        ({"times": False}, {}, "this data has no times"),
        ({"backwards": True}, {}, "this data is not split by time"),
        ({}, {"model": {"name": "lightgcn"}}, "only SPiKE has training regimes"),
        ({}, {"model": {"fanout": [3]}}, "the settings decide"),
        ({}, {key: value for key, value in in_regime(SMALL, "in-order").to_mapping().items() if key != "data"},
         "the settings decide"),
    ],
)  # fmt: skip
def test_nothing_to_choose_and_nothing_run(
    how: dict[str, bool], given: dict[str, Any], reason: str, tmp_path: Path, tried: list[RunConfig]
) -> None:
    data = write_data(tmp_path / "data", ring(), **how)
    said: list[str] = []
    wanted = merge({"data": {"path": str(data)}}, {} if given.get("model", {}).get("name") else SMALL, given)
    assert settle(wanted, "auto", say=said.append) == (RunConfig.from_mapping(wanted), {})
    assert said == [f"no regime to choose: {reason}"]
    assert tried == []


def test_histories_too_short_for_an_inner_split(tmp_path: Path, tried: list[RunConfig]) -> None:
    data = write_data(tmp_path / "data", [walk[:5] for walk in ring()])
    said: list[str] = []
    assert settle(settings(data), "auto", say=said.append)[1] == {}
    assert said == ["no regime to choose: the histories are too short for an inner split"]


def test_a_failed_regime_loses_and_is_named(
    walks_folder: Path, tried: list[RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    works = choice._run_briefly

    def run(config: RunConfig, *rest: Any, compare: bool) -> tuple[Trial, Baselines | None]:
        if config.model.newest_interactions:
            raise SpikeError("the loss is not finite\n  Try again.")
        return works(config, *rest, compare=compare)

    monkeypatch.setattr(choice, "_run_briefly", run)
    _, record = settle(settings(walks_folder), "auto", say=silent)
    assert record["name"] == "any-order"
    assert "against failure in the order of time: the loss is not finite." in record["choice"]["text"]


@pytest.mark.parametrize("error", [SpikeError("no memory"), DataError("f", "is broken", "Repair it.")])
def test_if_all_fail_the_settings_stay(
    error: SpikeError, walks_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(choice, "_run_briefly", fail)
    said: list[str] = []
    wanted = settings(walks_folder)
    assert settle(wanted, "auto", say=said.append) == (RunConfig.from_mapping(wanted), {})
    assert said[-1].startswith("no regime was chosen: ")


def test_an_interrupt_stops_the_command_and_leaves_no_folder(
    walks_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise Interrupted("stopped in epoch 3; resume with ...", 15)

    monkeypatch.setattr(choice, "_run_briefly", stop)
    with pytest.raises(Interrupted, match="nothing was saved") as raised:
        spike_dgl.train(
            settings=flat(settings(walks_folder)), regime="auto", out=tmp_path / "run", progress=False
        )
    assert raised.value.signal_number == 15
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_keeps_its_regime(
    walks_folder: Path,
    tmp_path: Path,
    tried: list[RunConfig],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = {"settings": flat(settings(walks_folder, training={"epochs": 1})), "out": tmp_path / "run"}
    run = spike_dgl.train(**given, regime="auto", progress=False)
    assert run.result["regime"]["name"] == "in-order"
    assert len(tried) == 2
    assert spike_dgl.train(**given, resume=True, progress=False).metrics == run.metrics  # finished
    code, _, error = run_command(
        monkeypatch, capsys, "train", "--resume", run.path, "training.epochs=2", "--quiet"
    )
    assert code == 0, error
    assert len(tried) == 2
    resumed = spike_dgl.Run.open(run.path)
    assert resumed.result["regime"] == run.result["regime"]
    assert resumed.config.model == run.config.model
    with pytest.raises(ConfigError, match=r"was run with model.newest_interactions=5"):
        spike_dgl.train(**given, resume=True, regime="any-order", progress=False)
    code, _, error = run_command(monkeypatch, capsys, "train", "--resume", run.path, "--regime", "auto")
    assert code == 2
    assert "--regime" in error


def test_show_config_shows_a_named_regime_and_chooses_nothing(
    walks_folder: Path,
    tried: list[RunConfig],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for regime, newest in (("in-order", 5), ("auto", 0)):
        command = ["train", f"data.path={walks_folder}", "--regime", regime, "--show-config"]
        code, out, _ = run_command(monkeypatch, capsys, *command)
        assert code == 0
        assert f"newest_interactions: {newest}\n" in out
    assert tried == []
