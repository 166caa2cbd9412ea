"""Generation with a server from end to end: bottom-up, each prompt paid once, and used by training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import yaml

from spike_dgl.data.dataset import Dataset, NodeTexts
from spike_dgl.data.training import TrainingData
from spike_dgl.errors import ConfigError, DataError, LanguageModelError, SpikeError
from spike_dgl.profiles import ProfileOptions, build_profiles
from spike_dgl.profiles.llm.estimate import Budget
from spike_dgl.profiles.llm.exchange import export_texts, import_texts
from spike_dgl.profiles.llm.forecast import estimate_generation
from spike_dgl.profiles.llm.generate import Generation, generate
from spike_dgl.profiles.llm.options import LlmOptions, StageOptions
from spike_dgl.profiles.llm.outcome import NO_MONEY
from spike_dgl.profiles.llm.pipeline import status
from spike_dgl.profiles.llm.prices import Price, PriceTable
from spike_dgl.profiles.llm.prompts import DOMAINS
from spike_dgl.profiles.llm.store import Store
from tests.profiles.films import ALI, CHICAGO, FISH, HEAT, MANN, films, interactions
from tests.profiles.llm_requests import client_of
from tests.profiles.openai_server import Json, OpenAIServer, error, says, server_error

DEAR = PriceTable({"*": Price(input=1000.0, output=1000.0)}, {}, "", "")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "profiles.sqlite"


def settings(server: OpenAIServer, file: Path, **llm: object) -> ProfileOptions:
    client = client_of(server, concurrency=1, max_retries=0)
    options = {"client": client, "poll_seconds": 0.0, **llm}
    return ProfileOptions(store=str(file), llm=LlmOptions(**options))  # type: ignore[arg-type]


def run(options: ProfileOptions, dataset: Dataset | None = None, **others: object) -> Generation:
    assert options.store is not None
    with Store.open(options.store) as store:
        return generate(films() if dataset is None else dataset, options, store, **others)  # type: ignore[arg-type]


def words(number: int) -> str:
    """Return a longer text with words of the test films' data."""
    return " ".join(
        ["Heat", "Mann", "Ali", "Fish", "Chicago", *(f"say{place}" for place in range(number))][:number]
    )


def prompt_of(body: Json) -> str:
    return str(body["messages"][1]["content"])


def paid(server: OpenAIServer) -> int:
    return sum(server.answered.values())


def test_each_stage_quotes_the_previous_stage(server: OpenAIServer, file: Path) -> None:
    prompts: list[str] = []

    def answer(body: Json) -> str:
        prompts.append(prompt_of(body))
        return f"Profile number {len(prompts)}."

    server.answer = answer
    options = settings(server, file)
    generation = run(options)
    assert {node_type: outcome.answered for node_type, outcome in generation.stages.items()} == {
        "item": 3,
        "entity": 4,
        "user": 2,
    }
    assert "Profile number" not in "".join(prompts[:3])
    about_mann, about_ann = prompts[3], prompts[7]
    assert "Michael Mann directed Heat. Profile number 1." in about_mann
    assert "Michael Mann directed Ali. Profile number 2." in about_mann
    assert "Ali: Profile number 2." in about_ann
    profiles = build_profiles(films(), options)
    assert profiles.entity_texts[:3] == ("Profile number 1.", "Profile number 2.", "Profile number 3.")
    assert set(profiles.entity_sources) == {"llm:gpt-4o-mini"}
    assert profiles.user_sources.tolist() == ["llm:gpt-4o-mini", "llm:gpt-4o-mini", "none"]


def test_a_second_run_pays_nothing(server: OpenAIServer, file: Path) -> None:
    run(settings(server, file))
    assert paid(server) == 9
    again = run(settings(server, file))
    assert [outcome.stored for outcome in again.stages.values()] == [3, 4, 2]
    assert server.calls["/chat/completions"] == 9


