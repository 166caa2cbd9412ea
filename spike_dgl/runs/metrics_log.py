"""Log of the epochs of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spike_dgl.atomic_files import atomic_write


class MetricsLog:
    """JSONL file with one record per epoch.

    Parameters
    ----------
    file
        The file; it is created with the first record.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def append(self, record: Mapping[str, Any]) -> None:
        """Append the record of an epoch."""
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """Return all records in order, up to a line that is incomplete after a kill."""
        if not self.file.is_file():
            return []
        records = []
        for line in self.file.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except ValueError:
                break
        return records

    def keep_before(self, epoch: int) -> None:
        """Delete the records from `epoch` on, which a resumed run will write again."""
        kept = [record for record in self.read() if record["epoch"] < epoch]
        with atomic_write(self.file) as partial:
            partial.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
