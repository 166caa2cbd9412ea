"""Checks of the installation: versions, devices, and message passing against known values."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

from spike_dgl.errors import SpikeError

SUPPORTED_PYTHON = ((3, 10), (3, 12))
TORCH_LINE = 'pip install "torch>=2.0"'


@dataclass(frozen=True)
class Check:
    """Outcome of one check.

    Parameters
    ----------
    name
        Subject of the check.
    passed
        Whether the check passed.
    found
        Result, for people.
    remedy
        Command that fixes the problem; empty if there is none.
    """

    name: str
    passed: bool
    found: str
    remedy: str = ""


def diagnose() -> list[Check]:
    """Run all checks. Never raises: an error is a failed check."""
    checks = [_python(), _package("numpy", 'pip install "numpy>=1.26"'), _package("torch", TORCH_LINE)]
    if not checks[-1].passed:
        return checks
    checks += [_guarded("torch devices", _torch_devices, TORCH_LINE), _guarded("dgl", _dgl_version, "")]
    if checks[-1].passed:
        checks += [
            _guarded("dgl devices", _dgl_devices, ""),
            _guarded("message passing", _message_passing, _dgl_line()),
        ]
    return checks


def render(checks: list[Check]) -> str:
    """Render the checks as text, each failed one with the command that fixes it."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{'ok  ' if check.passed else 'FAIL'}  {check.name:{width}}  {check.found}")
        if check.remedy:
            lines.append(f"      {'':{width}}  run: {check.remedy}")
    return "\n".join(lines)


def _python() -> Check:
    oldest, newest = SUPPORTED_PYTHON
    fits = oldest <= sys.version_info[:2] <= newest
    needed = f"{oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]}"
    found = platform.python_version() + ("" if fits else f"; supported: {needed}")
    return Check(
        "python", fits, found, "" if fits else "python3.11 -m venv .venv  (then install again inside)"
    )


def _package(name: str, remedy: str) -> Check:
    def version() -> str:
        __import__(name)
        return metadata.version(name)

    return _guarded(name, version, remedy)


def _torch_devices() -> str:
    import torch

    if not torch.cuda.is_available():
        return f"CPU ({torch.get_num_threads()} threads); CUDA: " + (
            "built in, but no device" if torch.version.cuda else "not in this build"
        )
    return f"CPU ({torch.get_num_threads()} threads), CUDA ({torch.cuda.get_device_name()})"


def _dgl_version() -> str:
    from spike_dgl.dgl_import import GRAPHBOLT_REPLACED, dgl

    note = ", without graphbolt, which does not load with this torch" if GRAPHBOLT_REPLACED else ""
    return f"{dgl.__version__}{note}"


def _dgl_devices() -> str:
    import torch

    from spike_dgl.dgl_import import why_dgl_does_not_run_on

    reason = why_dgl_does_not_run_on(torch.device("cuda"))
    return "CPU, CUDA" if reason is None else f"CPU; CUDA: no ({reason})"


def _message_passing() -> str:
    """Sum the features 1, 2, 4 along 0 -> 1, 0 -> 2, 1 -> 2, giving 0, 1, 3; check the sums and the gradient."""
    import torch

    from spike_dgl.dgl_import import dgl, fn

    graph = dgl.graph(([0, 0, 1], [1, 2, 2]))
    feature = torch.tensor([[1.0], [2.0], [4.0]], requires_grad=True)
    graph.ndata["feature"] = feature
    graph.update_all(fn.copy_u("feature", "message"), fn.sum("message", "sum"))
    sums = graph.ndata["sum"]
    sums.sum().backward()
    if sums.flatten().tolist() != [0.0, 1.0, 3.0] or feature.grad is None:
        raise SpikeError(f"three nodes should sum to 0, 1, 3 but give {sums.flatten().tolist()}")
    if feature.grad.flatten().tolist() != [2.0, 1.0, 0.0]:
        raise SpikeError(f"the gradient should be 2, 1, 0 but is {feature.grad.flatten().tolist()}")
    return "three nodes sum to 0, 1, 3 with gradient 2, 1, 0, as expected"


def _dgl_line() -> str:
    from spike_dgl.dgl_import import install_line

    return install_line()


def _guarded(name: str, look: Callable[[], str], remedy: str) -> Check:
    try:
        return Check(name, True, look())
    except SpikeError as error:
        found, _, advice = str(error).partition("\n")
        return Check(name, False, found, advice.strip().removeprefix("Run: ") or remedy)
    except Exception as error:  # a broken installation can raise anything at import
        return Check(
            name, False, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", remedy
        )
