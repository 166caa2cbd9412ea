"""Loading of a data set from a folder in any known format."""

from __future__ import annotations

from pathlib import Path

from spike_dgl.data.dataset import Dataset
from spike_dgl.data.formats import FORMATS, Format
from spike_dgl.data.raw import assemble
from spike_dgl.errors import ConfigError, DataError, nearest

BUNDLED = "movielens"
BUNDLED_FOLDER = Path(__file__).parent / BUNDLED


def load_dataset(
    path: str | Path,
    *,
    format: str = "auto",
    valid_fraction: float = 0.1,
    seed: int = 2020,
    name: str | None = None,
) -> Dataset:
    """Read a data set: interactions, knowledge graph, names and texts.

    Parameters
    ----------
    path
        Folder of the data set, or ``"movielens"`` for the bundled one (write ``"./movielens"`` for a folder of that
        name).
    format
        ``"auto"`` (detected from the folder's files), ``"spike"`` or ``"recbole"``; see `spike_dgl.data.formats`.
    valid_fraction
        Share of each user's training pairs to use as validation split, if the data has none; 0 for no validation.
    seed
        Random seed of that split.
    name
        Name of the data set; the folder's name by default.

    Returns
    -------
    Dataset
        The data set. Repeated pairs and triples are dropped and counted in `Dataset.dropped`.

    Raises
    ------
    DataError
        If a file is missing or broken, or two files contradict each other.
    ConfigError
        If `format` is unknown or `valid_fraction` is not in [0, 1).

    Examples
    --------
    >>> dataset = load_dataset("movielens")
    >>> dataset.num_users > 500
    True
    """
    folder = folder_of(path)
    if not 0 <= valid_fraction < 1:
        raise ConfigError(f"valid_fraction must be at least 0 and less than 1, got {valid_fraction}")
    if format != "auto":
        chosen = _by_name(format)
        _check_folder(folder)
    else:
        _check_folder(folder)
        chosen = _by_content(folder)
    return assemble(chosen.read(folder), name or folder.resolve().name, valid_fraction, seed)


def folder_of(path: str | Path) -> Path:
    """Return the folder of a data set; of the bundled one for its name."""
    return BUNDLED_FOLDER if path == BUNDLED else Path(path)


def _check_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    problem = "is a file, not a folder" if folder.exists() else "no such folder"
    raise DataError(
        folder, problem, f"Give the folder with the data set's files, or '{BUNDLED}' for the bundled data."
    )


def _by_name(name: str) -> Format:
    for candidate in FORMATS:
        if name == candidate.NAME:
            return candidate
    known = ["auto", *(candidate.NAME for candidate in FORMATS)]
    raise ConfigError(f"unknown data format '{name}'; {nearest(name, known)}\n{_needs()}")


def _by_content(folder: Path) -> Format:
    matching = [candidate for candidate in FORMATS if candidate.recognises(folder)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        names = " and ".join(f"'{candidate.NAME}'" for candidate in matching)
        raise DataError(folder, f"has files of the formats {names}", "Set the format to one of them.")
    files = sorted(entry.name for entry in folder.iterdir())
    shown = ", ".join(files[:12]) + (", ..." if len(files) > 12 else "") or "nothing"
    raise DataError(folder, f"has no known data format; its files are {shown}", _needs())


def _needs() -> str:
    """Return the files that each format needs, one line per format."""
    lines = [f"    {candidate.NAME}: {candidate.NEEDS}" for candidate in FORMATS]
    return "Each format needs:\n" + "\n".join(lines)
