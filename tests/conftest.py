"""Fixtures that all tests share."""

from __future__ import annotations

import os

# Small operations on two busy threads wait for each other: one thread is faster, and repeatable.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("DGLBACKEND", "pytorch")

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets, which are not ours to publish."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the real data sets in {folder}")
    return folder


@pytest.fixture(scope="session")
def shared_golden() -> Path:
    """The folder of golden values."""
    folder = SHARED / "golden"
    if not folder.is_dir():
        pytest.skip(f"needs the golden values in {folder}")
    return folder
