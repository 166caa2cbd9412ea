"""Lists of models that store no embeddings: those of evaluation, and a clear sentence for what they cannot do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from spike_dgl.errors import DataError, SpikeError
from spike_dgl.models.base import EmbeddingModel, registered_models
from spike_dgl.recommend import Recommender
from spike_dgl.recommend.embedding_files import write_embeddings
from spike_dgl.recommend.fitted import FittedRecommender
from spike_dgl.recommend.list_files import write_lists
from spike_dgl.runs.config import RunConfig
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.set_up import reopen, start
from tests.command_line import run_command
from tests.toy import random_dataset

FITTED = [name for name, entry in registered_models().items() if not issubclass(entry.model, EmbeddingModel)]


def set_up(data: Path, run: Path, model: str) -> Path:
    """Write the set-up files of a run, all that a model without epochs needs."""
    settings = {
        "data": {"path": str(data)},
        "model": {"name": model},
        "profiles": {"source": "template", "vector_dim": 16} if "text" in model else {"source": "none"},
        "training": {"threads": 1, "device": "cpu"},
    }
    start(RunConfig.from_mapping(settings), RunFolder.create(run))
    return run


@pytest.mark.parametrize("name", FITTED)
def test_lists_of_every_fitted_model_are_those_of_its_evaluation(
    data_folder: Path, tmp_path: Path, name: str
) -> None:
    if name not in ("popularity", "item-cosine", "item-text-cosine", "gf-cf"):
        pytest.importorskip("irspack")
    run = set_up(data_folder, tmp_path / "run", name)
    recommender = Recommender.load(run)
    assert isinstance(recommender, FittedRecommender)
    experiment = reopen(RunFolder.open(run))
    scores = experiment.best_scores()
    test = experiment.evaluate(scores, "test")
    k = test.ranked.shape[1]
    ids = recommender.items.ids
    users = [recommender.users.ids[user] for user in test.users]
    for listed, ranked in zip(recommender.recommend(users, k), test.ranked, strict=True):
        assert [item.id for item in listed] == [ids[row] for row in ranked if row >= 0]
    one = recommender.recommend(users[3], k, exclude_seen=False, candidates=ids[:7])
    of_user = scores(torch.tensor([test.users[3]]))[0, :7].tolist()
    best = sorted(range(7), key=lambda row: -of_user[row])
    assert [item.id for item in one] == [ids[row] for row in best]
    assert [item.score for item in one] == pytest.approx(sorted(of_user, reverse=True), rel=1e-5)
    assert recommender.score(users[3], [item.id for item in one]) == pytest.approx(
        [item.score for item in one], rel=1e-5
    )


@pytest.fixture(scope="module")
def run(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return set_up(data_folder, tmp_path_factory.mktemp("fitted") / "run", "item-cosine")


@pytest.mark.parametrize(
    "ask",
    [
        lambda recommender: recommender.recommend_for_items(["0"]),
        lambda recommender: recommender.recommend_for_text("a space adventure"),
        lambda recommender: recommender.add_item("new", text="a film"),
        lambda recommender: recommender.similar_items("0"),
        lambda recommender: write_embeddings(recommender, "nowhere"),
    ],
)
def test_the_model_is_named_if_it_cannot_do_it(run: Path, ask: Callable[[Recommender], object]) -> None:
    with pytest.raises(SpikeError, match=r"^the model is item-cosine, which stores no embeddings.*\n.*spike"):
        ask(Recommender.load(run))


def test_a_trained_model_that_is_not_finished_is_not_fitted(data_folder: Path, tmp_path: Path) -> None:
    run = set_up(data_folder, tmp_path / "run", "lightgcn")
    with pytest.raises(DataError, match=r"embeddings\.npz: cannot be read"):
        Recommender.load(run)


def test_a_user_without_history_gets_what_is_popular_between_the_lists_of_others() -> None:
    data = random_dataset(0)
    data = data.replace(train=data.train.select(data.train.users != 2))
    scores = np.random.default_rng(0).normal(size=(data.num_users, data.num_items))
    fitted = FittedRecommender(data, lambda users: torch.from_numpy(scores)[users], "mine")
    first, popular, last = fitted.recommend(["u1", "u2", "u1"], 3)
    assert first == last == fitted.recommend("u1", 3)
    assert popular == fitted.recommend("u2", 3)
    assert not fitted.has_history("u2")
    assert [item.score for item in popular] == sorted(
        (count for row, count in enumerate(np.bincount(data.train.items, minlength=data.num_items))
         if row not in data.valid.items[data.valid.users == 2]),
        reverse=True,
    )[:3]  # fmt: skip


def test_lists_from_the_command_line(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lists.jsonl"
    code, out, error = run_command(monkeypatch, capsys, "recommend", run, "--all-users", "--out", file)
    assert code == 0, error
    assert out == f"30 lists -> {file}\n"
    write_lists(Recommender.load(run), tmp_path / "same.jsonl")
    assert file.read_bytes() == (tmp_path / "same.jsonl").read_bytes()
    code, out, _ = run_command(monkeypatch, capsys, "recommend", run, "--user", "7", "--json")
    assert (code, out) == (0, file.read_text(encoding="utf-8").splitlines(keepends=True)[7])
    code, _, error = run_command(monkeypatch, capsys, "recommend", run, "--text", "space")
    assert code == 2
    assert "the model is item-cosine" in error


def test_its_training_ends_with_a_list(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = (f"data.path={data_folder}", "model.name=popularity", "profiles.source=none")
    out = tmp_path / "run"
    code, shown, error = run_command(monkeypatch, capsys, "train", *settings, "--quiet", "--out", out)
    assert code == 0, error
    best = Recommender.load(out).recommend("0", 1)[0]
    assert f"   1  {best.score:7.3f}  {best.name}  [{best.id}]\n" in shown
    assert f"main.py recommend {out} --user 0" in shown


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_one_clear_error(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for asked in (["recommend", run, "--user", "1"], ["serve", run, "--port", "0"]):
        code, _, error = run_command(monkeypatch, capsys, *asked, "--device", "cuda")
        assert code == 2
        assert "device is 'cuda', but torch" in error
