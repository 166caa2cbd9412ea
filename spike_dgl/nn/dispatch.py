"""Choice of an implementation by device: compiled on the CPU, DGL where its build has the device, torch elsewhere."""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch

from spike_dgl.dgl_import import why_dgl_does_not_run_on

COMPILED_FOR = {"cpu"}
"""Device types with compiled loops. Tests empty it, to run the code of other devices on the CPU."""

Implementation = Literal["compiled", "torch", "dgl"]


def is_compiled(device: torch.device) -> bool:
    """Return whether the compiled loops, and DGL's kernels for the CPU, compute on a device."""
    return device.type in COMPILED_FOR


def message_passing_on(device: torch.device) -> Implementation:
    """Return the implementation of message passing on a device."""
    if is_compiled(device):
        return "compiled"
    return "dgl" if device.type == "cuda" and _dgl_has(device.type) else "torch"


@cache
def _dgl_has(device_type: str) -> bool:
    return why_dgl_does_not_run_on(torch.device(device_type)) is None
