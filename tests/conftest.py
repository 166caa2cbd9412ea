"""Fixtures that all tests share."""

from __future__ import annotations

import os

# Small operations on two busy threads wait for each other: one thread is faster and reproducible.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("DGLBACKEND", "pytorch")

from pathlib import Path

# Without a GPU the Triton kernels run in an interpreter, which Triton has to know when it is imported.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")

import hypothesis
import numpy as np
import pytest

# A busy machine may stop a test for a second: a deadline per example would find that, not a mistake.
hypothesis.settings.register_profile("spike_dgl", deadline=None)
hypothesis.settings.load_profile("spike_dgl")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real datasets, which we may not publish."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the real data sets in {folder}")
    return folder


@pytest.fixture(scope="session")
def shared_golden() -> Path:
    """Folder of golden values."""
    folder = SHARED / "golden"
    if not folder.is_dir():
        pytest.skip(f"needs the golden values in {folder}")
    return folder


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset in the authors' format: users like items of one of two genres."""
    folder = tmp_path_factory.mktemp("data") / "tiny"
    folder.mkdir()
    random = np.random.default_rng(0)
    train, test = [], []
    for user in range(30):
        liked = random.permutation(np.arange(user % 2, 40, 2))[:12]
        train.append(" ".join(map(str, [user, *liked[:9]])))
        test.append(" ".join(map(str, [user, *liked[9:]])))
    (folder / "train.txt").write_text("\n".join(train) + "\n")
    (folder / "test.txt").write_text("\n".join(test) + "\n")
    (folder / "kg_final.txt").write_text("".join(f"{item} 0 {40 + item % 2}\n" for item in range(40)))
    return folder