def test_a_changed_prompt_or_model_asks_only_for_what_depends_on_it(
    server: OpenAIServer, file: Path, tmp_path: Path
) -> None:
    run(settings(server, file))
    content = yaml.safe_load((DOMAINS / "generic.yaml").read_text())
    own = tmp_path / "own.yaml"

    content["user"]["system"] = "You describe people in verse."
    own.write_text(yaml.safe_dump(content))
    run(settings(server, file, prompts=str(own)))
    assert paid(server) == 9 + 2, "users only"

    run(settings(server, file, prompts=str(own), entity=StageOptions(model="large")))
    assert paid(server) == 9 + 2 + 4, "entities only"

    content["item"]["system"] = "You describe films in verse."
    own.write_text(yaml.safe_dump(content))
    run(settings(server, file, prompts=str(own)))
    # Chicago is linked to no item, so its prompt has not changed.
    assert paid(server) == 9 + 2 + 4 + (3 + 3 + 2)
    run(settings(server, file))
    assert paid(server) == 23, "and back again costs nothing"


def test_held_out_interactions_are_in_no_request(server: OpenAIServer, file: Path) -> None:
    run(settings(server, file))
    other = films(valid=interactions([(0, FISH)]), test=interactions([(1, FISH), (2, HEAT)]))
    run(settings(server, file), other)
    assert server.calls["/chat/completions"] == 9


def test_answers_for_another_training_split_are_not_used(server: OpenAIServer, file: Path) -> None:
    """Check that a store written on one split leaks nothing into another split."""
    options = settings(server, file)
    run(options, films(train=interactions([(0, HEAT), (0, ALI), (1, HEAT), (1, FISH)])))
    profiles = build_profiles(films(), options)
    assert profiles.user_sources.tolist() == ["llm:gpt-4o-mini", "template", "none"]


def test_a_node_without_an_answer_keeps_its_template_also_in_later_prompts(
    server: OpenAIServer, file: Path
) -> None:
    server.reply = lambda call: says("") if "<title>\nAli" in prompt_of(call.body) else None
    options = settings(server, file)
    generation = run(options)
    assert generation.unanswered == 1
    assert not generation.stopped
    template = build_profiles(films(), ProfileOptions()).entity_texts[ALI]
    profiles = build_profiles(films(), options)
    assert profiles.entity_sources[ALI] == "template"
    assert profiles.entity_texts[ALI] == template
    with Store.open(file) as store:
        assert status(films(), options, store)[0].failed == 1
        assert store.failures()[0].reason == "empty"
    server.reply = lambda call: None
    before = paid(server)
    run(
        dataclasses.replace(
            options, llm=dataclasses.replace(options.llm, client=client_of(server, attempts=9))
        )
    )
    assert paid(server) - before == 1 + 3 + 1, "Ali, three entities linked to it, and one of the users"


def test_a_temporary_failure_is_retried_before_the_next_stage(server: OpenAIServer, file: Path) -> None:
    server.reply = lambda call: server_error() if call.attempt == 1 else None
    generation = run(settings(server, file))
    assert generation.unanswered == 0
    assert paid(server) == 9
    assert [outcome.answered for outcome in generation.stages.values()] == [3, 4, 2]


def test_coverage_starts_at_the_highest_degree_and_all_stored_answers_are_used(
    server: OpenAIServer, file: Path
) -> None:
    half = {"item": StageOptions(coverage=0.5), "entity": StageOptions(coverage=0.25)}
    options = settings(server, file, **half, user=StageOptions(coverage=0.0))
    run(options)
    for chosen in (options, settings(server, file)):
        profiles = build_profiles(films(), chosen)
        written = [source.startswith("llm:") for source in profiles.entity_sources]
        assert [row for row, is_written in enumerate(written) if is_written] == [HEAT, ALI, MANN]
        assert not any(source.startswith("llm:") for source in profiles.user_sources)
    with Store.open(file) as store:
        stages = status(films(), options, store)
        assert [(stage.done, stage.left) for stage in stages] == [(2, 0), (1, 0), (0, 0)]
        everything = status(films(), settings(server, file), store)
        assert [(stage.done, stage.left) for stage in everything] == [(2, 1), (1, 3), (0, 2)]


