"""Training on a device: placement of tensors, synchronisation of a GPU, mixed precision, and error messages.

Without a GPU, two things replace it. Torch's fake tensors have a device and a shape but no values, so that mixing
devices, or reading a value, is an error. And the code of other devices runs on the CPU, where its numbers are compared
with those of the compiled code.
"""

from __future__ import annotations

import copy
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

from spike_dgl.errors import ConfigError
from spike_dgl.graph import build_graph
from spike_dgl.measure.same_draws import DrawnOnCpu, options_without_dropout
from spike_dgl.models.base import Batch, EmbeddingModel, ModelInputs, model_entry, registered_models
from spike_dgl.models.spike import Spike, SpikeOptions, SpikeQuirks
from spike_dgl.nn import dispatch
from spike_dgl.runs.metrics_log import MetricsLog
from spike_dgl.training import sampling
from spike_dgl.training.devices import choose_device
from spike_dgl.training.options import TrainingOptions
from spike_dgl.training.sampling import BprSampler
from spike_dgl.training.seeding import seed_everything
from spike_dgl.training.trainer import Trainer, final_embeddings
from tests.toy import random_dataset, with_random_times

DATA = with_random_times(random_dataset(3, sizes=(20, 25, 40, 3), density=150))
BATCH = Batch(torch.arange(9), torch.arange(9), torch.arange(9, 18))
CUDA = torch.device("cuda")
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")),
]
TRAINED = [name for name, entry in registered_models().items() if issubclass(entry.model, EmbeddingModel)]
WITHOUT_WAITING = [name for name in TRAINED if name != "sas-rec"]
"""Models whose step waits for no value; SASRec's waits for the number of items that it predicts."""
SAMPLED = SpikeOptions(
    embedding_dim=8, backend="torch", l2_weight=0.1, matching_sample_ratio=0.5, fanout=(2, 2)
)
EVERY_DRAW = replace(SAMPLED, fanout=(), quirks=SpikeQuirks(masked_edges=5))


def model_on(device: torch.device, options: SpikeOptions = EVERY_DRAW) -> Spike:
    seed_everything(1)
    vectors = (torch.randn(n, 8) for n in (DATA.num_users, DATA.num_entities))
    return Spike(ModelInputs(build_graph(DATA), *vectors, device=device), options).to(device)


def any_model(name: str, device: torch.device, **options: Any) -> EmbeddingModel:
    seed_everything(1)
    vectors = (torch.rand(n, 8) for n in (DATA.num_users, DATA.num_entities))
    entry = model_entry(name)
    model = entry.model(ModelInputs(build_graph(DATA), *vectors, device=device), entry.options(**options))
    assert isinstance(model, EmbeddingModel)
    return model.to(device)


def without_dropout(name: str, device: torch.device) -> EmbeddingModel:
    """Create a model in training mode, so that its loss has all terms, without dropout."""
    model = any_model(name, device, **options_without_dropout(model_entry(name).options))
    return model.train()


def trainer(
    folder: Path, device: torch.device, model: EmbeddingModel | None = None, **options: Any
) -> Trainer:
    settings = TrainingOptions(**{"epochs": 15, "batch_size": 32, "learning_rate": 0.01, **options})
    sampler = BprSampler(DATA.train, 20, 25, batch_size=settings.batch_size, seed=1, device=device)
    log = MetricsLog(folder / "metrics.jsonl")
    return Trainer(model or model_on(device), sampler, settings, folder=folder, log=log, progress=False)


