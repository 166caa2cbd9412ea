"""Checkpoints: plain tensors, dicts and numbers in one file that is either whole or absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spike_dgl.atomic_files import atomic_write
from spike_dgl.errors import DataError

FORMAT = 2
"""Version of what checkpoints hold. In version 1, parameters had the names of `EmbeddingModel.former_names`."""


def save_checkpoint(state: Mapping[str, Any], file: Path) -> None:
    """Write a checkpoint as a whole or not at all."""
    with atomic_write(file) as partial:
        torch.save({"format": FORMAT, **state}, partial)


def load_checkpoint(file: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU; its ``format`` is the version that wrote it.

    Raises
    ------
    DataError
        If it is missing, broken, or written by a newer version of this package.
    """
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
    state.setdefault("format", 1)
    if state["format"] > FORMAT:
        raise DataError(file, "was written by a newer version of spike_dgl", "Update this one.")
    return state


def weights_of(state: Mapping[str, Any], former_names: Sequence[tuple[str, str]] = ()) -> dict[str, Tensor]:
    """Parameters and buffers of the model in a checkpoint, under their present names.

    Parameters
    ----------
    state
        The checkpoint.
    former_names
        Beginnings of names in format 1, and what stands in their place now.
    """
    weights: dict[str, Tensor] = dict(state["model"])
    if state["format"] > 1:
        return weights
    for former, present in former_names:
        weights = {
            present + name.removeprefix(former) if name.startswith(former) else name: value
            for name, value in weights.items()
        }
    return weights


def check_resumable(state: Mapping[str, Any], file: Path) -> None:
    """Raise `DataError` for a state to go on from whose optimiser state belongs to parameters in another order."""
    if state["format"] != FORMAT:
        problem = "was written by an older version of spike_dgl, and this one cannot go on from it"
        remedy = (
            "evaluate, recommend and serve read this run as it is. "
            "Train it anew with --config config.yaml of the run, or go on with the older version."
        )
        raise DataError(file, problem, remedy)
