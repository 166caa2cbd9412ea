"""Threads: one per available CPU, none of them spinning while it waits."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COMMAND = (
    "import atexit, os, sys; atexit.register(lambda: print(os.environ.get('OMP_WAIT_POLICY')));"
    "from spike_dgl.cli import main; sys.argv = ['main.py', '--version']; main()"
)
THREADS = (
    "import joblib, torch; from spike_dgl.threads import use_threads; joblib.cpu_count = lambda: 1;"
    "use_threads({}); print(torch.get_num_threads())"
)


def last_line(code: str, **variables: str) -> str:
    """Return the last line that Python code prints in a separate process."""
    cleared = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_"))}
    run = [sys.executable, "-c", code]
    return subprocess.run(
        run, env=cleared | variables, capture_output=True, text=True, check=True
    ).stdout.split()[-1]


@pytest.mark.parametrize(
    ("variables", "policy"),
    [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "active"}, "active"), ({"GOMP_SPINCOUNT": "9"}, "None")],
)
def test_threads_wait_passively_unless_the_user_chose_otherwise(
    variables: dict[str, str], policy: str
) -> None:
    assert last_line(COMMAND, **variables) == policy


@pytest.mark.parametrize(
    ("number", "variables", "threads"),
    [("None", {}, "1"), ("3", {}, "3"), ("None", {"OMP_NUM_THREADS": "2"}, "2")],
)
def test_a_container_that_may_use_one_cpu_gets_one_thread(
    number: str, variables: dict[str, str], threads: str
) -> None:
    assert last_line(THREADS.format(number), **variables) == threads
