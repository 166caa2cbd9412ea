"""The notebooks run from a clean checkout, and their stored outputs are small and name no machine."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 400_000
ABSOLUTE_PATH = re.compile(r"(?<![\w.:])/\w+/\w")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a folder with the project's ``notebooks`` and no runs."""
    path = tmp_path_factory.mktemp("checkout")
    shutil.copytree(FOLDER, path / "notebooks")
    return path


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
@pytest.mark.filterwarnings("default")  # of jupyter's own
def test_it_runs_and_ends_with_plots(checkout: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))
    folder = checkout / "notebooks"
    notebook: Any = nbformat.read(folder / file.name, as_version=4)
    for cell in notebook.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs = []
    nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": folder}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3
    warnings = [output.text for output in outputs if output.get("name") == "stderr"]
    assert not warnings


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_what_is_kept_is_small_and_names_no_machine(file: Path) -> None:
    assert file.stat().st_size < LARGEST
    cells = [cell for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    outputs = [output for cell in cells for output in cell.outputs]
    assert "error" not in [output.output_type for output in outputs]
    texts = [
        output.get("text", "")
        + "".join(text for kind, text in output.get("data", {}).items() if "text/" in kind)
        for output in outputs
    ]
    assert any(texts)
    assert not [found[0] for text in texts if (found := ABSOLUTE_PATH.search(text))]


def test_there_are_four() -> None:
    assert [file.name[0] for file in NOTEBOOKS] == ["1", "2", "3", "4"]
