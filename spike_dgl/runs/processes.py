"""Running many runs, each in its own process, which isolates threads, memory and crashes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spike_dgl.atomic_files import atomic_write
from spike_dgl.config import flat
from spike_dgl.errors import ConfigError
from spike_dgl.runs.config import RunConfig
from spike_dgl.runs.folder import RunFolder
from spike_dgl.training.interrupt import Interrupted, StopRequest

POLL_SECONDS = 0.1


@dataclass(frozen=True)
class PlannedRun:
    """Run to be done, which may have been started or finished already.

    Parameters
    ----------
    name
        Name in messages.
    config
        All settings, with absolute paths.
    folder
        Run folder. Next to it are its settings (``.yaml``) and its output (``.log``).
    is_tested
        False for a run that ends with validation.
    """

    name: str
    config: RunConfig
    folder: Path
    is_tested: bool = True

    @property
    def is_started(self) -> bool:
        """True if the run was set up, so that it can be resumed."""
        return (self.folder / "config.yaml").is_file()

    @property
    def is_finished(self) -> bool:
        """True if the result file exists."""
        return self.result.is_file()

    @property
    def result(self) -> Path:
        """File with the result."""
        return self.folder / ("result.json" if self.is_tested else "validation.json")

    @property
    def log(self) -> Path:
        """File with the output of the process."""
        return self.folder.with_name(self.folder.name + ".log")

    @property
    def settings(self) -> Path:
        """Configuration file of the process."""
        return self.folder.with_name(self.folder.name + ".yaml")

    def check_settings(self) -> None:
        """Raise `ConfigError` if the folder contains a run with other settings."""
        if not self.is_started:
            return
        # Without defaults: a setting that is missing did not exist when the run was started.
        folder = RunFolder(self.folder)
        there = flat(folder.settings())
        wanted = flat(self.config.to_mapping())
        for key in sorted(there.keys() | wanted.keys()):
            if there.get(key) != wanted.get(key):
                was = f"with {key}={there[key]}" if key in there else f"by a version without {key}"
                raise ConfigError(
                    f"{self.folder} was run {was}, but the setting is now {wanted.get(key)}\n"
                    "  Restore the setting, choose another folder (--out), "
                    f"or delete {self.folder.parent} to run it again."
                )
        if changed := folder.changed_when_resumed():
            raise ConfigError(
                f"{self.folder}: settings were changed during the run: {'; '.join(changed)}\n"
                "  Delete it to run it again, or choose another folder (--out)."
            )

    def command(self, arguments: Sequence[str] = ()) -> list[str]:
        """Return the ``train`` command that starts or resumes the run; write its configuration file."""
        train = [sys.executable, "-m", "spike_dgl", "train", "--quiet", *arguments]
        train += [] if self.is_tested else ["--no-test"]
        if self.is_started:
            return [*train, "--resume", str(self.folder)]
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.settings) as partial:
            partial.write_text(self.config.to_yaml(), encoding="utf-8")
        return [*train, "--config", str(self.settings), "--out", str(self.folder)]


def run_missing(
    runs: Sequence[PlannedRun],
    *,
    at_a_time: int = 1,
    arguments: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> dict[str, str]:
    """Run all runs that are not finished, each in its own process.

    Parameters
    ----------
    runs
        Runs, in the order in which they are started.
    at_a_time
        Number of parallel processes.
    arguments
        Additional arguments of ``train``.
    say
        Function called with progress messages.

    Returns
    -------
    dict of str
        Reasons of failures by name of the run.

    Raises
    ------
    ConfigError
        If a folder contains a run with other settings; nothing is run then.
    Interrupted
        After Ctrl-C or SIGTERM, when all processes have saved their state and ended.
    """
    for run in runs:
        run.check_settings()
    missing = [run for run in runs if not run.is_finished]
    failures: dict[str, str] = {}
    if not missing:
        return failures
    say(f"{len(missing)} of {len(runs)} runs to do, {at_a_time} at a time")
    with StopRequest() as stop, _Processes(at_a_time, arguments) as processes:
        for number, (run, seconds, failure) in enumerate(processes.work_off(missing, stop), start=1):
            say(
                f"[{number}/{len(missing)}] {run.name}: "
                + (f"FAILED, {failure}" if failure else f"{seconds:.0f} s")
            )
            if failure:
                failures[run.name] = failure
    if stop.signal_number is not None:
        raise Interrupted("stopped; everything is saved, and the same command resumes", stop.signal_number)
    return failures


class _Processes:
    """Context with parallel processes; remaining ones are killed on exit."""

    def __init__(self, at_a_time: int, arguments: Sequence[str]) -> None:
        self.at_a_time, self.arguments = at_a_time, arguments
        self._active: list[tuple[PlannedRun, subprocess.Popen[bytes], float]] = []

    def __enter__(self) -> _Processes:
        return self

    def __exit__(self, *error: object) -> None:
        for _, process, _ in self._active:  # empty unless there was an exception
            process.kill()
            process.wait()

    def work_off(
        self, runs: Sequence[PlannedRun], stop: StopRequest
    ) -> Iterator[tuple[PlannedRun, float, str | None]]:
        """Yield each run when it ends, with its seconds and reason of failure; start none after a stop signal."""
        waiting, forwarded = list(runs), False
        while self._active or (waiting and stop.signal_number is None):
            while waiting and len(self._active) < self.at_a_time and stop.signal_number is None:
                self._start(waiting.pop(0))
            if stop.signal_number is not None and not forwarded:
                self._forward(stop.signal_number)
                forwarded = True
            time.sleep(POLL_SECONDS)
            for entry in [entry for entry in self._active if entry[1].poll() is not None]:
                self._active.remove(entry)
                run, process, started = entry
                failure = None if run.is_finished else _why(run, process.returncode)
                if not forwarded or run.is_finished:
                    yield run, time.monotonic() - started, failure

    def _start(self, run: PlannedRun) -> None:
        command = run.command(self.arguments)
        with run.log.open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(),
                close_fds=False,  # the child inherits the lock
            )
        self._active.append((run, process, time.monotonic()))

    def _forward(self, signal_number: int) -> None:
        """Forward a signal to the processes, except Ctrl-C, which the terminal sends to all; twice would kill them."""
        if signal_number != signal.SIGINT:
            for _, process, _ in self._active:
                process.send_signal(signal_number)


def _environment() -> dict[str, str]:
    """Return this process's environment, with the package on the Python path."""
    package = str(Path(__file__).parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _why(run: PlannedRun, code: int) -> str:
    """Return the error message that a process ended with."""
    if code < 0:
        return f"killed by signal {-code} (out of memory?); see {run.log}"
    lines = run.log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    last = errors[-1].removeprefix("error: ") if errors else next(filter(None, reversed(lines)), "no message")
    return f"{last}; see {run.log}"
