"""Cold-start users and items, on data with known answers."""

from __future__ import annotations

import dataclasses
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from spike_dgl.data import load_dataset
from spike_dgl.errors import DataError, SpikeError, UnknownIdError
from spike_dgl.models.fold_in import LinearFoldIn, NewItems
from spike_dgl.models.spike import Spike
from spike_dgl.nn.graphs.text_neighbours import text_neighbours
from spike_dgl.recommend import NewItem, Recommender
from spike_dgl.runs.config import RunConfig
from spike_dgl.runs.folder import RunFolder
from spike_dgl.runs.set_up import reopen, start


def trained(data: Path, folder: Path, *, model: dict | None = None, profiles: str = "template") -> Path:
    settings = {
        "data": {"path": str(data)},
        "model": model or {"name": "spike"},
        "profiles": {"source": profiles},
        "training": {"epochs": 30, "learning_rate": 0.01, "threads": 1, "device": "cpu"},
    }
    start(RunConfig.from_mapping(settings), RunFolder.create(folder)).train(progress=False)
    return folder


@pytest.fixture(scope="module")
def spike(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(data_folder, tmp_path_factory.mktemp("cold-start") / "spike")


@pytest.fixture(scope="module", params=["spike", "lightgcn", "lightgcn by cosine"])
def recommender(
    request: pytest.FixtureRequest, spike: Path, data_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Recommender:
    if request.param == "spike":
        return Recommender.load(spike)
    model = {"name": "lightgcn", "score_temperature": 0.2 if "cosine" in request.param else None}
    return Recommender.load(trained(data_folder, tmp_path_factory.mktemp("cold-start") / "run", model=model))


def parities(items: list) -> set[int]:
    return {int(item.id) % 2 for item in items}


def trained_spike(folder: RunFolder) -> Spike:
    experiment = reopen(folder)
    experiment.load_best()
    assert isinstance(experiment.model, Spike)
    return experiment.model.eval()


def test_someone_new_gets_items_of_the_genre_that_was_liked(recommender: Recommender) -> None:
    for genre in (0, 1):
        liked = [str(item) for item in range(genre, 12, 2)]
        found = recommender.recommend_for_items(liked, 10)
        assert parities(found) == {genre}
        assert not {item.id for item in found} & set(liked)
    again = recommender.recommend_for_items(["0", "2"], 3, exclude_seen=False, candidates=["0", "2", "4"])
    assert {item.id for item in again} == {"0", "2", "4"}


def test_a_new_item_is_liked_by_those_who_like_its_genre(recommender: Recommender) -> None:
    relation = recommender.dataset.relations.ids[0]
    grown = recommender.add_items(
        [NewItem("even", ((relation, "40"),), name="Even"), NewItem("odd", ((relation, "41"),))]
    )
    for user in ("0", "1"):
        scores = grown.score(user, ["even", "odd"])
        assert np.argmax(scores) == int(user) % 2
    assert parities(grown.similar_items("Even", 5)[:1]) == {0}
    assert grown.recommend_for_items(["even"], 3, candidates=["0", "1"])[0].id == "0"
    assert "even" not in recommender.items
    assert len(grown.items) == len(recommender.items) + 2


def test_a_new_item_that_copies_a_trained_one_has_a_place_among_its_like(recommender: Recommender) -> None:
    relation = recommender.dataset.relations.ids[0]
    for genre in (0, 1):
        grown = recommender.add_item("copy", [(relation, str(40 + genre))], str(40 + genre))
        scores = grown.score(str(genre), [str(item) for item in range(40)])
        (copy,) = grown.score(str(genre), ["copy"])
        assert scores[1 - genre :: 2].max() < copy < 1.5 * scores.max()


def test_of_known_items_nothing_changes(recommender: Recommender) -> None:
    grown = recommender.add_item("new", text="40")
    assert grown.score("0", ["0", "5"]) == pytest.approx(recommender.score("0", ["0", "5"]))
    assert grown.history("0") == recommender.history("0")


def test_spike_embeds_a_copy_of_a_node_as_its_layers_embed_the_node(spike: Path) -> None:
    """Add an item with the triples and text of another one, whose ID embedding is zero and whom no user liked."""
    folder = RunFolder.open(spike)
    dataset, vectors = folder.load_dataset(), folder.read_arrays("profiles.npz")
    model = trained_spike(folder)
    of_first = dataset.triples.heads == 0
    new = NewItems(
        1,
        dataset.triples.heads[of_first],
        dataset.triples.relations[of_first],
        dataset.triples.tails[of_first],
        vectors["entities"][:1],
    )
    _, embedded = model.fold_in(None).with_items(new)  # type: ignore[arg-type]
    with torch.no_grad():
        tail, row = model.num_users + int(new.tails[0]), int(new.relations[0])
        profile = model.inject.project()[model.num_users]
        injected = model.inject.entity_gate(torch.zeros(1, 64), profile[None])[0] * profile
        states, relation = model.propagate().layers, model.conv.relation_embedding[row]
        # The only triple has all of the attention: only items without triples attend to text neighbours.
        hops = [torch.nn.functional.normalize(state[tail] * relation, dim=0) for state in states[:-1]]
        expected = injected + sum(hops) - injected
    torch.testing.assert_close(torch.from_numpy(embedded[0]), expected, atol=1e-5, rtol=1e-4)


def test_spike_embeds_an_item_of_which_there_is_a_text_only_among_its_text_neighbours(
    data_folder: Path, tmp_path: Path
) -> None:
    folder = RunFolder.open(
        trained(data_folder, tmp_path / "run", model={"name": "spike", "similar_items": 1})
    )
    dataset, vectors = folder.load_dataset(), folder.read_arrays("profiles.npz")
    model = trained_spike(folder)
    fold_in = model.fold_in(None)  # type: ignore[arg-type]
    nothing = np.empty(0, np.int64)
    texts, text = vectors["entities"][: dataset.num_items], vectors["entities"][3:4]
    nearest, second = text_neighbours(torch.from_numpy(texts), 2, torch.from_numpy(text))[1].tolist()
    new = NewItems(1, nothing, nothing, nothing, text)
    _, embedded = fold_in.with_items(new)
    # The item that is nearest is treated as new itself, so it cannot be its own neighbour.
    _, as_new = fold_in.with_items(dataclasses.replace(new, rows=np.array([nearest])))
    with torch.no_grad():
        states, relation = model.propagate().layers, model.conv.relation_embedding[-1]
        # The only neighbour has all of the attention, and the injected profile is removed again.
        expected = [
            sum(
                torch.nn.functional.normalize(state[model.num_users + row] * relation, dim=0)
                for state in states[:-1]
            )
            for row in (nearest, second)
        ]
    for found, wanted in zip((embedded, as_new), expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(found[0]), wanted, atol=1e-5, rtol=1e-4)


def test_layer_states_sum_to_what_scores(spike: Path) -> None:
    folder = RunFolder.open(spike)
    stored = folder.read_arrays("embeddings.npz")
    model = trained_spike(folder)
    with torch.no_grad():
        states = model.propagate().layers
    injected = states[0] - model.embedding.detach()
    final = (torch.stack(states).sum(dim=0) - injected)[: len(stored["users"])]
    torch.testing.assert_close(final, torch.from_numpy(stored["users"][:, :-1]), atol=1e-5, rtol=1e-4)


def test_a_text_finds_what_it_names(spike: Path) -> None:
    recommender = Recommender.load(spike)
    text = "Prefers: 40. Liked: 2, 4, 6, 8."
    assert len(recommender.recommend_for_text(text, 5)) == 5
    assert [item.id for item in recommender.recommend_for_text(text, candidates=["3"])] == ["3"]


def test_a_text_unlike_those_of_training_scores_in_their_range(recommender: Recommender) -> None:
    """The texts of 30 similar users span fewer dimensions than a text vector has."""
    most = np.abs(recommender.user_embeddings).max()
    for text in ("40", "Prefers 40", "relation", "Liked: 4, 6"):
        assert np.abs(recommender.cold_start.user_of_text(text)).max() < 3 * most


@pytest.mark.parametrize("common", [0.0, 0.5])
def test_an_input_that_never_varied_in_training_has_no_say(data_folder: Path, common: float) -> None:
    """One input of the users' texts, or all of them, vary by rounding errors of 1e-8 only."""
    dataset, random = load_dataset(data_folder), np.random.default_rng(0)
    users, items = (random.normal(size=(size, 8)).astype(np.float32) for size in (30, 40))
    noise = random.normal(scale=1e-8, size=(30, 2))
    texts = (
        np.stack([np.arange(30) % 2 + 1.0, np.ones(30)], axis=1) if not common else np.full((30, 2), common)
    )
    vectors = {"users": (texts + noise).astype(np.float64), "entities": np.ones((42, 2), np.float32)}
    fold_in = LinearFoldIn.fit(dataset, users, items, vectors)
    embedded = fold_in.users_of_profiles(np.array([[2.0, -1.0]]))
    assert np.abs(embedded).max() < 3 * np.abs(users).max()


def test_threads_share_a_recommender_that_is_not_warm_yet(spike: Path) -> None:
    recommender = Recommender.load(spike)
    with ThreadPoolExecutor(4) as threads:
        lists = list(threads.map(lambda _: recommender.recommend_for_items(["0", "2"], 5), range(8)))
    assert lists == [lists[0]] * 8


def test_the_model_is_not_opened_once_the_folder_holds_another_run(spike: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(spike, tmp_path / "run"))
    loaded = Recommender.load(folder)
    shutil.rmtree(folder)
    shutil.copytree(spike, folder, copy_function=shutil.copy)  # as another training would write it
    for ask in (lambda: loaded.recommend_for_items(["0"], 3), lambda: loaded.recommend_for_text("comedy", 3)):
        with pytest.raises(DataError, match="has changed since it was opened"):
            ask()
    assert loaded.recommend("0", 3) == Recommender.load(folder).recommend("0", 3)


def test_what_cannot_be_answered_says_why(spike: Path, data_folder: Path, tmp_path: Path) -> None:
    recommender = Recommender.load(spike)
    with pytest.raises(SpikeError, match="at least one liked item"):
        recommender.recommend_for_items([])
    with pytest.raises(SpikeError, match="text that describes a taste is empty"):
        recommender.recommend_for_text("  ")
    with pytest.raises(SpikeError, match="knows no word of 'qwertz'"):
        recommender.recommend_for_text("qwertz")
    with pytest.raises(SpikeError, match="item '3' already exists"):
        recommender.add_item("3", text="40")
    with pytest.raises(SpikeError, match="item 'new' has neither triples nor text"):
        recommender.add_item("new")
    with pytest.raises(UnknownIdError, match="unknown relation 'genre'"):
        recommender.add_item("new", [("genre", "40")])
    without_profiles = Recommender.load(trained(data_folder, tmp_path / "run", profiles="none"))
    with pytest.raises(SpikeError, match="without profiles"):
        without_profiles.recommend_for_text("40")
    relation = without_profiles.dataset.relations.ids[0]
    assert len(without_profiles.add_item("new", [(relation, "40")]).items) == 41
