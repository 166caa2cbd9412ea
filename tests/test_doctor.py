"""The doctor finds problems, gives the command that fixes them, and never raises."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from spike_dgl import doctor

ROOT = Path(__file__).parents[1]


def test_a_sound_installation_passes_every_check() -> None:
    checks = {check.name: check for check in doctor.diagnose()}
    assert checks.keys() == {
        "python",
        "numpy",
        "torch",
        "torch devices",
        "dgl",
        "dgl devices",
        "message passing",
    }
    assert all(check.passed and not check.remedy for check in checks.values())
    assert "CPU" in checks["dgl devices"].found


def test_wrong_sums_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from spike_dgl import dgl_import

    monkeypatch.setattr(dgl_import.fn, "sum", dgl_import.fn.max)
    failed = [check for check in doctor.diagnose() if not check.passed]
    assert [check.name for check in failed] == ["message passing"]
    assert "0, 1, 3" in failed[0].found
    assert 'pip install "dgl' in failed[0].remedy


def test_an_unsupported_python_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SUPPORTED_PYTHON", ((3, 1), (3, 2)))
    check = doctor.diagnose()[0]
    assert not check.passed
    assert "supported: 3.1 to 3.2" in check.found


def fake_dgl(folder: Path, init: str) -> Path:
    """Create a folder with a package dgl that is imported instead of the installed one."""
    (folder / "dgl").mkdir()
    (folder / "dgl" / "__init__.py").write_text(textwrap.dedent(init))
    return folder


def doctor_with(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "main.py", "doctor"],
        cwd=ROOT,
        env={"PYTHONPATH": str(path), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_dgl_that_does_not_import_gives_the_line_that_mends_it(tmp_path: Path) -> None:
    path = fake_dgl(tmp_path, 'raise FileNotFoundError("Cannot find DGL C++ graphbolt library at ...")')
    result = doctor_with(path)
    assert result.returncode == 2
    assert "Cannot find DGL C++ graphbolt library" in result.stdout
    assert 'run: pip install "dgl' in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


def test_training_with_such_a_dgl_gives_the_line_too(tmp_path: Path) -> None:
    path = fake_dgl(tmp_path, 'raise FileNotFoundError("Cannot find DGL C++ graphbolt library at ...")')
    result = subprocess.run(
        [sys.executable, "main.py", "train"],
        cwd=ROOT,
        env={"PYTHONPATH": str(path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert 'Run: pip install "dgl' in result.stderr


def test_a_graphbolt_built_for_another_torch_is_kept_out_of_the_way(tmp_path: Path) -> None:
    path = fake_dgl(
        tmp_path,
        "import sys\nimport dgl.graphbolt\nprint('imported', hasattr(sys.modules['dgl.graphbolt'], '__file__'))\n",
    )
    graphbolt = path / "dgl" / "graphbolt"
    graphbolt.mkdir()
    (graphbolt / "__init__.py").write_text("raise FileNotFoundError('no library')")
    (graphbolt / "libgraphbolt_pytorch_2.1.0.so").touch()
    code = "import sys; sys.path.insert(0, sys.argv[1])\nfrom spike_dgl.dgl_import import graphbolt_fails\n"
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "imported False" in result.stdout  # replaced by the empty module
