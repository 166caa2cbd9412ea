"""Users without training interactions are ranked by popularity, in evaluation as in recommendation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from spike_dgl.api import Run, train
from spike_dgl.evaluation import evaluate
from spike_dgl.evaluation.cold_users import popular_for_cold_users
from tests.toy import dataset

DATA = dataset(
    [(0, 2), (1, 2), (1, 1)], [(0, 0, 4)], sizes=(3, 4, 5, 1), test=[(0, 1), (2, 2)], valid=[(2, 1)]
)


def test_only_cold_users_have_the_scores_of_popularity() -> None:
    own = torch.arange(12.0).reshape(3, 4)
    scores = popular_for_cold_users(lambda users: own[users], DATA)
    assert scores(torch.tensor([2, 0])).tolist() == [[0, 1, 2, 0], [0, 1, 2, 3]]
    of_warm = DATA.replace(train=DATA.train.union(DATA.test))
    assert popular_for_cold_users(score := lambda users: own[users], of_warm) is score


@pytest.fixture(scope="module")
def folder(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny data, in which user 0 has test interactions only."""
    folder = tmp_path_factory.mktemp("cold") / "data"
    folder.mkdir()
    for name in ("train.txt", "test.txt", "kg_final.txt"):
        (folder / name).write_text((data_folder / name).read_text())
    lines = (folder / "train.txt").read_text().splitlines()
    (folder / "train.txt").write_text("\n".join(["0", *lines[1:]]) + "\n")
    return folder


@pytest.mark.parametrize("model", ["lightgcn", "item-cosine", "popularity"])
def test_a_run_is_evaluated_with_the_lists_that_it_recommends(
    model: str, folder: Path, tmp_path: Path
) -> None:
    none = {"profiles.source": "none"}
    run = train(folder, model=model, settings=none, out=tmp_path / "run", epochs=1, threads=1, progress=False)
    assert isinstance(run, Run)
    data = run.dataset
    counts = np.bincount(data.train.items, minlength=data.num_items)
    by_popularity = evaluate(
        lambda users: torch.from_numpy(counts).float().expand(len(users), -1), data, "test"
    )
    tested = run.evaluate("test")
    assert tested.users[0] == 0
    assert tested.ranked[0].tolist() == by_popularity.ranked[0].tolist()
    if model == "lightgcn":
        assert [item.id for item in run.recommend("0", 5)] == [
            data.items.ids[row] for row in tested.ranked[0][:5]
        ]
        assert tested.ranked[1].tolist() != by_popularity.ranked[1].tolist()
