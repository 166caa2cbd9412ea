"""The straightforward form computes the same as the golden values, and as the model it is compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.straightforward import StraightforwardSpike, sample_negatives
from spike_dgl.benchmark import Contest, Workload, compare
from tests.golden import golden_model
from tests.toy import random_dataset


@pytest.mark.parametrize("name", ["spike_reference", "spike_reference_large"])
def test_golden_values(shared_golden: Path, name: str) -> None:
    with np.load(shared_golden / f"{name}.npz") as stored:
        golden = {key: stored[key] for key in stored.files}
    form = StraightforwardSpike(golden_model(golden, torch.float64))
    final, profile = form.propagate()
    users = int(golden["num_users"])
    np.testing.assert_allclose(final[:users].detach(), golden["out_user"], atol=1e-12)
    np.testing.assert_allclose(final[users:].detach(), golden["out_entity"], atol=1e-12)
    matching = form.matching(final, profile, torch.from_numpy(golden["anchors"]))
    assert matching.item() == pytest.approx(float(golden["matching_loss"]), rel=1e-12)


def test_it_is_the_same_model_with_users_among_the_neighbours() -> None:
    contest = Contest(Workload(num_nodes=60, num_edges=300, num_relations=3, batch_size=16))
    model, form = contest.model.double().eval(), StraightforwardSpike(contest.model)
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
