"""The reference implementation agrees with the golden values and with the model it is compared with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spike_dgl.measure import speed
from spike_dgl.measure.reference import ReferenceSpike, sample_negatives
from spike_dgl.measure.speed import Contest, Workload, compare, compare_gradients, compare_vectors
from tests.golden import golden_model
from tests.toy import random_dataset


@pytest.mark.parametrize("name", ["spike_reference", "spike_reference_large"])
def test_golden_values(shared_golden: Path, name: str) -> None:
    with np.load(shared_golden / f"{name}.npz") as stored:
        golden = {key: stored[key] for key in stored.files}
    form = ReferenceSpike(golden_model(golden, torch.float64))
    final, profile = form.propagate()
    users = int(golden["num_users"])
    np.testing.assert_allclose(final[:users].detach(), golden["out_user"], atol=1e-12)
    np.testing.assert_allclose(final[users:].detach(), golden["out_entity"], atol=1e-12)
    matching = form.matching(final, profile, torch.from_numpy(golden["anchors"]))
    assert matching.item() == pytest.approx(float(golden["matching_loss"]), rel=1e-12)


def test_it_is_the_same_model_with_users_among_the_neighbours() -> None:
    contest = Contest(Workload(num_nodes=60, num_edges=300, num_relations=3, batch_size=16))
    model, form = contest.model.double().eval(), ReferenceSpike(contest.model)
    torch.testing.assert_close(form.propagate()[0], model.propagate().final, rtol=1e-10, atol=1e-10)


def test_negatives_are_no_positives() -> None:
    train = random_dataset(0).train
    negatives = sample_negatives(train, 7, 9)
    positives = set(zip(train.users.tolist(), train.items.tolist(), strict=True))
    assert not positives & set(zip(train.users.tolist(), negatives, strict=True))


def test_the_table_has_a_row_for_everything_promised() -> None:
    table = compare(Workload(num_nodes=200, num_edges=1000, num_relations=3, batch_size=64), repeats=1)
    for name in ("step, forward", "step, backward", "attention layer, total", "epoch, ", "Peak memory"):
        assert name in table
    assert "left out" not in table


def test_steps_with_dense_and_with_sparse_gradients_are_compared() -> None:
    workload = Workload(num_nodes=200, num_edges=1000, num_relations=3, batch_size=4)
    contest = Contest(replace(workload, fanout=(1, 1)))
    for form in ("sparse", "dense"):
        contest.step_by_gradient(form)
        assert contest.model.options.sparse_gradients == (form == "sparse")
    row = compare_gradients([workload], (1, 1), repeats=2).splitlines()[2].split("|")
    nodes, _, read, dense, sparse, ratio, lowest, highest = (cell.strip() for cell in row[1:-1])
    assert nodes == "200"
    assert 0 < int(read) < 200
    assert float(dense) > 0 < float(sparse)
    assert float(lowest) <= float(ratio) <= float(highest)


@pytest.mark.slow
def test_vectors_in_memory_and_on_disk_are_compared() -> None:
    workload = Workload(num_nodes=20_000, num_edges=40_000, num_relations=3, batch_size=4)
    rows = compare_vectors([workload], (1, 1), vector_dim=1024).splitlines()[2:]
    memory, disk = ([cell.strip().replace(",", "") for cell in row.split("|")[3:-1]] for row in rows)
    assert [memory[0], disk[0]] == ["78", "39"]
    assert 60 < float(memory[1]) - float(disk[1]) < 160
    assert float(disk[2]) - float(memory[2]) > 20


def figures(table: str, row: str) -> list[str]:
    """Return the cells of a row after its name."""
    (line,) = (line for line in table.splitlines() if line.startswith(f"| {row}"))
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_what_does_not_fit_in_memory_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = Workload(num_nodes=200, num_edges=1000, num_relations=3, batch_size=64)
    form = Contest(workload).reference
    assert form.layer_memory_mb() < form.step_memory_mb()
    monkeypatch.setattr(speed, "available_memory_mb", form.layer_memory_mb)
    table = compare(workload, repeats=1)
    slow, ours, *ratio = figures(table, "step, total")
    assert (slow, ratio) == ("-", ["-"] * 3)
    assert float(ours) > 0
    assert "-" not in figures(table, "attention layer, total")
    assert "The reference step is left out: it needs about 0.0 GB of memory" in table
    assert "reference" not in table.splitlines()[-1]


def test_the_memory_of_a_step_grows_with_the_square_of_the_nodes_and_with_the_edges() -> None:
    def memory(nodes: int, edges: int) -> float:
        workload = Workload(num_nodes=nodes, num_edges=edges, num_relations=3, batch_size=64)
        return Contest(workload).reference.step_memory_mb()

    few, many_nodes, many_edges = memory(1000, 1000), memory(10_000, 1000), memory(1000, 10_000)
    assert many_nodes == pytest.approx(32 * 1000**2 * 4 / 1e6, rel=0.2)
    assert many_edges - few == pytest.approx(9000 * 12 * 64 * 4 / 1e6, rel=0.2)
