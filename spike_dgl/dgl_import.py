"""Import of DGL; all other modules use ``from spike_dgl.dgl_import import dgl``.

DGL 2.0 and 2.1 import their graphbolt library, which is built for one torch version each and needs an old torchdata.
With a newer torch `import dgl` fails, although nothing here uses graphbolt. Only in that case it is replaced with an
empty module; `main.py doctor` reports this.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from spike_dgl.errors import ConfigError, SpikeError

if TYPE_CHECKING:
    import torch

# Without it DGL prints a notice and writes a configuration file into the home directory.
os.environ.setdefault("DGLBACKEND", "pytorch")

INSTALL_LINE = 'pip install "dgl>=1.1.3,!=2.0.*,!=2.1.*"'
INSTALL_LINE_312 = 'pip install "dgl==2.1.0" pandas packaging'


class DglImportError(SpikeError):
    """DGL is missing, or cannot be imported with this torch; the message has the command that fixes it."""


def install_line() -> str:
    """Return the pip command that installs a DGL for the running Python."""
    return INSTALL_LINE if sys.version_info < (3, 12) else INSTALL_LINE_312


def graphbolt_fails() -> bool:
    """Return whether the installed DGL has a graphbolt library that does not load with the installed torch."""
    spec = importlib.util.find_spec("dgl")
    if spec is None or not spec.submodule_search_locations:
        return False
    folder = Path(next(iter(spec.submodule_search_locations))) / "graphbolt"
    if not folder.is_dir():
        return False
    torch_version = metadata.version("torch").split("+")[0]
    built = any(torch_version in library.name for library in folder.glob("*graphbolt_pytorch_*"))
    return not (built and _has_datapipes())


def _has_datapipes() -> bool:
    try:
        return importlib.util.find_spec("torchdata.datapipes") is not None
    except ModuleNotFoundError:
        return False


def _import_dgl() -> types.ModuleType:
    if importlib.util.find_spec("dgl") is None:
        raise DglImportError(f"DGL is not installed.\n  Run: {install_line()}")
    if graphbolt_fails() and "dgl" not in sys.modules:
        sys.modules["dgl.graphbolt"] = types.ModuleType("dgl.graphbolt")
    try:
        import dgl
    except (ImportError, OSError) as error:
        version = metadata.version("dgl")
        raise DglImportError(
            f"DGL {version} cannot be imported: {str(error).splitlines()[0]}\n  Run: {install_line()}"
        ) from error
    return dgl  # type: ignore[no-any-return]


dgl = _import_dgl()
GRAPHBOLT_REPLACED = "dgl.graphbolt" in sys.modules and not hasattr(sys.modules["dgl.graphbolt"], "__file__")

from dgl import DGLGraph  # noqa: E402
from dgl import function as fn  # noqa: E402
from dgl.nn.functional import edge_softmax  # noqa: E402


class DglDeviceError(ConfigError):
    """The installed DGL has no kernels for the device."""


def require_dgl_on(device: torch.device, instead: str = "") -> None:
    """Raise `DglDeviceError` if DGL's message passing does not run on a device.

    Parameters
    ----------
    device
        The device.
    instead
        Setting that avoids DGL's message passing, for the message; empty if there is none.
    """
    reason = why_dgl_does_not_run_on(device)
    if reason is not None:
        raise DglDeviceError(
            f"the installed DGL {dgl.__version__} does not run on {device.type} ({reason})\n"
            f"  Set {instead + ', or ' if instead else ''}training.device=cpu, or install a build of DGL with CUDA: "
            "https://www.dgl.ai/pages/start.html"
        )


def why_dgl_does_not_run_on(device: torch.device) -> str | None:
    """Return the error message of moving a graph to a device; None if it works."""
    if device.type == "cpu":
        return None
    try:
        dgl.rand_graph(2, 1).to(device)
    except Exception as error:  # of DGL or of torch, depending on what is missing
        return str(error).strip().splitlines()[-1][:90]
    return None


__all__ = [
    "GRAPHBOLT_REPLACED",
    "DGLGraph",
    "DglDeviceError",
    "DglImportError",
    "dgl",
    "edge_softmax",
    "fn",
    "install_line",
    "require_dgl_on",
    "why_dgl_does_not_run_on",
]
