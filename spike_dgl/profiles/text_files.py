"""Profile texts in the authors' files: ``user_profiles.json``, ``item_profiles.json``, ``entity_profiles.json``.

Each contains a JSON object that maps row numbers to texts. Numbers of auxiliary entities start at 0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from spike_dgl.data.dataset import NodeTexts
from spike_dgl.data.files import read_text_map
from spike_dgl.data.training import TrainingData
from spike_dgl.errors import DataError
from spike_dgl.profiles.records import STAGES, NodeType, rows_of


def file_name(node_type: NodeType) -> str:
    """Return the authors' file name for the texts of a node type."""
    return f"{node_type}_profiles.json"


def read_folder(folder: Path, data: TrainingData) -> NodeTexts:
    """Read the text files of a folder.

    Raises
    ------
    DataError
        If none of the three files exists, or one is damaged or has a row that the data set does not have.
    """
    files = {node_type: folder / file_name(node_type) for node_type in STAGES}
    found = {
        node_type: read_rows(file, node_type, data) for node_type, file in files.items() if file.exists()
    }
    if not found:
        names = ", ".join(map(file_name, STAGES))
        raise DataError(folder, "contains no profile texts", f"Expected at least one of {names}.")
    return NodeTexts(found.get("user", {}), found.get("item", {}) | found.get("entity", {}))


def read_rows(file: Path, node_type: NodeType, data: TrainingData) -> dict[int, str]:
    """Read the texts of one file by row of the data set. Raises `DataError` for a row that it does not have."""
    rows, texts = rows_of(node_type, data), read_text_map(file)
    outside = [row for row in texts if row >= len(rows)]
    if outside:
        problem = f"has a text of {node_type} {outside[0]}, but the data set has rows 0 to {len(rows) - 1}"
        raise DataError(file, problem, "Check that the file belongs to this data set and node type.")
    return {rows[row]: text for row, text in texts.items()}


def write_rows(file: Path, node_type: NodeType, texts: Mapping[int, str], data: TrainingData) -> None:
    """Write texts by row of the data set in the authors' format."""
    first = rows_of(node_type, data).start
    by_number = {str(row - first): texts[row] for row in sorted(texts)}
    file.write_text(json.dumps(by_number, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
