"""Runs in separate processes, with fake training."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from spike_dgl.errors import ConfigError, SpikeError
from spike_dgl.runs.config import load_config
from spike_dgl.runs.folder_lock import only_one
from spike_dgl.runs.processes import PlannedRun, run_missing
from spike_dgl.training.interrupt import Interrupted

FINISH = "import sys, pathlib; pathlib.Path(sys.argv[1], 'result.json').write_text('{}')"


class StandIn(PlannedRun):
    """A run whose process executes a piece of Python."""

    script = FINISH

    def command(self, arguments: Sequence[str] = ()) -> list[str]:
        self.folder.mkdir(parents=True, exist_ok=True)
        return [sys.executable, "-c", self.script, str(self.folder)]


def stand_in(folder: Path, script: str = FINISH) -> StandIn:
    run = StandIn(folder.name, load_config(), folder)
    object.__setattr__(run, "script", script)
    return run


def test_what_is_finished_is_not_run_again(tmp_path: Path) -> None:
    runs = [stand_in(tmp_path / "a"), stand_in(tmp_path / "b")]
    said: list[str] = []
    assert run_missing(runs[:1], say=said.append) == {}
    before = (tmp_path / "a" / "result.json").stat().st_mtime_ns
    assert run_missing(runs, at_a_time=2, say=said.append) == {}
    assert (tmp_path / "a" / "result.json").stat().st_mtime_ns == before
    assert [line.split(":")[0] for line in said] == [
        "1 of 1 runs to do, 1 at a time", "[1/1] a", "1 of 2 runs to do, 2 at a time", "[1/1] b",
    ]  # fmt: skip
    run_missing(runs, say=said.append)
    assert len(said) == 4


def test_a_failure_leaves_the_others_alone_and_says_why(tmp_path: Path) -> None:
    runs = [
        stand_in(tmp_path / "user", "print('reading'); print('error: no such folder'); raise SystemExit(2)"),
        stand_in(tmp_path / "bug", "raise ValueError('odd')"),
        stand_in(tmp_path / "killed", "import os; os.kill(os.getpid(), 9)"),
        stand_in(tmp_path / "fine"),
    ]
    failures = run_missing(runs, at_a_time=2, say=lambda _: None)
    assert set(failures) == {"user", "bug", "killed"}
    assert failures["user"] == f"no such folder; see {tmp_path / 'user.log'}"
    assert failures["bug"].startswith("ValueError: odd")
    assert "killed by signal 9" in failures["killed"]
    assert runs[3].is_finished


def test_only_so_many_run_at_a_time(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib, time; folder = pathlib.Path(sys.argv[1]); (folder.parent / f'{folder.name}.on').touch();"
        "time.sleep(0.2); count = len(list(folder.parent.glob('*.on')));"
        "(folder.parent / f'{folder.name}.on').unlink(); (folder / 'result.json').write_text(str(count))"
    )
    runs = [stand_in(tmp_path / name, script) for name in "abcd"]
    run_missing(runs, at_a_time=2, say=lambda _: None)
    assert max(int((run.folder / "result.json").read_text()) for run in runs) <= 2


def test_a_stop_signal_reaches_the_processes_and_starts_no_more(tmp_path: Path) -> None:
    script = (
        "import signal, sys, pathlib, time; folder = pathlib.Path(sys.argv[1]);"
        "signal.signal(signal.SIGTERM, lambda *_: ((folder / 'saved').touch(), sys.exit(143)));"
        "(folder / 'ready').touch(); time.sleep(60)"
    )
    runs = [stand_in(tmp_path / "a", script), stand_in(tmp_path / "b")]

    def stop_when_ready() -> None:
        deadline = time.monotonic() + 30
        while not (tmp_path / "a" / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_when_ready).start()
    with pytest.raises(Interrupted, match="the same command resumes") as caught:
        run_missing(runs, say=lambda _: None)
    assert caught.value.signal_number == signal.SIGTERM
    assert (tmp_path / "a" / "saved").exists()
    assert not runs[1].folder.exists()


def test_other_settings_are_named_before_anything_runs(tmp_path: Path) -> None:
    folder = tmp_path / "study" / "spike" / "seed1"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(load_config(None, ["training.epochs=5"]).to_yaml())
    runs = [
        stand_in(tmp_path / "fine"),
        PlannedRun("spike", load_config(None, ["training.epochs=6"]), folder),
    ]
    with pytest.raises(ConfigError, match=r"training\.epochs=5, but the setting is now 6") as caught:
        run_missing(runs, say=lambda _: None)
    assert f"delete {folder.parent}" in str(caught.value)
    assert not runs[0].folder.exists()


def test_a_run_of_a_version_that_lacked_a_setting_is_not_taken_for_one_with_its_default(
    tmp_path: Path,
) -> None:
    run = PlannedRun("spike", load_config(), tmp_path / "seed1")
    run.folder.mkdir()
    (run.folder / "config.yaml").write_text(run.config.to_yaml())
    run.check_settings()
    (run.folder / "config.yaml").write_text(run.config.to_yaml().replace("  similar_items: 10\n", ""))
    with pytest.raises(
        ConfigError, match=r"by a version without model\.similar_items, but the setting is now 10"
    ):
        run.check_settings()


def test_one_program_at_a_time_works_in_a_folder(tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(SpikeError, match="is in use"), only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass
