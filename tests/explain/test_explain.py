"""Explanations: known paths and drops, removals equal to a full pass, and texts that are safe to draw."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from spike_dgl.data.dataset import Dataset
from spike_dgl.errors import UnknownIdError
from spike_dgl.explain import Explainer
from spike_dgl.explain.fidelity import measure, render, spearman
from spike_dgl.explain.text import to_text
from spike_dgl.graph import build_graph
from spike_dgl.models.base import ModelInputs
from spike_dgl.models.linear_term import LinearTerm
from spike_dgl.models.popularity_term import PopularityTerm
from spike_dgl.models.spike import Spike
from spike_dgl.models.spike.options import SpikeOptions
from tests.toy import dataset, random_dataset

NASTY = 'a "quoted" \\ <b>name</b>\nwith a line break'


def explainer(data: Dataset, **options) -> Explainer:
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    vectors = [
        torch.from_numpy(random.normal(size=(size, 6)).astype(np.float32))
        for size in (data.num_users, data.num_entities)
    ]
    model = Spike(ModelInputs(build_graph(data), *vectors), SpikeOptions(embedding_dim=8, **options))
    return Explainer(data, model)


@pytest.fixture
def one_path() -> Explainer:
    """User u0 has item i0, which shares entity e2 with item i1; user u1 has i1 and nothing else."""
    return explainer(dataset([(0, 0), (1, 1)], [(0, 0, 2), (1, 0, 2)], sizes=(2, 2, 3, 1)))


def without(found: Explainer, links: np.ndarray) -> torch.Tensor:
    """Compute final embeddings by a full pass over a graph without some arcs."""
    arcs, model = found.arcs, found.model
    kept = np.setdiff1d(np.arange(len(arcs)), links)
    attended = kept < arcs.num_attended
    whole = model.views.messages
    model.views.messages = whole.keep(
        torch.from_numpy(kept[attended]), torch.from_numpy(kept[~attended] - arcs.num_attended)
    )
    with torch.no_grad():
        final = model.propagate().final
    model.views.messages = whole
    return final


def test_the_only_path_and_its_drop(one_path: Explainer) -> None:
    explanation = one_path.explain("u0", "i1")
    (path,) = explanation.paths
    assert explanation.num_paths == 1
    assert [node.id for node in path.nodes] == ["u0", "i0", "e2", "i1"]
    assert [(link.relation, link.forward) for link in path.links] == [
        ("interacts", True),
        ("r0", True),
        ("r0", False),
    ]
    assert path.fidelity.random_drop is None
    assert path.links[0].attention == (1.0, 1.0)  # a history of one item
    # Without its links u0 receives no messages, and i1 only those of its user, who receives only those of i1.
    user, item = one_path.rows("u0", "i1")
    (links,) = one_path.paths(user, item)[0].links(one_path.arcs)
    final = without(one_path, links)
    left = float(final[user] @ final[item])
    torch.testing.assert_close(final[user], one_path.model.embedding[user].detach())
    assert path.fidelity.drop == pytest.approx(explanation.score - left, abs=1e-6)


def test_a_path_through_another_user_is_told_as_such() -> None:
    found = explainer(dataset([(0, 0), (1, 0), (1, 1)], [], sizes=(2, 2, 2, 1)))
    (path,) = found.explain("u0", "i1").paths
    assert [node.id for node in path.nodes] == ["u0", "i0", "u1", "i1"]
    assert path.sentence == "The user's history has i0. Another user with i0 in the history also has i1."
    assert [link.forward for link in path.links] == [True, False, True]


@pytest.mark.parametrize(
    "options",
    [{}, {"num_layers": 3}, {"num_layers": 1}, {"score_temperature": 0.2}, {"user_transform": True}],
)
@pytest.mark.parametrize("item_neighbours", ["kg", "kg-and-users"])
def test_removals_equal_a_whole_pass_without_the_links(options: dict, item_neighbours: str) -> None:
    found = explainer(random_dataset(1, density=16), item_neighbours=item_neighbours, **options)
    user, item = 2, found.dataset.num_users + 4
    for paths in found.paths(user, item):
        paths = paths.select(np.arange(min(len(paths), 8)))
        expected = []
        for links in paths.links(found.arcs):
            final = without(found, links)
            if found.model.options.score_temperature is not None:
                final = torch.nn.functional.normalize(final, dim=1)
            expected.append(found.score(user, item) - float(final[user] @ final[item]))
        np.testing.assert_allclose(found.drops(user, item, paths), expected, atol=2e-6)


def test_paths_have_no_node_twice_and_follow_arcs() -> None:
    found = explainer(random_dataset(3))
    user, item = 0, found.dataset.num_users + 1
    lengths = []
    for paths in found.paths(user, item):
        lengths.append(paths.num_links)
        assert len(np.unique(np.column_stack([paths.nodes, paths.arcs]), axis=0)) == len(paths)
        assert all(len(set(nodes)) == len(nodes) for nodes in paths.nodes.tolist())
        assert (paths.nodes[:, 0] == user).all()
        assert (paths.nodes[:, -1] == item).all()
        arcs = paths.towards_item(found.arcs)
        for place in range(paths.num_links):
            sent = arcs[:, place] >= 0
            assert (found.arcs.src[arcs[sent, place]] == paths.nodes[sent, place]).all()
            assert (found.arcs.dst[arcs[sent, place]] == paths.nodes[sent, place + 1]).all()
    assert lengths == sorted(lengths)
    assert max(lengths) <= 4


@pytest.mark.parametrize("injection", ["inject-and-remove", "inject", "none"])
def test_parts_add_up_and_profiles_have_none_where_they_are_not_injected(injection: str) -> None:
    found = explainer(random_dataset(2), injection=injection)
    explanation = found.explain("u1", "i3")
    assert explanation.parts.total == pytest.approx(explanation.score, abs=1e-12)
    ids = found.model.embedding.detach()
    assert explanation.parts.id == pytest.approx(float(ids[1] @ ids[7 + 3]), abs=1e-6)
    assert (explanation.parts.profile == 0) == (injection == "none")


@pytest.mark.parametrize("temperature", [None, 0.2])
def test_terms_of_the_score_are_parts_and_paths_explain_the_rest(temperature: float | None) -> None:
    data = random_dataset(2)
    weights = {"linear_weight": 0.5, "popularity_weight": 0.3}
    found = explainer(data, score_temperature=temperature, **weights)
    bare = found.explain("u1", "i3")
    assert (bare.parts.linear, bare.parts.popularity) == (None, None)
    found = explainer(data, score_temperature=temperature, **weights)
    model, graph, cpu = found.model, build_graph(data), torch.device("cpu")
    model.linear_term = LinearTerm.fit(graph, data.num_items, rank=3, device=cpu)
    model.popularity_term = PopularityTerm.fit(data.train, data.num_items, 0.3, cpu)
    explanation = found.explain("u1", "i3")
    with torch.no_grad():
        scored = model.scored_embeddings()
    assert explanation.score == pytest.approx(float(scored.users[1] @ scored.items[3]), abs=1e-5)
    assert explanation.parts.total == pytest.approx(explanation.score, abs=1e-6)
    assert explanation.parts.popularity == pytest.approx(
        float(scored.users[1, -1] * scored.items[3, -1]), abs=1e-6
    )
    assert explanation.parts.linear != 0
    assert (explanation.parts.id, explanation.paths) == (bare.parts.id, bare.paths)
    assert "linear term" in to_text(explanation)
    assert "linear term" not in to_text(bare)
    scores = scored.users[0] @ scored.items.T
    scores[data.train.items[data.train.users == 0]] = -torch.inf
    assert found.best_item(0) == data.num_users + int(scores.argmax())


def test_paths_are_ranked_by_what_their_removal_does_and_always_alike() -> None:
    found = explainer(random_dataset(2, density=60))
    explanation = found.explain("u1", "i3", num_paths=3)
    drops = [path.fidelity.drop for path in explanation.paths]
    assert len(drops) == 3
    assert drops == sorted(drops, reverse=True)
    user, item = found.rows("u1", "i3")
    best = max(found.drops(user, item, paths).max() for paths in found.paths(user, item))
    assert drops[0] == pytest.approx(best, abs=1e-6)
    assert found.explain("u1", "i3", num_paths=3) == explanation
    assert json.loads(json.dumps(explanation.to_dict())) == explanation.to_dict()


def test_no_two_paths_run_over_the_same_bridge() -> None:
    """Both items of the history share an entity with i2, and one of them another entity as well."""
    facts = [(0, 0, 3), (1, 0, 3), (2, 0, 3), (1, 0, 4), (2, 0, 4)]
    found = explainer(dataset([(0, 0), (0, 1)], facts, sizes=(1, 3, 5, 1)))
    explanation = found.explain("u0", "i2")
    three_links = [path for path in explanation.paths if len(path.links) == 3]
    assert sorted(path.bridges[0].id for path in three_links) == ["e3", "e4"]
    assert sum(len(paths) for paths in found.paths(*found.rows("u0", "i2")) if paths.num_links == 3) == 3


def test_paths_over_facts_leave_out_other_users() -> None:
    interactions, facts = [(0, 0), (1, 0), (1, 1)], [(0, 0, 2), (1, 0, 2)]
    found = explainer(dataset(interactions, facts, sizes=(2, 2, 3, 1)))
    assert {path.bridges[0].kind for path in found.explain("u0", "i1").paths} >= {"user", "entity"}
    explanation = found.explain("u0", "i1", over="facts")
    assert explanation.num_paths == 1
    assert [node.id for node in explanation.paths[0].nodes] == ["u0", "i0", "e2", "i1"]
    assert "1 of 1 paths over facts" in explanation.to_text()
    without_facts = explainer(dataset(interactions, [], sizes=(2, 2, 3, 1))).explain("u0", "i1", over="facts")
    assert without_facts.sentence == "No path of the graph leads from u0 to i1 over facts."


def test_a_path_over_texts_is_told_as_such_and_is_no_fact() -> None:
    data = dataset([(0, 0)], [], sizes=(1, 2, 2, 1))
    inputs = ModelInputs(build_graph(data), torch.rand(1, 2), torch.tensor([[1.0, 0.2], [1.0, 0.1]]))
    found = Explainer(data, Spike(inputs, SpikeOptions(embedding_dim=8)))
    (path,) = found.explain("u0", "i1").paths
    assert [node.id for node in path.nodes] == ["u0", "i0", "i1"]
    assert [link.relation for link in path.links] == ["interacts", "similar text"]
    # The dst of the message is the head.
    assert path.sentence in {
        "The user's history has i0. i0 is described like i1.",
        "The user's history has i0. i1 is described like i0.",
    }
    assert found.explain("u0", "i1", over="facts").num_paths == 0
    user, item = found.rows("u0", "i1")
    (links,) = found.paths(user, item)[0].links(found.arcs)
    assert len(links) == 2 * 2  # both links, both ways
    final = without(found, links)
    assert path.fidelity.drop == pytest.approx(
        found.score(user, item) - float(final[user] @ final[item]), abs=1e-6
    )
    assert "similar text" in found.attention().by_relation()


def test_no_path_is_said() -> None:
    found = explainer(dataset([(0, 0)], [], sizes=(1, 2, 2, 1)))
    explanation = found.explain("u0", "i1")
    assert explanation.paths == ()
    assert "No path of the graph" in explanation.to_text()


def test_names_cannot_leave_their_quotes_in_dot(one_path: Explainer) -> None:
    items = replace(one_path.dataset.items, names=("i0", NASTY))
    one_path.dataset = one_path.dataset.replace(items=items)
    dot = one_path.explain("u0", "i1").to_dot()
    assert '[label="a \\"quoted\\" \\\\ <b>name</b> with a line break", shape=box];' in dot
    assert dot.count("\n") == 9  # two ends, four nodes, three links


def test_attention_sums_to_one_and_tells_what_profiles_change() -> None:
    found = explainer(random_dataset(4))
    attention, bare = found.attention(), found.attention(profiles=False)
    for layer in (1, 2):
        sums = np.zeros((len(attention.names), attention.num_heads))
        np.add.at(sums, attention.dst, attention.weight[layer - 1])
        np.testing.assert_allclose(sums[np.unique(attention.dst)], 1.0, rtol=1e-5)
    torch.testing.assert_close(torch.from_numpy(attention.weight[1]), found.states.attention[1])
    assert not np.allclose(attention.weight[0], bare.weight[0])
    edge = next(attention.edges())
    assert (edge.dst, edge.src) == (
        attention.names[attention.dst[0]],
        attention.names[attention.src[0]],
    )
    with pytest.raises(ValueError, match="layers 1 to 2"):
        attention.by_relation(3)
    with pytest.raises(UnknownIdError, match="unknown node 'nobody'"):
        attention.to_node("nobody")


def test_entropy_of_one_neighbour_is_zero(one_path: Explainer) -> None:
    rows, entropy = one_path.attention().entropy()
    of = dict(zip(rows.tolist(), entropy, strict=True))
    assert (of[4] > 0).all()  # messages of both items reach e2
    assert np.allclose(one_path.attention().to_node("e2").by_relation()["r0 (inverse)"], 1.0)


def test_fidelity_of_removal_is_the_most_there_is() -> None:
    run = measure(explainer(random_dataset(2, density=40)), 7)
    for rule in ("attention", "gradient", "random"):
        assert (run.drop["removal"] >= run.drop[rule]).all()
    assert np.allclose(run.correlation["removal"], 1.0)
    assert "| removal " in render([run, run])
    assert spearman(np.ones(3), np.arange(3)) == 0.0


def test_a_path_count_below_one_is_refused(one_path: Explainer) -> None:
    with pytest.raises(ValueError, match="num_paths"):
        one_path.explain("u0", "i1", num_paths=0)
    with pytest.raises(UnknownIdError, match="unknown user"):
        one_path.explain("nobody", "i1")