def test_texts_of_the_data_set_are_used_unless_disabled(server: OpenAIServer, file: Path) -> None:
    dataset = films(profiles=NodeTexts(users={1: "Bob."}, entities={HEAT: "Heat, given."}))
    options = settings(server, file)
    generation = run(options, dataset)
    assert [outcome.total for outcome in generation.stages.values()] == [2, 4, 1]
    assert build_profiles(dataset, options).entity_texts[HEAT] == "Heat, given."
    anew = dataclasses.replace(options, source="llm")
    assert run(anew, dataset).stages["item"].answered == 1
    assert build_profiles(dataset, anew).entity_sources[HEAT] == "llm:gpt-4o-mini"


def test_the_cost_limit_stops_before_the_next_stage(server: OpenAIServer, file: Path) -> None:
    server.answer = lambda body: words(150)
    options = settings(server, file)
    items = estimate_generation(films(), options, DEAR)[0]
    assert items.highest_cost is not None
    generation = run(options, budget=Budget(items.highest_cost * 0.6, DEAR))
    assert generation.stopped == NO_MONEY
    assert list(generation.stages) == ["item"]
    assert 0 < generation.stages["item"].answered < 3
    assert generation.cost == pytest.approx(generation.stages["item"].cost)
    server.answer = lambda body: "A profile."
    rest = run(options)
    assert rest.stages["item"].stored == generation.stages["item"].answered
    assert paid(server) == 9


def test_the_estimate_is_close_to_the_cost_if_answers_have_the_requested_length(
    server: OpenAIServer, file: Path
) -> None:
    server.answer = lambda body: words(100 if "taste" in prompt_of(body) else 150)
    options = settings(server, file)
    estimates = estimate_generation(films(), options, DEAR)
    assert [(one.node_type, one.requests) for one in estimates] == [("item", 3), ("entity", 4), ("user", 2)]
    assert server.calls["/chat/completions"] == 0
    assert not file.exists()
    generation = run(options, budget=Budget(None, DEAR))
    expected = sum(one.cost or 0.0 for one in estimates)
    assert generation.cost == pytest.approx(expected, rel=0.1)
    with Store.open(file) as store:
        assert estimate_generation(films(), options, DEAR, store) == []


