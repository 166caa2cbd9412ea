"""SPiKE's options have the documented effects."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from spike_dgl.config import build
from spike_dgl.data.controls import thin_knowledge
from spike_dgl.data.dataset import Dataset
from spike_dgl.errors import ConfigError
from spike_dgl.graph import build_graph
from spike_dgl.models.base import Batch, ModelInputs
from spike_dgl.models.spike import Spike, SpikeOptions
from spike_dgl.nn.kernels import mean_of_sources
from spike_dgl.nn.layers import spike_conv
from spike_dgl.training.seeding import seed_everything
from tests.toy import dataset, random_dataset

BATCH = Batch(torch.tensor([0, 1, 2]), torch.tensor([0, 3, 5]), torch.tensor([1, 2, 4]))


def spike(data: Dataset | None = None, *, vectors: bool = True, **options: object) -> Spike:
    data = data or random_dataset(4)
    seed_everything(0)
    inputs = (
        ModelInputs(build_graph(data), torch.randn(data.num_users, 5), torch.randn(data.num_entities, 5))
        if vectors
        else ModelInputs(build_graph(data))
    )
    return Spike(inputs, options_of(**options))


def options_of(**options: object) -> SpikeOptions:
    return build(SpikeOptions, {"embedding_dim": 8, "profile_gate": "constant", **options}, "model")


def test_layers_are_summed_and_the_profile_removed() -> None:
    model = spike().eval()
    s = model.inject.project()
    state = model.embedding + 0.25 * s
    total = state
    for _ in range(2):
        state, _ = model.conv.hop(model.views.messages, state)
        total = total + state
    torch.testing.assert_close(model.propagate().final, total - 0.25 * s)


def test_injection_changes_the_result_and_none_does_not_use_the_profile() -> None:
    finals = {
        how: spike(injection=how, similar_items=0).eval().propagate().final
        for how in ("inject-and-remove", "inject", "none")
    }
    without = spike(vectors=False)
    weights = spike(injection="none", similar_items=0).state_dict()
    without.load_state_dict({k: v for k, v in weights.items() if k in without.state_dict()})
    torch.testing.assert_close(finals["none"], without.eval().propagate().final)
    assert not torch.allclose(finals["none"], finals["inject-and-remove"])
    assert not torch.allclose(finals["inject"], finals["inject-and-remove"])


def test_a_learned_gate_starts_at_the_profile_scale_and_learns() -> None:
    constant, learned = spike(profile_gate="constant").eval(), spike(profile_gate="learned").eval()
    learned.load_state_dict({**learned.state_dict(), **constant.state_dict()})
    torch.testing.assert_close(constant.propagate().final, learned.propagate().final)
    sum(learned.loss(BATCH).values()).backward()
    assert learned.inject.user_gate.linear.weight.grad.abs().sum() > 0
    assert learned.inject.entity_gate.linear.bias.grad.abs().sum() > 0


def test_users_reach_items_only_where_they_are_neighbours() -> None:
    def items_after_moving_a_user(neighbours: str) -> torch.Tensor:
        model = spike(vectors=False, item_neighbours=neighbours).eval()
        before = model.embeddings().items
        with torch.no_grad():
            model.embedding[: model.num_users] *= -2
        return (model.embeddings().items - before).abs().max()

    assert items_after_moving_a_user("kg") == 0
    assert items_after_moving_a_user("kg-and-users") > 1e-3


def test_an_item_attends_to_its_text_neighbours_by_a_relation_of_their_own() -> None:
    data = dataset([(0, 0)], [], sizes=(1, 3, 3, 1))
    texts = torch.tensor([[1.0, 0.0], [0.9, 0.1], [-1.0, 0.0]])
    inputs = ModelInputs(build_graph(data), torch.rand(1, 2), texts)
    model = Spike(inputs, SpikeOptions(embedding_dim=4, item_neighbours="kg")).eval()
    messages, state = model.views.messages, torch.rand(4, 4)
    assert messages.attended.dst.tolist() == [0, 1]
    assert (messages.src - 1).tolist() == [1, 0]
    aggregated, _ = model.conv.aggregate(messages, state)
    last_relation = model.conv.relation_embedding[-1]
    assert len(model.conv.relation_embedding) == 2 * 1 + 2
    expected = torch.stack([state[2], state[1], torch.zeros(4)]) * last_relation
    torch.testing.assert_close(aggregated[1:], expected)
    assert not len(Spike(inputs, options_of(similar_items=0, item_neighbours="kg")).views.messages.attended)


def test_idle_relations_are_those_of_the_data() -> None:
    with pytest.raises(ConfigError, match="set similar_items to 0"):
        build(SpikeOptions, {"quirks": {"idle_relations": 1}}, "model")


def test_without_users_among_neighbours_a_users_profile_acts_through_matching_alone() -> None:
    # In the authors' code user states send no messages, so injection and removal cancel.
    model = spike(item_neighbours="kg").double().eval()
    before = model.propagate().final
    with torch.no_grad():
        model.inject.user_vectors += 1.0
    torch.testing.assert_close(model.propagate().final, before)


def test_matching_samples_and_all_nodes() -> None:
    model = spike(matching_sample_ratio=0.5, matching_samples=3)
    nodes = model.match.sample(model.num_nodes, model.embedding.device)
    assert nodes.shape == (3, 11)
    assert all(len(set(sample.tolist())) == 11 for sample in nodes)
    everything = torch.arange(len(model.embedding))[None]
    states = model.eval().propagate()
    torch.testing.assert_close(model.match.on(states, None), model.match.on(states, everything))


def some_without_profiles(**options: object) -> Spike:
    """Return vectors; the first three users and the entities 1 and 12 have none."""
    data = random_dataset(4)
    seed_everything(0)
    users, entities = torch.randn(data.num_users, 5), torch.randn(data.num_entities, 5)
    users[:3], entities[[1, 12]] = 0.0, 0.0
    inputs = ModelInputs(build_graph(data), users, entities)
    return Spike(inputs, options_of(**options))


ABSENT = torch.tensor([0, 1, 2, 8, 19])


def test_a_node_without_a_profile_has_nothing_injected() -> None:
    model = some_without_profiles().eval()
    with torch.no_grad():
        model.inject.user_projection.output.bias += 3.0  # a bias alone would look like a profile
    projected = model.inject.project()
    assert not projected[ABSENT].any()
    assert projected.any(dim=1).sum() == len(projected) - len(ABSENT)
    start = model.propagate().layers[0]
    torch.testing.assert_close(start[ABSENT], model.embedding[ABSENT])
    torch.testing.assert_close(model.inject.project(ABSENT + 1, 3), projected[ABSENT + 1])


@pytest.mark.parametrize("ratio", [1.0, 0.5])
@pytest.mark.parametrize("fanout", [(), (-1, -1)])
def test_nodes_without_a_profile_are_not_matched(ratio: float, fanout: tuple[int, ...]) -> None:
    model = some_without_profiles(
        matching_sample_ratio=ratio, matching_samples=3, matching_target="input", fanout=fanout
    ).train()
    gradient = torch.autograd.grad(model.loss(BATCH)["matching"], model.embedding)[0].to_dense()
    assert not gradient[ABSENT].any()
    assert gradient.any()


def test_where_all_have_profiles_all_are_matched_and_none_where_no_one_has() -> None:
    assert spike().propagate().profiled is None
    data = random_dataset(4)
    empty = ModelInputs(build_graph(data), torch.zeros(data.num_users, 5), torch.zeros(data.num_entities, 5))
    model = Spike(empty, SpikeOptions(embedding_dim=8))
    assert set(model.loss(BATCH)) == {"softmax"}
    torch.testing.assert_close(model.eval().propagate().layers[0], model.embedding)


@pytest.mark.parametrize("backend", ["compiled", "torch", "dgl"])
@pytest.mark.parametrize("neighbours", ["kg", "kg-and-users"])
def test_it_trains_without_a_single_triple(backend: str, neighbours: str) -> None:
    model = spike(thin_knowledge(random_dataset(4), 0.0, 1), backend=backend, item_neighbours=neighbours)
    sum(model.loss(BATCH).values()).backward()
    assert model.embedding.grad.isfinite().all()
    assert model.eval().embeddings().items.isfinite().all()


def test_matching_on_the_input_moves_only_what_it_sees() -> None:
    model = spike(matching_target="input").eval()
    model.loss(BATCH)["matching"].backward()
    assert model.embedding.grad is not None
    assert model.conv.query_projection.grad is None


def test_all_backends_give_the_same_loss_and_gradients() -> None:
    losses, gradients = [], []
    for backend in ("compiled", "torch", "dgl"):
        model = spike(backend=backend).double().eval()
        total = sum(model.loss(BATCH).values())
        total.backward()
        losses.append(total.item())
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-12)
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "terms"),
    [
        ({}, {"softmax", "matching"}),
        ({"matching_weight": 0.0}, {"softmax"}),
        ({"l2_weight": 0.1}, {"softmax", "matching", "l2"}),
        ({"ranking_loss": "bpr"}, {"bpr", "matching"}),
        ({"vectors": False}, {"softmax"}),
    ],
)
def test_terms_with_weight_zero_are_left_out(options: dict, terms: set[str]) -> None:
    assert spike(**options).loss(BATCH).keys() == terms


def test_l2_is_on_the_id_embeddings_of_the_batch() -> None:
    model = spike(l2_weight=0.1)
    rows = torch.cat([BATCH.users, BATCH.positives + 7, BATCH.negatives + 7])
    expected = 0.1 * model.embedding[rows].square().sum() / (2 * 3)
    torch.testing.assert_close(model.loss(BATCH)["l2"], expected)


def test_separate_projections_differ_in_training_only() -> None:
    model = spike(quirks={"shared_projection": False}, projection_dropout=0.5)
    profiles = model.train().inject(model.embedding)
    assert not torch.allclose(profiles.injected, profiles.removed)
    profiles = model.eval().inject(model.embedding)
    torch.testing.assert_close(profiles.injected, profiles.removed)


def test_evaluation_is_repeatable_and_training_is_not_the_same_pass() -> None:
    model = spike().eval()
    assert torch.equal(model.propagate().final, model.propagate().final)
    model.train()
    assert not torch.equal(model.propagate().final, model.propagate().final)


def test_gradients_match_finite_differences() -> None:
    model = spike(random_dataset(2, sizes=(3, 4, 6, 2), density=8), embedding_dim=4).double().eval()
    names, values = zip(*model.named_parameters(), strict=True)

    def loss(*values: torch.Tensor) -> torch.Tensor:
        class Total(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = model

            def forward(self) -> torch.Tensor:
                return sum(self.model.loss(BATCH_SMALL).values())

        weights = {f"model.{name}": value for name, value in zip(names, values, strict=True)}
        return torch.func.functional_call(Total(), weights, ())

    assert torch.autograd.gradcheck(loss, tuple(value.detach().requires_grad_() for value in values))


BATCH_SMALL = Batch(torch.tensor([0, 1]), torch.tensor([0, 3]), torch.tensor([1, 2]))


def test_golden_values(shared_golden: Path) -> None:
    from tests.golden import BOUNDS, errors

    files = sorted(shared_golden.glob("*.npz"))
    assert len(files) == 2
    for file in files:
        for dtype, bound in BOUNDS.items():
            found = errors(file, dtype)
            assert {"attention_layer1", "out_user", "bpr_loss", "matching_loss", "grad_W_Q"} <= found.keys()
            assert max(found.values()) <= bound, (file.name, dtype, found)


def test_golden_check_can_fail(shared_golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests import golden

    monkeypatch.setattr(spike_conv, "mean_of_sources", lambda *of: mean_of_sources(*of) + 0.001)
    assert golden.main([str(shared_golden / "spike_reference.npz")]) == 1
