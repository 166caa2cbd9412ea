"""Models of other packages: by their class, and by an entry point."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import torch

from spike_dgl.errors import ConfigError
from spike_dgl.evaluation import EvaluationOptions, evaluate
from spike_dgl.models import base
from spike_dgl.models.base import model_entry, registered_models
from spike_dgl.runs.config import load_config
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.set_up import start
from tests.models.test_all_models import DATA, build, trained

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-model.md"
MODEL = '''
from spike_dgl.models.base import RankingOptions, register
from spike_dgl.models.bpr_mf import BprMf
from pydantic.dataclasses import dataclass
from spike_dgl.config import STRICT

@dataclass(frozen=True, config=STRICT)
class Options(RankingOptions):
    flavour: int = 3

@register("theirs", Options)
class Theirs(BprMf):
    """A model of another package."""

class Unregistered(BprMf):
    """A class without a name."""
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "their_models.py").write_text(MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(base, "_REGISTRY", dict(base._REGISTRY))
    yield "their_models"
    sys.modules.pop("their_models", None)
    base._load_entry_points.cache_clear()


def test_a_class_is_trained_by_its_import_path(package: str, data_folder: Path, tmp_path: Path) -> None:
    settings = [
        f"model.name={package}:Theirs",
        "model.flavour=4",
        "model.embedding_dim=8",
        "training.epochs=1",
    ]
    config = load_config(None, [*settings, f"data.path={data_folder}", "training.threads=1"])
    assert config.model.flavour == 4
    result = start(config, RunFolder.create(tmp_path / "run")).train(progress=False)
    assert 0 <= result.means["recall@20"] <= 1
    assert load_config(tmp_path / "run" / "config.yaml").model_name == f"{package}:Theirs"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("their_models:Absent", "cannot be imported"),
        ("no_such_package:Model", "cannot be imported"),
        (":Model", "cannot be imported"),
        ("their_models:Unregistered", "is not registered"),
    ],
)
def test_a_class_that_is_none_is_one_clear_error(package: str, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(None, [f"model.name={name}"])


def test_an_entry_point_makes_a_model_known_and_a_broken_one_does_no_harm(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [
        metadata.EntryPoint("theirs", package, base.ENTRY_POINTS),
        metadata.EntryPoint("broken", "no_such_package", base.ENTRY_POINTS),
    ]
    monkeypatch.setattr(metadata, "entry_points", lambda group: points if group == base.ENTRY_POINTS else [])
    base._load_entry_points.cache_clear()
    with pytest.warns(UserWarning, match="no_such_package cannot be imported"):
        assert "theirs" in registered_models()
    assert model_entry("theirs").options().flavour == 3


def test_the_model_of_the_page_learns_the_checkerboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = re.search(r"```python\n(# sage\.py\n.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert block
    assert block[1].count("\n") <= 45
    (tmp_path / "sage.py").write_text(block[1])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(base, "_REGISTRY", dict(base._REGISTRY))
    assert model_entry("sage:Sage").model.__name__ == "Sage"
    model = trained(build("sage"), tmp_path).eval()
    with torch.no_grad():
        result = evaluate(model.score_function(), DATA, "test", EvaluationOptions(cutoffs=(2,)))
    assert result.means["recall@2"] > 0.95
    sys.modules.pop("sage", None)


def test_a_module_in_the_working_directory_is_found(tmp_path: Path, data_folder: Path) -> None:
    (tmp_path / "their_models.py").write_text(MODEL)
    settings = ["model.name=their_models:Theirs", f"data.path={data_folder}", "training.epochs=1"]
    program = f"import sys; sys.path[0] = {str(PAGE.parents[1])!r}; from spike_dgl.cli import main; main()"
    command = [sys.executable, "-c", program, "train", "--quiet", "--out", "run", *settings]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "RESULT.md").is_file()
