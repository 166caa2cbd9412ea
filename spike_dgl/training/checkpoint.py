"""Checkpoints: tensors, dicts and numbers in one file, written atomically."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spike_dgl.atomic_files import atomic_write
from spike_dgl.errors import DataError

FORMAT = 2
"""Version of the checkpoint format. In version 1, parameters had the names of `EmbeddingModel.former_names`."""


def save_checkpoint(state: Mapping[str, Any], file: Path) -> None:
    """Write a checkpoint atomically."""
    with atomic_write(file) as partial:
        torch.save({"format": FORMAT, **state}, partial)


def load_checkpoint(file: Path, *, mapped: bool = False) -> dict[str, Any]:
    """Load a checkpoint onto the CPU; its ``format`` is the version that wrote it.

    With `mapped`, tensors are memory-mapped, and only what is used of them is read.

    Raises
    ------
    DataError
        If the file is missing, invalid, or written by a newer version of this package.
    """
    if not file.is_file():
        raise DataError(
            file, "no such checkpoint", "Is this a run folder, and did the run complete an epoch?"
        )
    try:
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # torch raises various exceptions for damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(file, f"is not a readable checkpoint ({reason})", "Train again.") from None
    if not isinstance(state, dict):
        raise DataError(file, "is not a checkpoint of spike_dgl", "Train again.")
    state.setdefault("format", 1)
    if state["format"] > FORMAT:
        raise DataError(file, "was written by a newer version of spike_dgl", "Update spike_dgl.")
    return state


def weights_of(state: Mapping[str, Any], former_names: Sequence[tuple[str, str]] = ()) -> dict[str, Tensor]:
    """Return the model's parameters and buffers in a checkpoint, under their current names.

    Parameters
    ----------
    state
        The checkpoint.
    former_names
        Prefixes of names in format 1, each with its replacement.
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
    """Raise `DataError` for a checkpoint of an older format, whose optimiser state has another parameter order."""
    if state["format"] != FORMAT:
        problem = "was written by an older version of spike_dgl, and this version cannot resume from it"
        remedy = (
            "evaluate, recommend and serve can use this run. To train it further, train again with "
            "--config config.yaml of the run, or resume with the older version."
        )
        raise DataError(file, problem, remedy)
