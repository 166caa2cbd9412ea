"""File layouts a data set may come in, one module each.

To add one, write a module with the members of `Format` and put it into `FORMATS`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import spike_dgl.data.formats.recbole as recbole
import spike_dgl.data.formats.spike as spike
from spike_dgl.data.raw import RawDataset


class Format(Protocol):
    """What a module of this package provides."""

    NAME: str
    """What the setting `format` calls it."""

    NEEDS: str
    """The files it needs, in one line, for error messages."""

    def recognises(self, folder: Path) -> bool:
        """Whether a folder looks like this layout; reads no file."""

    def read(self, folder: Path) -> RawDataset:
        """Read a folder. Raises `DataError`, and nothing else, for whatever is wrong with its files."""


FORMATS: tuple[Format, ...] = (spike, recbole)
