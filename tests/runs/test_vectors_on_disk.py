"""Text vectors on disk: the same training as in memory, rows gathered from a mapped file, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from spike_dgl.data.dataset import NodeVectors
from spike_dgl.errors import ConfigError, SpikeError
from spike_dgl.graph import build_graph
from spike_dgl.models.base import Batch, ModelInputs
from spike_dgl.models.spike import Spike, SpikeOptions
from spike_dgl.profiles.encoders.cache import VectorCache, encode_once
from spike_dgl.runs.config import RunConfig
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.set_up import open_fold_in, start
from spike_dgl.runs.text_vectors import ON_DISK, TextVectors, new_table_on_disk
from spike_dgl.training.seeding import seed_everything
from tests.toy import random_dataset

USERS, ITEMS = 12, 15


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    """Data set whose vectors float16 holds exactly; entity 3 has none."""
    folder = tmp_path / "data"
    folder.mkdir()
    random = np.random.default_rng(0)
    liked = [random.permutation(ITEMS)[:6].tolist() for _ in range(USERS)]
    for name, part in (("train", slice(5)), ("test", slice(5, 6))):
        lines = (f"{user} {' '.join(map(str, items[part]))}" for user, items in enumerate(liked))
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (folder / "kg_final.txt").write_text("".join(f"{item} 0 {ITEMS + item % 2}\n" for item in range(ITEMS)))
    for kind, number in (("user", USERS), ("item", ITEMS), ("entity", 2)):
        rows = random.standard_normal((number, 4)).astype(np.float16).astype(np.float32)
        if kind == "item":
            rows[3] = 0.0
        np.savez(folder / f"{kind}_embeddings.npz", ids=np.arange(number), embeddings=rows)
    return folder


def config(folder: Path, **settings: object) -> RunConfig:
    model = {"name": "spike", "embedding_dim": 8, "fanout": [2, 2], **settings.pop("model", {})}
    training = {"epochs": 2, "batch_size": 16, "threads": 1, "patience": None}
    data = {"path": str(folder), "valid_fraction": 0.2}
    return RunConfig.from_mapping({"data": data, "model": model, "training": training, "profiles": settings})


def trained(settings: RunConfig, out: Path) -> RunFolder:
    folder = RunFolder.create(out)
    start(settings, folder).train(progress=False)
    return folder


def test_a_run_with_vectors_on_disk_is_that_with_vectors_in_memory(data_folder: Path, tmp_path: Path) -> None:
    memory = trained(config(data_folder), tmp_path / "memory")
    disk = trained(config(data_folder, vectors_on_disk=True), tmp_path / "disk")
    assert not disk.file("profiles.npz").exists()
    ours, theirs = (torch.load(folder.file("best.pt"))["model"] for folder in (disk, memory))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    ours, theirs = (json.loads(folder.file("result.json").read_text()) for folder in (disk, memory))
    assert ours["test"] == theirs["test"]
    assert ours["test_beyond_accuracy"] == theirs["test_beyond_accuracy"]
    new_users = [
        open_fold_in(folder, folder.load_dataset(), folder.read_arrays("embeddings.npz"))
        .users_of_profiles(np.eye(4, dtype=np.float32))
        for folder in (disk, memory)
    ]  # fmt: skip
    np.testing.assert_allclose(*new_users)


def test_the_file_is_mapped_and_only_read(data_folder: Path, tmp_path: Path) -> None:
    run = start(config(data_folder, vectors_on_disk=True), RunFolder.create(tmp_path / "run"))
    model = run.model
    assert isinstance(model, Spike)
    assert model.inject.user_vectors.dtype == torch.float16
    assert not any("vectors" in name for name, _ in model.named_buffers())
    found = TextVectors.of_run(run.folder, USERS)
    assert isinstance(found.users, np.memmap)
    assert not found.users.flags.writeable
    assert model.inject.profiled.tolist() == [row for row in range(USERS + ITEMS + 2) if row != USERS + 3]
    run.folder.unlock()


def test_rounded_vectors_change_the_loss_by_their_rounding() -> None:
    data = random_dataset(4)
    losses = []
    for dtype in (torch.float32, torch.float16):
        seed_everything(0)
        vectors = [torch.randn(n, 5).to(dtype) for n in (data.num_users, data.num_entities)]
        model = Spike(ModelInputs(build_graph(data), *vectors), SpikeOptions(embedding_dim=8, fanout=(2, 2)))
        batch = Batch(torch.tensor([0, 1]), torch.tensor([0, 3]), torch.tensor([1, 2]))
        losses.append(torch.stack(list(model.train().loss(batch).values())))
    assert not torch.equal(*losses)
    torch.testing.assert_close(*losses, rtol=2e-3, atol=0.0)


class Numbers:
    """Encoder of a text to its length."""

    name, batch_size, max_tokens, cut_texts, on_retry, largest = "numbers", 2, None, 0, None, 0

    def encode(self, texts: list[str]) -> np.ndarray:
        self.largest = max(self.largest, len(texts))
        return np.array([[len(text), 1.0] for text in texts], np.float32)


def test_vectors_of_an_encoder_go_from_the_cache_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spike_dgl.profiles.encoders.cache.AT_ONCE", 2)
    read, sizes = VectorCache.read, []

    def counted(self: VectorCache, encoder: str, hashes: list[str]) -> dict[str, np.ndarray]:
        sizes.append(len(hashes))
        return read(self, encoder, hashes)

    monkeypatch.setattr(VectorCache, "read", counted)
    texts = ["a", "", "bbb", "a", "cc"]
    with VectorCache.open(tmp_path / "cache.sqlite") as cache:
        for _ in range(2):  # the second time, all are cached
            table = encode_once(Numbers(), texts, cache, new_table=new_table_on_disk(tmp_path))
            assert isinstance(table, np.memmap)
            assert table.dtype == np.float16
            assert table.tolist() == [[1, 1], [0, 0], [3, 1], [1, 1], [2, 1]]
    assert max(sizes) == 2  # never all vectors in memory


@pytest.mark.parametrize("model", [{"fanout": []}, {"name": "lightgcn"}])
def test_models_that_read_all_vectors_in_a_step_are_refused(
    model: dict, data_folder: Path, tmp_path: Path
) -> None:
    if "name" in model:
        settings = RunConfig.from_mapping(
            {"data": {"path": str(data_folder)}, "model": model, "profiles": {"vectors_on_disk": True}}
        )
    else:
        settings = config(data_folder, model=model, vectors_on_disk=True)
    with pytest.raises(ConfigError, match=r"vectors_on_disk.*\n.*model\.fanout"):
        start(settings, RunFolder.create(tmp_path / "run"))


def test_vectors_beyond_float16_are_an_error_and_not_infinite(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    vectors = TextVectors(np.ones((2, 3), np.float32), np.full((2, 3), 1e6, np.float32))
    with pytest.raises(SpikeError, match=r"too large for float16.*\n.*vectors_on_disk"):
        vectors.write(folder, on_disk=True)
    assert not folder.file(ON_DISK).exists()
    folder.unlock()


def test_the_data_sets_own_vectors_are_rounded_once(tmp_path: Path) -> None:
    given = NodeVectors(np.full((2, 3), 0.1, np.float32), np.full((3, 3), -0.7, np.float32))
    folder = RunFolder.create(tmp_path / "run")
    mapped = TextVectors(given.users, given.entities).write(folder, on_disk=True)
    assert mapped.users.shape == (2, 3)
    assert np.array_equal(mapped.dense["entities"], np.float32(np.float16(given.entities)))
    folder.unlock()
