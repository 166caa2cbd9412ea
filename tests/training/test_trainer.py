"""The trainer: learning, exact resuming, stopping by signal, and stopping at NaN."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from spike_dgl.dgl_import import dgl
from spike_dgl.errors import DataError
from spike_dgl.graph import build_graph
from spike_dgl.models.base import Batch, Embeddings, ModelInputs
from spike_dgl.models.spike import Spike
from spike_dgl.models.spike.options import SpikeOptions
from spike_dgl.runs.metrics_log import MetricsLog
from spike_dgl.training.interrupt import Interrupted
from spike_dgl.training.options import TrainingOptions
from spike_dgl.training.sampling import BprSampler
from spike_dgl.training.seeding import seed_everything
from spike_dgl.training.trainer import Trainer, TrainingDivergedError, learning_rate_factor
from tests.toy import random_dataset

DATA = random_dataset(3, sizes=(20, 25, 40, 3), density=150)


FANOUTS = pytest.mark.parametrize("fanout", [(), (2, 3)], ids=["whole graph", "sampled"])


def trainer(
    folder: Path, *, validate: bool = True, fanout: tuple[int, ...] = (), **options: object
) -> Trainer:
    settings = TrainingOptions(**{"batch_size": 32, "epochs": 4, "metric": "score", **options})
    seed_everything(settings.seed)
    generator = torch.Generator().manual_seed(1)
    vectors = (torch.randn(n, 8, generator=generator) for n in (DATA.num_users, DATA.num_entities))
    model = Spike(
        ModelInputs(build_graph(DATA), *vectors),
        SpikeOptions(embedding_dim=8, matching_weight=0.1, fanout=fanout),
    )
    sampler = BprSampler(DATA.train, 20, 25, batch_size=settings.batch_size, seed=settings.seed)
    return Trainer(
        model,
        sampler,
        settings,
        folder=folder,
        log=MetricsLog(folder / "metrics.jsonl"),
        validate=made_up_score if validate else None,
        progress=False,
    )


def made_up_score(embeddings: Embeddings) -> dict[str, float]:
    return {"score": float((embeddings.users @ embeddings.items.T).std())}


def records(folder: Path) -> list[dict[str, float]]:
    """Return the epoch records without times."""
    return [
        {key: value for key, value in record.items() if "seconds" not in key}
        for record in MetricsLog(folder / "metrics.jsonl").read()
    ]


def assert_same_state(ours: Path, theirs: Path) -> None:
    """Compare `last.pt` of two folders, bit for bit, without times."""
    a, b = (torch.load(folder / "last.pt", weights_only=True) for folder in (ours, theirs))
    for key in a.keys() - {"seconds", "epoch_seconds"}:
        assert_identical(a[key], b[key], key)


def assert_identical(a: object, b: object, where: str) -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_identical(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list):
        for position, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_identical(x, y, f"{where}[{position}]")
    else:
        assert a == b, where


def folders(tmp_path: Path, *names: str) -> list[Path]:
    paths = [tmp_path / name for name in names]
    for path in paths:
        path.mkdir()
    return paths


def test_the_loss_goes_down_and_everything_is_logged(tmp_path: Path) -> None:
    trainer(tmp_path, epochs=15, learning_rate=0.01, patience=None).fit()
    log = records(tmp_path)
    assert [record["epoch"] for record in log] == list(range(1, 16))
    assert log[-1]["loss/softmax"] < log[0]["loss/softmax"]
    assert log[0]["loss"] == pytest.approx(log[0]["loss/softmax"] + log[0]["loss/matching"])
    assert log[0]["gradient_norm/softmax"] > 0
    assert log[0]["gradient_norm/matching"] > 0


@FANOUTS
def test_two_and_two_epochs_are_four_bit_for_bit(tmp_path: Path, fanout: tuple[int, ...]) -> None:
    whole, parts = folders(tmp_path, "whole", "parts")
    trainer(whole, fanout=fanout).fit()
    trainer(parts, fanout=fanout, epochs=2).fit()
    resumed = trainer(parts, fanout=fanout)
    dgl.seed(99)
    torch.randn(100)  # random draws in between must not matter
    resumed.restore()
    resumed.fit()
    assert_same_state(whole, parts)
    assert records(whole) == records(parts)
    assert torch.load(whole / "best.pt")["epoch"] == torch.load(parts / "best.pt")["epoch"]


def after_steps(count: int, act: Callable[[], None]) -> type[Spike]:
    """Model that calls a function in its `count`-th loss."""

    class Acting(Spike):
        losses = 0

        def loss(self, batch: Batch) -> dict[str, torch.Tensor]:
            Acting.losses += 1
            if Acting.losses == count:
                act()
            return super().loss(batch)

    return Acting


@FANOUTS
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_mid_epoch_saves_and_the_run_goes_on_as_if_nothing_happened(
    tmp_path: Path, number: signal.Signals, fanout: tuple[int, ...]
) -> None:
    whole, parts = folders(tmp_path, "whole", "parts")
    trainer(whole, fanout=fanout).fit()
    stopped = trainer(parts, fanout=fanout)
    stopped.model.__class__ = after_steps(len(stopped.sampler) + 2, lambda: os.kill(os.getpid(), number))
    with pytest.raises(Interrupted, match="--resume") as raised:
        stopped.fit()
    assert raised.value.signal_number == number
    assert torch.load(parts / "last.pt")["step"] == 2
    resumed = trainer(parts, fanout=fanout)
    dgl.seed(99)
    resumed.restore()
    resumed.fit()
    assert_same_state(whole, parts)
    assert records(whole) == records(parts)


def test_signals_have_their_usual_effect_again_after_training(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    trainer(tmp_path, epochs=1).fit()
    assert signal.getsignal(signal.SIGTERM) == before


def test_nan_stops_with_advice_and_spares_the_last_checkpoint(tmp_path: Path) -> None:
    run = trainer(tmp_path, epochs=4)

    def poison() -> None:
        with torch.no_grad():
            run.model.embedding.fill_(float("nan"))

    run.model.__class__ = after_steps(len(run.sampler) * 2 + 1, poison)
    with pytest.raises(TrainingDivergedError, match=r"epoch 3.*\n.*learning_rate=0.0003"):
        run.fit()
    saved = torch.load(tmp_path / "last.pt")
    assert saved["epoch"] == 3
    assert saved["model"]["embedding"].isfinite().all()


def test_parameters_that_the_last_step_of_an_epoch_broke_are_noticed(tmp_path: Path) -> None:
    run = trainer(tmp_path, epochs=4)
    step, steps = run.optimizer.step, itertools.count(1)

    def break_parameters() -> None:
        step()
        if next(steps) == 2 * len(run.sampler):  # its loss was finite
            with torch.no_grad():
                run.model.embedding[0] = float("inf")

    run.optimizer.step = break_parameters
    with pytest.raises(TrainingDivergedError, match=r"some parameters are not finite in epoch 2"):
        run.fit()
    assert torch.load(tmp_path / "last.pt")["epoch"] == 2
    assert [record["epoch"] for record in records(tmp_path)] == [1]


def test_patience_ends_training_and_the_best_epoch_is_kept(tmp_path: Path) -> None:
    run = trainer(tmp_path, epochs=50, patience=3)
    values = iter([0.1, 0.5, 0.4, 0.3, 0.2, 0.9])
    run.validate = lambda embeddings: {"score": next(values)}
    run.fit()
    assert len(records(tmp_path)) == 5
    assert torch.load(tmp_path / "best.pt")["epoch"] == 2


@pytest.mark.parametrize("options", [{"keep": "last"}, {"validate": False}])
def test_the_last_epoch_is_reported_where_asked_or_where_nothing_validates(
    tmp_path: Path, options: dict
) -> None:
    run = trainer(tmp_path, **options)
    run.fit()
    best = torch.load(tmp_path / "best.pt")
    assert best["epoch"] == 4
    assert_identical(best["model"], dict(run.model.state_dict()), "model")


def test_a_broken_checkpoint_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such checkpoint"):
        trainer(tmp_path).restore()
    trainer(tmp_path, epochs=1).fit()
    whole = (tmp_path / "last.pt").read_bytes()
    for broken in (b"", b"junk", whole[: len(whole) // 2]):
        (tmp_path / "last.pt").write_bytes(broken)
        with pytest.raises(DataError, match="not a readable checkpoint"):
            trainer(tmp_path).restore()


def test_learning_rate_warms_up_and_decays() -> None:
    options = TrainingOptions(schedule="cosine", warmup_steps=4)
    factors = [learning_rate_factor(step, 104, options) for step in range(104)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4] == 1.0
    assert all(b <= a for a, b in itertools.pairwise(factors[4:]))
    assert factors[54] == pytest.approx(0.505)
    assert 0.01 <= factors[-1] < 0.012
