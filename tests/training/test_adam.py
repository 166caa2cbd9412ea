"""Sparse gradients and moments: rows of a step against torch's optimizers, and a step that allocates no table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from spike_dgl.graph import build_graph
from spike_dgl.models.base import ModelInputs
from spike_dgl.models.spike import Spike, SpikeOptions
from spike_dgl.runs.metrics_log import MetricsLog
from spike_dgl.training.adam import RowAdamW
from spike_dgl.training.options import TrainingOptions
from spike_dgl.training.sampling import BprSampler
from spike_dgl.training.seeding import seed_everything
from spike_dgl.training.trainer import Trainer
from tests.toy import random_dataset

STEPS = [torch.tensor([1, 4]), torch.tensor([4, 2, 4]), torch.tensor([0, 2])]


def table() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.arange(12.0, dtype=torch.float64).view(6, 2).sin())


def step(optimizer: torch.optim.Optimizer, weight: torch.nn.Parameter, rows: torch.Tensor) -> None:
    optimizer.zero_grad()
    used = torch.nn.functional.embedding(rows, weight, sparse=type(optimizer) is not torch.optim.AdamW)
    (used**3).sum().backward()
    optimizer.step()


def test_the_first_step_by_hand() -> None:
    weight = torch.nn.Parameter(torch.tensor([[0.5], [2.0], [-3.0]], dtype=torch.float64))
    optimizer = RowAdamW([weight], lr=0.1, weight_decay=0.2)
    step(optimizer, weight, torch.tensor([2, 0]))
    # Adam's first step is the learning rate along the sign of the gradient, after a decay of 0.1 * 0.2 of the row.
    torch.testing.assert_close(
        weight.detach(),
        torch.tensor([[0.98 * 0.5 - 0.1], [2.0], [-0.98 * 3 - 0.1]], dtype=torch.float64),
        rtol=1e-7, atol=0.0,
    )  # fmt: skip
    state = optimizer.state[weight]
    torch.testing.assert_close(
        state["exp_avg"], 0.1 * torch.tensor([[0.75], [0.0], [27.0]], dtype=torch.float64)
    )
    assert state["exp_avg_sq"][1] == 0


def test_the_first_step_of_used_rows_is_that_of_dense_adamw() -> None:
    ours, theirs = table(), table()
    before = ours.detach().clone()
    step(RowAdamW([ours], lr=0.1, weight_decay=0.5), ours, STEPS[1])
    step(torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.5), theirs, STEPS[1])
    assert torch.equal(ours[[2, 4]], theirs[[2, 4]])
    assert torch.equal(ours[[0, 1, 3, 5]], before[[0, 1, 3, 5]])
    assert not torch.equal(theirs[0], before[0])  # dense decay reaches the rows that were not used


def test_every_step_without_weight_decay_is_that_of_sparse_adam() -> None:
    ours, theirs = table(), table()
    settings = {"lr": 0.1, "eps": 1e-20}  # SparseAdam adds it before the bias correction, AdamW after it
    optimizers = [
        RowAdamW([ours], weight_decay=0.0, **settings),
        torch.optim.SparseAdam([theirs], **settings),
    ]
    for rows in STEPS:
        for optimizer, weight in zip(optimizers, (ours, theirs), strict=True):
            step(optimizer, weight, rows)
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=0.0)
    assert torch.equal(ours[[3, 5]], table()[[3, 5]])


def test_dense_gradients_are_updated_as_before_bit_for_bit() -> None:
    ours, theirs = table(), table()
    for _ in range(3):
        for weight, kind in ((ours, RowAdamW), (theirs, torch.optim.AdamW)):
            weight.grad = weight.detach().cos()
            kind([weight], lr=0.1).step()
    assert torch.equal(ours, theirs)


def test_a_state_of_dense_moments_goes_on_with_sparse_gradients() -> None:
    dense, weight = table(), table()
    before = torch.optim.AdamW([dense], lr=0.1, weight_decay=0.0)
    step(before, dense, STEPS[0])
    optimizer = RowAdamW([weight], lr=0.1, weight_decay=0.0)
    optimizer.load_state_dict(before.state_dict())
    step(optimizer, weight, STEPS[1])
    assert optimizer.state[weight]["step"] == 2


USERS, ITEMS, ENTITIES = 900, 1000, 1600


class Largest(TorchDispatchMode):
    """Record the largest first dimension of all tensors that operations return, and which operation it was."""

    def __init__(self, shared: set[int]) -> None:
        super().__init__()
        self.shared, self.found = shared, (0, "")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, torch.Tensor):
                # Of a sparse tensor its values; views and results in place have the memory of a known table.
                values = each._values() if each.is_sparse else each
                if values.ndim and values.untyped_storage().data_ptr() not in self.shared:
                    self.found = max(self.found, (len(values), str(func)))
        return result


def run(folder: Path, **options: object) -> Trainer:
    data = random_dataset(3, sizes=(USERS, ITEMS, ENTITIES, 3), density=4000)
    seed_everything(0)
    vectors = (torch.randn(n, 8) for n in (data.num_users, data.num_entities))
    chosen = {"embedding_dim": 8, "fanout": (2, 2), "similar_items": 0, "l2_weight": 0.1, **options}
    model = Spike(ModelInputs(build_graph(data), *vectors), SpikeOptions(**chosen))
    settings = TrainingOptions(batch_size=4, epochs=1)
    sampler = BprSampler(data.train, USERS, ITEMS, batch_size=4, seed=0)
    log = MetricsLog(folder / "metrics.jsonl")
    return Trainer(model, sampler, settings, folder=folder, log=log, progress=False)


def known(trainer: Trainer) -> set[int]:
    """Addresses of tables that are there before the step."""
    model = trainer.model
    messages = model.views.messages
    tables = [*model.parameters(), *model.buffers(), messages.relation, model.views.sampler.messages.relation]
    tables += [each for state in trainer.optimizer.state.values() for each in state.values()]
    return {table.untyped_storage().data_ptr() for table in tables}


@pytest.mark.parametrize("options", [{}, {"user_embedding": False}, {"matching_sample_ratio": 0.5}], ids=str)
def test_a_step_allocates_nothing_that_grows_with_the_graph(tmp_path: Path, options: dict) -> None:
    trainer = run(tmp_path, **options)
    batches = trainer.sampler.epoch(1)
    for trainer.step in range(
        2
    ):  # moments are allocated once; the gradients of the first step are kept apart
        trainer._train_step(next(batches))
    with Largest(known(trainer)) as largest:
        trainer.step = 2
        trainer._train_step(next(batches))
    assert 0 < largest.found[0] < 400, largest.found
    assert trainer.model.embedding.grad is None


def test_dense_gradients_are_found_by_the_same_check(tmp_path: Path) -> None:
    trainer = run(tmp_path, sparse_gradients=False)
    with Largest(known(trainer)) as largest:
        trainer._train_step(next(trainer.sampler.epoch(1)))
    assert largest.found[0] >= USERS + ENTITIES


def test_rows_outside_of_the_step_keep_values_and_moments(tmp_path: Path) -> None:
    trainer = run(tmp_path)
    batches = trainer.sampler.epoch(1)
    for trainer.step in range(3):
        trainer._train_step(next(batches))
    model, optimizer = trainer.model, trainer.optimizer
    before, moments = model.embedding.detach().clone(), optimizer.state[model.embedding]["exp_avg"].clone()
    batch = next(batches)
    generator = torch.get_rng_state()
    nodes = model.views.sampler.draw(batch.rows(USERS)).input_nodes
    torch.set_rng_state(generator)
    trainer.step = 3
    trainer._train_step(batch)
    moved = (model.embedding != before).any(dim=1).nonzero()[:, 0]
    changed = (optimizer.state[model.embedding]["exp_avg"] != moments).any(dim=1).nonzero()[:, 0]
    assert len(nodes) / 2 < len(moved) <= len(changed)
    assert set(moved.tolist()) <= set(nodes.tolist())  # a node that only receives has a gradient of zero
    assert set(changed.tolist()) <= set(nodes.tolist())
    assert moments.any(dim=1).sum() > len(nodes)
