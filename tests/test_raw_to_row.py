"""The commands in configs/: from a raw dump to a trained model and a row of a benchmark."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from spike_dgl.config import read_yaml, write_yaml
from tests.command_line import run_command
from tests.raw_dumps import write_amazon_2018, write_amazon_2023, write_yelp

CONFIGS = Path(__file__).parents[1] / "configs"
DUMPS = {"amazon-book": write_amazon_2023, "amazon-movie": write_amazon_2018, "yelp": write_yelp}
LIMITS = ("training.epochs=2", "training.threads=1")

Run = Callable[..., str]


def commands(name: str) -> dict[str, list[str]]:
    """Return the commands in the first lines of a configuration, by name."""
    found = re.findall(r"^#\s+python main\.py (.*)", (CONFIGS / f"{name}.yaml").read_text(), re.MULTILINE)
    return {words[0]: words for words in map(shlex.split, found)}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command in an empty folder with configs/ and returns its output."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(CONFIGS)

    def type_in(*words: str) -> str:
        code, out, errors = run_command(monkeypatch, capsys, *words)
        assert code == 0, errors
        return out

    return type_in


def test_from_a_raw_dump_to_a_trained_model(run: Run, tmp_path: Path) -> None:
    told = commands("yelp")
    write_yelp(tmp_path)
    assert "density" in run(*told["prepare"], "--quiet", "--also", "recbole") + run(*told["data"])
    assert "recall@20" in run(*told["train"], *LIMITS, "--quiet")
    assert "requests" in run(*told["profile"])


@pytest.mark.slow
@pytest.mark.parametrize("name", DUMPS)
def test_from_a_raw_dump_to_a_row_of_a_benchmark(run: Run, tmp_path: Path, name: str) -> None:
    told = commands(name)
    DUMPS[name](tmp_path)
    run(*told["prepare"])
    audit = run(*told["data"])
    assert not [line for line in audit.splitlines() if line.startswith("  fail")]
    assert re.search(r"interactions +1,080\n", audit), "low ratings are left out, all others stay"
    assert "recall@20" in run(*told["train"], *LIMITS)
    # Two of the models and one of the seeds show that the bench file can be run.
    study = read_yaml(CONFIGS / "bench" / "paper.yaml") | {"models": ["popularity", "spike"], "seeds": [1]}
    del study["variants"]
    (tmp_path / "short.yaml").write_text(write_yaml(study))
    words = ["short.yaml" if word == "configs/bench/paper.yaml" else word for word in told["bench"]]
    table = run(*words, *LIMITS)
    assert re.search(r"^\| +spike +\| +1 \|", table, re.MULTILINE)
    assert (tmp_path / "runs" / f"bench-{name}" / "table.md").is_file()
