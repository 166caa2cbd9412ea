"""Every example runs: those of docstrings, and the Python blocks of the pages."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import spike_dgl
from spike_dgl.runs.config import load_config
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.set_up import start
from tests.profiles.openai_server import OpenAIServer

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    file for file in (ROOT / "spike_dgl").rglob("*.py") if ">>>" in file.read_text(encoding="utf-8")
)
BLOCK = re.compile(r"^```python\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if BLOCK.search(page.read_text(encoding="utf-8"))
]
RUN = "runs/movielens-spike-seed2020"
STUDY = """\
models: [spike, lightgcn]
reference: spike
seeds: [1]
overrides: [training.epochs=1, training.threads=1]
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch on the bundled data."""
    folder = tmp_path_factory.mktemp("examples") / "run"
    config = load_config(overrides=["training.epochs=1", "training.threads=1"])
    start(config, RunFolder.create(folder)).train(progress=False)
    return folder


@pytest.fixture
def workplace(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with the run and the configurations that pages name, and a language model's server."""
    shutil.copytree(trained, tmp_path / RUN)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "study.yaml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    with OpenAIServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        yield tmp_path


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_examples_of_docstrings(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.attempted
    assert not found.failed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_of_pages(page: Path, workplace: Path) -> None:
    """All blocks of a page in order, as one program. Addresses, studies and epochs are made small and local."""
    names: dict[str, object] = {"__name__": "page"}
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        if block.startswith("# "):  # a file of its own, with a test of its own
            continue
        code = block.replace("http://localhost:11434/v1", os.environ["OPENAI_BASE_URL"])
        code = code.replace("configs/bench/movielens.yaml", "study.yaml")
        code = re.sub(r"epochs=\d+", "epochs=1", code)
        exec(compile(code, page.name, "exec"), names)


def test_public_names_are_found_and_others_refused() -> None:
    for name in spike_dgl.__all__:
        assert getattr(spike_dgl, name).__doc__
        assert name in dir(spike_dgl)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        spike_dgl.trian  # noqa: B018