def test_batches_answer_stage_by_stage(
    server: OpenAIServer, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.batch_polls = 2
    options = settings(server, file)
    generation = run(options, budget=Budget(None, DEAR), batch=True)
    assert [outcome.answered for outcome in generation.stages.values()] == [3, 4, 2]
    assert len(server.batches) == 3
    assert server.calls["/chat/completions"] == 0
    assert generation.cost > 0
    run(options)
    assert server.calls["/chat/completions"] == 0, "the same store"


def test_a_refused_batch_is_an_error_and_an_expired_one_is_submitted_again(
    server: OpenAIServer, file: Path
) -> None:
    server.batch_end = "failed"
    with pytest.raises(LanguageModelError, match="was rejected: Enqueued token limit reached"):
        run(settings(server, file), batch=True)
    server.batch_end = "expired"
    run(settings(server, file), batch=True)
    assert set(server.answered.values()) == {1}


def test_a_wrong_key_stops_at_once_and_loses_nothing(server: OpenAIServer, file: Path) -> None:
    server.reply = lambda call: (
        error(401, "Incorrect API key", "invalid_api_key") if server.answered else None
    )
    with pytest.raises(LanguageModelError, match="key is wrong"):
        run(settings(server, file))
    server.reply = lambda call: None
    assert run(settings(server, file)).stages["item"].stored == 1


def test_export_and_import_copy_everything_to_another_store(
    server: OpenAIServer, file: Path, tmp_path: Path
) -> None:
    options = settings(server, file)
    run(options)
    with Store.open(file) as store:
        counts = export_texts(tmp_path / "out", films(), options, store)
    assert counts == {"item": 3, "entity": 4, "user": 2}
    authors = json.loads((tmp_path / "out/entity_profiles.json").read_text())
    before = build_profiles(films(), options)
    assert authors == {str(row - 3): before.entity_texts[row] for row in range(3, 7)}

    other = dataclasses.replace(options, store=str(tmp_path / "other.sqlite"))
    with Store.open(tmp_path / "other.sqlite") as store:
        assert (
            import_texts(tmp_path / "out/profiles.json", TrainingData.from_dataset(films()), store) == counts
        )
    after = build_profiles(films(), other)
    assert after.entity_texts == before.entity_texts
    assert after.user_texts == before.user_texts
    assert set(after.entity_sources) == {"llm:gpt-4o-mini"}
    run(other)
    assert paid(server) == 9, "imported texts are not asked for"

    texts = ProfileOptions(texts=str(tmp_path / "out"))
    assert build_profiles(films(), texts).entity_texts == before.entity_texts
    assert set(build_profiles(films(), texts).entity_sources) == {"given"}


def test_the_authors_files_are_imported_and_quoted_in_later_stages(
    server: OpenAIServer, file: Path, tmp_path: Path
) -> None:
    (tmp_path / "item_profiles.json").write_text(
        '{"0": "Heat, by the authors.", "2": "Fish, by the authors."}'
    )
    options = settings(server, file)
    with Store.open(file) as store:
        assert import_texts(tmp_path / "item_profiles.json", TrainingData.from_dataset(films()), store) == {
            "item": 2
        }
    prompts: list[str] = []
    server.answer = lambda body: prompts.append(prompt_of(body)) or "A profile."  # type: ignore[func-returns-value]
    assert run(options).stages["item"].answered == 1
    assert any("Michael Mann directed Heat. Heat, by the authors." in prompt for prompt in prompts)
    with Store.open(file) as store:
        stages = status(films(), options, store)
    assert [(stage.ready, stage.done) for stage in stages] == [(2, 1), (0, 4), (0, 2)]
    brought = films(profiles=NodeTexts(entities={HEAT: "Heat, of the data set."}))
    assert build_profiles(brought, options).entity_texts[:2] == ("Heat, of the data set.", "A profile.")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("profiles.json", '{"item": {"Heta": {"text": "x", "model": "m"}}}', "entity 'Heta'|item 'Heta'"),
        ("profiles.json", '{"item": {"Heat": {"text": "x"}}}', r"item.Heat.model: Field required"),
        ("profiles.json", '{"film": {}}', "film"),
        ("profiles.json", "[1, 2", "the whole file"),
        ("item_profiles.json", '{"3": "x"}', "text of item 3, but the data set has rows 0 to 2"),
        ("item_profiles.json", '{"0": null}', "null"),
    ],
)
def test_a_broken_file_imports_nothing(
    tmp_path: Path, file: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with Store.open(file) as store:
        with pytest.raises(DataError, match=message):
            import_texts(tmp_path / name, TrainingData.from_dataset(films()), store)
        assert not store.imported("item")


def test_a_store_of_other_settings_is_refused(server: OpenAIServer, file: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such store"):
        build_profiles(films(), ProfileOptions(store=str(tmp_path / "absent.sqlite")))
    assert not (tmp_path / "absent.sqlite").exists()
    run(settings(server, file, model="large"))
    with pytest.raises(SpikeError, match="has no answers to the prompts of these settings"):
        build_profiles(films(), settings(server, file))


def test_sources_that_ignore_the_model(server: OpenAIServer, file: Path, tmp_path: Path) -> None:
    options = settings(server, file)
    run(options)
    aside = dataclasses.replace(options, source="template")
    assert (
        build_profiles(films(), aside).entity_texts == build_profiles(films(), ProfileOptions()).entity_texts
    )
    with pytest.raises(ConfigError, match=r"profiles\.source is 'template'"):
        run(aside)


def test_texts_of_a_folder_come_first(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="contains no profile texts"):
        build_profiles(films(), ProfileOptions(texts=str(tmp_path)))
    (tmp_path / "entity_profiles.json").write_text('{"3": "Chicago, in a folder."}')
    brought = films(
        profiles=NodeTexts(entities={CHICAGO: "Of the data set.", MANN: "Mann, of the data set."})
    )
    profiles = build_profiles(brought, ProfileOptions(texts=str(tmp_path)))
    assert profiles.entity_texts[MANN] == "Mann, of the data set."
    assert profiles.entity_texts[CHICAGO] == "Chicago, in a folder."
    assert profiles.entity_sources[CHICAGO] == "given"
