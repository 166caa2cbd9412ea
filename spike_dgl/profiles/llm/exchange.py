"""Export of texts from a store and import into one, in this program's format and in the authors' format.

This program's file has raw ids and models, the authors' files have row numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from spike_dgl.data.dataset import Dataset, Vocabulary
from spike_dgl.data.files import read_text
from spike_dgl.data.training import TrainingData
from spike_dgl.errors import DataError
from spike_dgl.profiles.llm.pipeline import Pipeline
from spike_dgl.profiles.llm.store import Store
from spike_dgl.profiles.options import ProfileOptions
from spike_dgl.profiles.records import STAGES, NodeType, vocabulary_of
from spike_dgl.profiles.text_files import file_name, read_rows, write_rows

OWN_FILE = "profiles.json"


@dataclass(frozen=True)
class ExportedText:
    """A profile and the model that wrote it."""

    text: str
    model: str


_OWN_LAYOUT = TypeAdapter(dict[NodeType, dict[str, ExportedText]])


def export_texts(
    folder: Path, dataset: Dataset, options: ProfileOptions, store: Store
) -> dict[NodeType, int]:
    """Write the answers and imported texts that training would use.

    Parameters
    ----------
    folder
        Output folder for ``profiles.json`` with raw ids and models, and for the authors' ``item_profiles.json``,
        ``entity_profiles.json`` and ``user_profiles.json`` with row numbers.
    dataset, options, store
        Data, settings and store that determine the texts.

    Returns
    -------
    dict
        Number of texts by node type.
    """
    pipeline = Pipeline(dataset, options, store)
    own: dict[NodeType, dict[str, dict[str, str]]] = {}
    folder.mkdir(parents=True, exist_ok=True)
    for node_type in STAGES:
        written = pipeline.settle(node_type, store.answers)
        texts = {row: answer.text for row, answer in written.items()}
        write_rows(folder / file_name(node_type), node_type, texts, pipeline.data)
        ids = vocabulary_of(node_type, pipeline.data).ids
        own[node_type] = {
            ids[row]: {"text": answer.text, "model": answer.model} for row, answer in sorted(written.items())
        }
    content = json.dumps(own, ensure_ascii=False, indent=1)
    (folder / OWN_FILE).write_text(content + "\n", encoding="utf-8")
    return {node_type: len(texts) for node_type, texts in own.items()}


def import_texts(file: Path, data: TrainingData, store: Store) -> dict[NodeType, int]:
    """Import the texts of a file into a store, as answers for their nodes. No requests are sent for these nodes.

    Parameters
    ----------
    file
        An authors' file, recognized by its name, or a file in the format of ``profiles.json`` with any other name.
    data
        Data set of the nodes.
    store
        Store to add the texts to.

    Returns
    -------
    dict
        Number of texts by node type.

    Raises
    ------
    DataError
        If the file is missing or damaged, or has a node that is not in the data set. Nothing is imported then.
    """
    of_authors = {file_name(node_type): node_type for node_type in STAGES}
    node_type = of_authors.get(file.name)
    found = _read_own(file, data) if node_type is None else _of_authors(file, node_type, data)
    for node_type, texts in found.items():
        for model in {text.model for text in texts.values()}:
            chosen = {raw: text.text for raw, text in texts.items() if text.model == model}
            store.import_texts(node_type, chosen, model)
    return {node_type: len(texts) for node_type, texts in found.items()}


def _of_authors(
    file: Path, node_type: NodeType, data: TrainingData
) -> dict[NodeType, dict[str, ExportedText]]:
    ids = vocabulary_of(node_type, data).ids
    texts = read_rows(file, node_type, data)
    return {node_type: {ids[row]: ExportedText(text, "imported") for row, text in texts.items()}}


def _read_own(file: Path, data: TrainingData) -> dict[NodeType, dict[str, ExportedText]]:
    try:
        found = _OWN_LAYOUT.validate_json(read_text(file), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole file"
        remedy = f"Expected the format of {OWN_FILE} that profile export writes, or one of the authors' file names."
        raise DataError(file, f"{where}: {first['msg']}", remedy) from None
    for node_type, texts in found.items():
        _check_ids(file, texts, vocabulary_of(node_type, data))
    return found


def _check_ids(file: Path, texts: Mapping[str, ExportedText], vocabulary: Vocabulary) -> None:
    for raw in texts:
        if raw not in vocabulary:
            problem = f"has a text of {vocabulary.kind} '{raw}', which the data set does not have"
            raise DataError(file, problem, "Use the data set from which it was exported: data.path=FOLDER.")
