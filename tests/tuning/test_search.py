"""The search without any training: what is run, how often, and what is chosen."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from spike_dgl.models.base import registered_models
from spike_dgl.runs import PlannedRun
from spike_dgl.tuning import search
from spike_dgl.tuning.contenders import read_contenders
from tests.command_line import run_command

TUNED = [name for name, entry in registered_models().items() if entry.search]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[PlannedRun]:
    """Runs that the search starts; the third of each model is the best, and the second fails."""
    runs: list[PlannedRun] = []

    def pretend(planned: Sequence[PlannedRun], **_: object) -> dict[str, str]:
        for run in planned:
            number = int(run.folder.name.removeprefix("trial-"))
            run.folder.mkdir(parents=True)
            record = {"valid": {"ndcg@20": 0.5 if number == 3 else 0.1}, "device": "cpu"}
            (run.folder / "validation.json").write_text(json.dumps(record))
            runs.append(run)
        return {run.name: "out of luck" for run in planned if run.folder.name == "trial-2"}

    monkeypatch.setattr(search, "run_missing", pretend)
    return runs


@pytest.mark.parametrize("sampler", ["random", "optuna"])
def test_every_model_has_the_same_budget_begins_as_it_is_and_gets_what_was_best(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    started: list[PlannedRun],
    sampler: str,
) -> None:
    pytest.importorskip(sampler)
    arguments = [
        "--trials",
        4,
        "--sampler",
        sampler,
        "--out",
        tmp_path / "out",
        "--write",
        tmp_path / "tuned",
    ]
    code, _, error = run_command(monkeypatch, capsys, "tune", *TUNED, *arguments)
    assert code == 0, error
    assert Counter(run.config.model_name for run in started) == dict.fromkeys(TUNED, 4)
    assert not any(run.is_tested for run in started)
    for contender in read_contenders(None, TUNED, []):
        first, _, third, _ = (run.config for run in started if run.config.model_name == contender.model)
        assert first == contender.config({})
        [tuned] = read_contenders(tmp_path / "tuned" / "movielens" / f"{contender.model}.yaml", [], [])
        assert tuned.config({}) == third != first
