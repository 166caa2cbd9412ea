"""The wheel holds all that the commands need: they run from it, outside the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from spike_dgl.cli import cli

ROOT = Path(__file__).parents[1]


def tracked(folder: str = ".") -> list[str]:
    """Files of the repository, generated ones left out."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", folder], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("needs git and a clone")
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the unpacked wheel, as in site-packages."""
    source, wheels, site = (tmp_path_factory.mktemp(name) for name in ("source", "wheels", "site"))
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", str(wheels), str(source)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


@pytest.fixture
def python(installed: Path, tmp_path: Path):
    """Run Python with the wheel, in a working directory outside the repository."""

    def call(*arguments: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def test_it_holds_every_file_of_the_package(installed: Path) -> None:
    assert [name for name in tracked("spike_dgl") if not (installed / name).is_file()] == []


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """All commands, each by the words that call it."""
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def test_every_command_is_there(python, installed: Path) -> None:
    program = (
        "from click.testing import CliRunner; from spike_dgl import cli; print(cli.__file__);"
        f"pages = [CliRunner().invoke(cli.cli, [*words, '--help']) for words in {list(commands())!r}];"
        "print(all(page.exit_code == 0 for page in pages))"
    )
    assert python("-c", program).split() == [str(installed / "spike_dgl" / "cli.py"), "True"]


def test_commands_run_from_it(python) -> None:
    def run(*arguments: str) -> str:
        return python("-m", "spike_dgl", *arguments)

    run("train", "training.epochs=1", "--quiet", "--out", "run")
    assert "recall" in run("evaluate", "run")
    assert '"items"' in run("recommend", "run", "--user", "1", "--json")
    assert "Toy Story" in run("explain", "run", "--user", "1", "--item", "Toy Story (1995)")
    assert "spike" in run("results", "run")
    assert "interactions" in run("data", "movielens")
    run("speed", "training", "--repeats", "1", "--nodes", "300", "--edges", "900")
    run("settings", "--out", "settings.md")
    run("doctor")