def on_fake_gpu(thing: Any) -> Any:
    """Copy a model, a batch or their parts, with tensors on torch's device ``meta``."""
    if isinstance(thing, Tensor):
        tensor = torch.empty(thing.shape, dtype=thing.dtype, device="meta")
        return torch.nn.Parameter(tensor) if isinstance(thing, torch.nn.Parameter) else tensor
    if isinstance(thing, dict):
        return {key: on_fake_gpu(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        parts = [on_fake_gpu(value) for value in thing]
        return type(thing)(*parts) if hasattr(thing, "_fields") else type(thing)(parts)
    if type(thing).__module__.startswith(("spike_dgl.", "torch.nn.modules", "torch.nn.parameter")):
        copied = copy.copy(thing)
        vars(copied).update(on_fake_gpu(vars(thing)))
        return copied
    return thing


class NothingWithoutDevice(TorchFunctionMode):
    """Mode that fails if a tensor is created without a device."""

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        options = options or {}
        assert function not in _device_constructors() or "device" in options, function
        return function(*arguments, **options)


def assert_steps_stay_on_device(
    run: Trainer, batch: Batch, fake_mode: FakeTensorMode, *, num_parameters: int
) -> None:
    """Take two steps and compute the final embeddings; all results must be on the fake device."""
    run.optimizer.step = lambda: None  # torch's own, which counts its steps on the CPU
    with fake_mode, NothingWithoutDevice():
        for run.step in (0, 1):
            run._train_step(batch)
        final = final_embeddings(run.model)
    gradients = [parameter.grad for parameter in run.model.parameters()]
    assert len(gradients) == num_parameters
    for tensor in (*gradients, *run._totals.values(), final.users, final.items):
        assert tensor.device.type == "meta"


@pytest.mark.parametrize("name", WITHOUT_WAITING)
def test_a_step_of_every_model_mixes_no_devices_and_waits_for_no_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(dispatch, "COMPILED_FOR", set())
    model = any_model(name, torch.device("cpu"))
    model.loss(BATCH)  # derives the structure of the graph, which happens once
    with FakeTensorMode() as fake_mode:
        fake_model, batch = on_fake_gpu(model), on_fake_gpu(BATCH)
    monkeypatch.undo()
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    run = trainer(tmp_path, torch.device("cpu"), fake_model)
    assert_steps_stay_on_device(run, batch, fake_mode, num_parameters=len(list(model.parameters())))


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("device", DEVICES)
def test_a_step_of_every_model_on_a_device_equals_that_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, name: str, device: str
) -> None:
    results = []
    for place in ("cpu", device):
        model = without_dropout(name, torch.device(place)).double()
        rows = (rows.to(place) for rows in (BATCH.users, BATCH.positives, BATCH.negatives))
        with DrawnOnCpu(7):
            terms = model.loss(Batch(*rows))
        gradients = torch.autograd.grad(sum(terms.values()), list(model.parameters()), allow_unused=True)
        final = final_embeddings(model)
        given = [gradient for gradient in gradients if gradient is not None]
        results.append([t.cpu() for t in (*terms.values(), *given, final.users, final.items)])
        monkeypatch.setattr(dispatch, "COMPILED_FOR", set())  # the second time, as on a device
    assert len(results[0]) == len(results[1]) > 3
    for theirs, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


def test_batches_are_drawn_on_the_device_of_the_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = BprSampler(DATA.train, 20, 25, batch_size=32, seed=1)
    monkeypatch.setattr(sampling, "_generator", lambda *_: None)
    with FakeTensorMode() as fake_mode:
        sampler = on_fake_gpu(sampler)
    sampler.device = torch.device("meta")
    with fake_mode, NothingWithoutDevice():
        batches = list(sampler.epoch(1))
    assert sum(len(batch.users) for batch in batches) == len(DATA.train)
    for batch in batches:
        assert {rows.device.type for rows in vars(batch).values()} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", WITHOUT_WAITING)
def test_the_host_waits_for_nothing_in_a_step(tmp_path: Path, name: str) -> None:
    model = any_model(name, CUDA)
    run = trainer(tmp_path, CUDA, model)
    model.train()
    batches = list(run.sampler.epoch(1))
    for run.step in (0, 1):  # derives the structure of the graph and compiles kernels
        run._train_step(batches[0])
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for run.step in (2, 3):
            run._train_step(batches[1])
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_checkpoint_of_a_fused_optimizer_is_resumed_without_one(tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    run = trainer(tmp_path, cpu, epochs=1)
    run.optimizer = torch.optim.AdamW(run.parameters, lr=0.01, fused=True)  # as on a GPU
    run.fit()
    more = trainer(tmp_path, cpu, epochs=2)
    more.restore()
    assert not more.optimizer.param_groups[0]["fused"]
    more.fit()


@pytest.mark.parametrize("matching_sample_ratio", [0.5, 1.0])
def test_a_step_mixes_no_devices_and_waits_for_no_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, matching_sample_ratio: float
) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it does not know the device meta
    options = replace(EVERY_DRAW, matching_sample_ratio=matching_sample_ratio)
    model = model_on(torch.device("cpu"), options)
    with FakeTensorMode() as fake_mode:
        fake_model, batch = on_fake_gpu(model), on_fake_gpu(BATCH)
    run = trainer(tmp_path, torch.device("cpu"), fake_model)
    assert_steps_stay_on_device(run, batch, fake_mode, num_parameters=len(list(model.parameters())))


def test_a_step_on_a_sampled_neighbourhood_mixes_no_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    # There are no sparse operations on fake tensors.
    model = model_on(torch.device("cpu"), replace(SAMPLED, sparse_gradients=False))
    flow = model.views.sampler.draw(BATCH.rows(model.num_users))
    with FakeTensorMode() as fake_mode:
        fake_model, fake_flow, batch = on_fake_gpu(model), on_fake_gpu(flow), on_fake_gpu(BATCH)
        fake_flow = replace(fake_flow, blocks=tuple(on_fake_gpu(block) for block in flow.blocks))
    # Neighbours are sampled on the CPU, so this much is synchronised; the rest of the step is as above.
    fake_model.views.sampler.draw = lambda rows: fake_flow
    run = trainer(tmp_path, torch.device("cpu"), fake_model)
    run.optimizer.step = lambda: None
    with fake_mode, NothingWithoutDevice():
        for run.step in (0, 1):
            run._train_step(batch)
    assert {parameter.grad.device.type for parameter in run.model.parameters()} == {"meta"}


@pytest.mark.parametrize("device", DEVICES)
def test_a_sampled_step_on_a_device_equals_that_on_the_cpu(device: str) -> None:
    options = replace(SAMPLED, matching_sample_ratio=1.0, projection_dropout=0.0, message_dropout=0.0)
    results = []
    for place in ("cpu", device):
        model = model_on(torch.device(place), options).double().train()
        torch.manual_seed(7)
        rows = (rows.to(place) for rows in (BATCH.users, BATCH.positives, BATCH.negatives))
        terms = model.loss(Batch(*rows))
        gradients = torch.autograd.grad(sum(terms.values()), list(model.parameters()))
        final = final_embeddings(model)
        results.append([t.cpu() for t in (*terms.values(), *gradients, final.users, final.items)])
    for theirs, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
def test_the_torch_backend_on_a_device_equals_that_of_dgl_on_the_cpu(device: str) -> None:
    options = SpikeOptions(embedding_dim=8, l2_weight=0.1)
    results = []
    for backend, place in (("dgl", "cpu"), ("torch", device)):
        model = model_on(torch.device(place), SpikeOptions(**{**vars(options), "backend": backend})).double()
        rows = (BATCH.users, BATCH.positives, BATCH.negatives)
        terms = model.eval().loss(Batch(*(row.to(place) for row in rows)))
        gradients = torch.autograd.grad(sum(terms.values()), list(model.parameters()))
        results.append([tensor.cpu() for tensor in (*terms.values(), *gradients)])
    for theirs, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_trains_and_goes_on_from_its_checkpoint(tmp_path: Path, device: str, precision: str) -> None:
    trainer(tmp_path, torch.device(device), epochs=15, precision=precision, learning_rate=0.03).fit()
    more = trainer(tmp_path, torch.device(device), epochs=20, precision=precision, learning_rate=0.03)
    more.restore()
    more.fit()
    losses = [record["loss/softmax"] for record in MetricsLog(tmp_path / "metrics.jsonl").read()]
    assert len(losses) == 20
    assert losses[-1] < 0.9 * losses[0]
    state = torch.load(tmp_path / "last.pt", map_location="cpu")
    assert {tensor.dtype for tensor in state["model"].values()} == {torch.float32}
    trainer(tmp_path, torch.device("cpu")).restore()  # wherever it was trained


@pytest.mark.parametrize("backend", ["compiled", "torch"])
def test_low_precision_is_close_and_its_losses_are_float32(tmp_path: Path, backend: str) -> None:
    cpu, results = torch.device("cpu"), {}
    for precision in ("float32", "bfloat16"):
        folder = tmp_path / precision
        folder.mkdir()
        model = model_on(cpu, SpikeOptions(embedding_dim=8, backend=backend))
        run = trainer(folder, cpu, model, precision=precision)
        run.fit()
        losses = MetricsLog(folder / "metrics.jsonl").read()[-1]
        results[precision] = (
            losses["loss/softmax"],
            losses["loss/matching"],
            final_embeddings(run.model).items,
        )
    assert results["bfloat16"][:2] == pytest.approx(results["float32"][:2], rel=0.05)
    assert not torch.equal(results["bfloat16"][2], results["float32"][2])
    with torch.autocast("cpu", torch.bfloat16):
        terms = model_on(cpu).loss(BATCH)
    assert {term.dtype for term in terms.values()} == {torch.float32}


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_one_clear_error() -> None:
    assert choose_device("auto") == torch.device("cpu")
    with pytest.raises(ConfigError, match=r"training\.device is 'cuda'.*\n.*training\.device=cpu"):
        choose_device("cuda")


def test_more_processes_than_gpus_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match="3 processes on this machine, but torch finds 2 GPUs"):
        choose_device("auto", local_rank=0, local_number=3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="DGL may have CUDA here")
@pytest.mark.parametrize(
    ("model", "options"),
    [("spike", {"backend": "dgl"}), ("spike", {"backend": "compiled"})],
)
def test_backends_that_do_not_run_on_a_gpu_are_refused_with_advice(model: str, options: dict) -> None:
    entry = model_entry(model)
    with pytest.raises(ConfigError, match=r"training\.device=cpu"):
        entry.model(ModelInputs(build_graph(DATA), device=CUDA), entry.options(**options))
