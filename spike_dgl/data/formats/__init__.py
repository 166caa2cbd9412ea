"""Data formats, one module each.

To add a format, write a module with the members of `Format` and add it to `FORMATS`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import spike_dgl.data.formats.recbole as recbole
import spike_dgl.data.formats.spike as spike
from spike_dgl.data.raw import RawDataset


class Format(Protocol):
    """Interface of the modules in this package."""

    NAME: str
    """Value of the setting `format`."""

    NEEDS: str
    """Required files, in one line, for error messages."""

    def recognises(self, folder: Path) -> bool:
        """Return whether a folder's file names match this format; reads no file."""

    def read(self, folder: Path) -> RawDataset:
        """Read a folder. Raises `DataError`, and no other error, for any problem with its files."""


FORMATS: tuple[Format, ...] = (spike, recbole)
