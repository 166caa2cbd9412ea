"""Lock on a folder, which the system releases when its process ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from spike_dgl.errors import SpikeError

LOCK = ".lock"
"""Name of the locked file. A killed process leaves the file behind, but not locked."""


class FolderLock:
    """Lock on a folder against other programs, until `release` or until the process ends.

    Parameters
    ----------
    folder
        An existing folder.
    inheritable
        Whether child processes hold the lock, too.

    Raises
    ------
    SpikeError
        If another program has the lock.
    """

    def __init__(self, folder: Path, *, inheritable: bool = False) -> None:
        self._path, self._process = folder / LOCK, os.getpid()
        self._descriptor: int | None = None
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        with suppress(ImportError):  # Windows has no fcntl
            import fcntl

            os.set_inheritable(self._descriptor, inheritable)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The program that had the lock may have removed the file after it was opened here.
                taken = not os.path.samestat(os.fstat(self._descriptor), self._path.stat())
            except OSError:
                taken = True
            if taken:
                self._close()
                raise SpikeError(
                    f"{folder} is in use: another program, or a process that it started, is writing to it\n"
                    "  Wait until they have ended, or stop them."
                )

    def release(self) -> None:
        """Release the lock."""
        if self._descriptor is not None and os.getpid() == self._process:  # a fork shares the lock
            self._path.unlink(missing_ok=True)
        self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        self.release()


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Lock a folder, created if missing, for this program and its child processes."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(folder, inheritable=True)
    try:
        yield
    finally:
        lock.release()
