"""Checkpoints: plain tensors, dicts and numbers in one file that is either whole or absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from spike_dgl.errors import DataError
from spike_dgl.training.whole_file import whole_file


def save_checkpoint(state: dict[str, Any], file: Path) -> None:
    """Write a checkpoint as a whole or not at all."""
    with whole_file(file) as partial:
        torch.save(state, partial)


def load_checkpoint(file: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU. Raises `DataError` where it is missing or broken."""
    if not file.is_file():
        raise DataError(
            file, "no such checkpoint", "Is this a run folder, and did the run get through an epoch?"
        )
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # what torch raises on a damaged file depends on where the damage is
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(file, f"is not a readable checkpoint ({reason})", "Train again.") from None
    if not isinstance(state, dict):
        raise DataError(file, "is not a checkpoint of ours", "Train again.")
    return state
