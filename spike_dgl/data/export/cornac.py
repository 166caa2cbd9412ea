"""Export to Cornac's (user, item, rating) triples, one file per split; every rating is 1."""

from __future__ import annotations

from pathlib import Path

from spike_dgl.data.dataset import Dataset, Interactions
from spike_dgl.data.export.tables import check_ids, parts_of, raw_pairs, write_table

HOW_TO_READ = """Cornac reads these files with

```python
from cornac.data import Reader
from cornac.eval_methods import BaseMethod

parts = {{part: Reader().read(f"FOLDER/{{part}}.uir", fmt="UIR", sep="\\t") for part in {parts}}}
method = BaseMethod.from_splits(
    train_data=parts["train"], test_data=parts["test"], val_data=parts.get("valid"), exclude_unknowns=False
)
```"""


def user_item_rating(dataset: Dataset, pairs: Interactions) -> list[tuple[str, str, float]]:
    """Return interactions as (user, item, rating) with raw ids, as Cornac's Python API takes them."""
    return [(user, item, 1.0) for user, item in raw_pairs(dataset, pairs)]


def write(dataset: Dataset, folder: Path) -> list[Path]:
    """Write ``train.uir``, ``valid.uir`` and ``test.uir``; return their paths.

    Parameters
    ----------
    dataset
        Data set to write.
    folder
        Existing folder to write to.

    Raises
    ------
    DataError
        If a raw id contains a tab or a line break.
    """
    check_ids(dataset.users, dataset.items)
    return [
        write_table(
            folder / f"{part}.uir",
            ((user, item, "1") for user, item in raw_pairs(dataset, pairs)),
        )
        for part, pairs in parts_of(dataset).items()
    ]


def how_to_read(dataset: Dataset, folder: Path) -> str:  # noqa: ARG001  (all formats have the same signature)
    """Return instructions for loading the files in Cornac."""
    return HOW_TO_READ.format(parts=list(parts_of(dataset)))
