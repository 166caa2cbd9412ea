"""The command line end to end: a first run, resuming, recommending, and errors."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.command_line import run_command

ROOT = Path(__file__).parents[1]
SMALL = ["model.embedding_dim=8", "training.threads=1", "profiles.vector_dim=16"]


@pytest.fixture
def run(monkeypatch, capsys):
    return lambda *arguments: run_command(monkeypatch, capsys, *arguments)


@pytest.fixture
def trained(run, data_folder: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    code, _, error = run(
        "train", f"data.path={data_folder}", "training.epochs=3", *SMALL, "--out", folder, "--quiet"
    )
    assert code == 0, error
    return folder


def test_a_run_folder_tells_its_whole_story(trained: Path, data_folder: Path) -> None:
    names = {file.name for file in trained.iterdir()}
    assert names == {
        "config.yaml", "environment.json", "profiles.npz", "item_terms.npz", "profiles.jsonl.gz", "encoder.npz",
        "metrics.jsonl", "last.pt", "best.pt", "embeddings.npz", "test_users.npz", "result.json", "RESULT.md",
        "popularity_weight.json",
    }  # fmt: skip
    environment = json.loads((trained / "environment.json").read_text())
    assert {"python", "packages", "platform", "data", "command"} <= environment.keys()
    assert len(environment["data"]["checksum"]) == 64
    result = json.loads((trained / "result.json").read_text())
    assert 0 <= result["test"]["recall@20"] <= 1
    assert result["split_hash"] == environment["data"]["split_hash"]
    records = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2, 3]
    assert "spike on tiny" in (trained / "RESULT.md").read_text()


def test_a_run_that_is_not_tested_ends_with_validation_and_is_tested_later(
    run, trained: Path, data_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "untested"
    command = ["train", f"data.path={data_folder}", "training.epochs=3", *SMALL, "--out", folder, "--quiet"]
    code, out, error = run(*command, "--no-test")
    assert code == 0, error
    names = {file.name for file in folder.iterdir()}
    assert "validation.json" in names
    assert not {"result.json", "RESULT.md", "embeddings.npz", "test_users.npz"} & names
    record = json.loads((folder / "validation.json").read_text())
    assert not any(key.startswith("test") for key in record)
    assert "recall" not in out
    assert run("train", "--resume", folder, "--quiet")[0] == 0
    tested, other = (json.loads((path / "result.json").read_text()) for path in (folder, trained))
    assert tested["valid"] == record["valid"] == other["valid"]
    assert tested["test"] == other["test"]


def test_training_ends_with_metrics_and_a_list(run, data_folder: Path, tmp_path: Path) -> None:
    code, out, _ = run(
        "train", f"data.path={data_folder}", "training.epochs=1", *SMALL, "--out", tmp_path / "run", "--quiet"
    )
    assert code == 0
    assert re.search(r"\| recall +\| +0\.\d+", out)
    assert re.search(r"^  10 +-?\d+\.\d+  \S", out, flags=re.MULTILINE)
    assert f"main.py recommend {tmp_path / 'run'}" in out


def test_evaluate_gives_what_training_reported(run, trained: Path) -> None:
    code, out, _ = run("evaluate", trained, "--json")
    assert code == 0
    metrics = json.loads(out)
    reported = json.loads((trained / "result.json").read_text())["test"]
    assert {name: metrics[name] for name in reported} == reported
    beyond = json.loads((trained / "result.json").read_text())["test_beyond_accuracy"]
    assert metrics["beyond_accuracy"] == beyond
    assert {"coverage@20", "profile_diversity@20", "fact_diversity@10"} <= beyond.keys()
    code, out, _ = run("evaluate", trained)
    assert code == 0
    assert f"| coverage             | {beyond['coverage@10']:.4f} |" in out


def test_a_model_below_a_baseline_is_said_to_be_and_no_error(run, data_folder: Path, tmp_path: Path) -> None:
    settings = [f"data.path={data_folder}", "training.epochs=1", "training.learning_rate=1e-9", *SMALL]
    code, out, _ = run("train", "model.name=bpr-mf", *settings, "--out", tmp_path / "run", "--quiet")
    assert code == 0
    assert re.search(r"\| item-cosine +\| +1\.0000 \|", out)
    assert "**Below item-cosine: recall@20 0." in out


def test_a_sampled_run_is_resumed_and_evaluated_like_any_other(
    run, data_folder: Path, tmp_path: Path
) -> None:
    folders = tmp_path / "whole", tmp_path / "parts"
    settings = (f"data.path={data_folder}", "model.fanout=[2, 2]", *SMALL, "--quiet")
    for folder, epochs in zip(folders, (3, 2), strict=True):
        code, _, error = run("train", *settings, f"training.epochs={epochs}", "--out", folder)
        assert code == 0, error
    run("train", "--resume", folders[1], "training.epochs=3", "--quiet")
    whole, parts = (json.loads(run("evaluate", folder, "--json")[1]) for folder in folders)
    assert whole == parts
    reported = json.loads((folders[0] / "result.json").read_text())["test"]
    assert {name: whole[name] for name in reported} == reported


def test_a_fanout_for_another_number_of_layers_is_one_clear_error(run, data_folder: Path) -> None:
    code, _, error = run("train", f"data.path={data_folder}", "model.fanout=[10]")
    assert code == 2
    assert error == "error: model: fanout needs one number per layer, and num_layers is 2\n"


@pytest.mark.slow
def test_bench_sampling_sets_sampled_steps_beside_whole_ones(run, data_folder: Path) -> None:
    code, out, _ = run("bench", "sampling", data_folder, "--fanout", 1, "--fanout", 2, "--repeats", 1)
    assert code == 0
    whole, sampled = ([cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines()[2:])
    assert whole[:3] == ["72", "320", "whole graph"]
    assert sampled[:3] == ["72", "320", "1, 2"]
    assert all(re.fullmatch(r"\d+\.\d\d", row[place]) for row in (whole, sampled) for place in (4, 6))


def test_evaluate_at_other_cutoffs(run, trained: Path) -> None:
    code, out, _ = run("evaluate", trained, "evaluation.cutoffs=[3, 20]", "--split", "valid", "--json")
    assert code == 0
    assert {"recall@3", "ndcg@20"} <= json.loads(out).keys()


def test_lists_for_someone_new_and_similar_items(run, trained: Path) -> None:
    for asked in (["recommend", trained, "--item", "0", "--item", "2"], ["similar", trained, "0"]):
        code, out, _ = run(*asked, "-k", "3")
        assert (code, len(out.splitlines())) == (0, 3)
    code, out, _ = run("recommend", trained, "--text", "40", "--candidate", "4", "--json")
    assert [item["id"] for item in json.loads(out)["items"]] == ["4"]


def test_recommend_for_several_users_as_json(run, trained: Path, data_folder: Path) -> None:
    code, out, _ = run("recommend", trained, "--user", "0", "--user", "7", "-k", "5", "--json")
    assert code == 0
    lists = [json.loads(line) for line in out.splitlines()]
    assert [entry["user"] for entry in lists] == ["0", "7"]
    train = {
        line.split()[0]: set(line.split()[1:])
        for line in (data_folder / "train.txt").read_text().splitlines()
    }
    for entry in lists:
        assert len(entry["items"]) == 5
        assert not {item["id"] for item in entry["items"]} & train[entry["user"]]
        scores = [item["score"] for item in entry["items"]]
        assert scores == sorted(scores, reverse=True)


def test_two_epochs_resumed_to_four_are_four(run, data_folder: Path, tmp_path: Path) -> None:
    arguments = [f"data.path={data_folder}", *SMALL, "training.patience=null", "--quiet", "--out"]
    assert run("train", "training.epochs=4", *arguments, tmp_path / "whole")[0] == 0
    assert run("train", "training.epochs=2", *arguments, tmp_path / "parts")[0] == 0
    assert run("train", "--resume", tmp_path / "parts", "training.epochs=4", "--quiet")[0] == 0
    with (
        np.load(tmp_path / "whole" / "embeddings.npz") as whole,
        np.load(tmp_path / "parts" / "embeddings.npz") as parts,
    ):
        for side in ("users", "items"):
            assert np.array_equal(whole[side], parts[side])


def test_results_of_seeds_are_averaged(run, data_folder: Path, tmp_path: Path) -> None:
    arguments = [f"data.path={data_folder}", *SMALL, "training.epochs=1", "--quiet", "--out"]
    for seed in (1, 2):
        assert run("train", f"training.seed={seed}", *arguments, tmp_path / f"seed{seed}")[0] == 0
    assert run("train", "model.num_heads=1", *arguments, tmp_path / "other")[0] == 0
    code, out, _ = run("results", tmp_path / "seed1", tmp_path / "other", tmp_path / "seed2")
    assert code == 0
    scores = [json.loads((tmp_path / f"seed{seed}" / "result.json").read_text())["test"] for seed in (1, 2)]
    mean = (scores[0]["recall@20"] + scores[1]["recall@20"]) / 2
    assert re.search(rf"\| tiny \| spike \| +2 \| {mean:.4f} ± 0\.\d+", out)
    assert len(out.strip().splitlines()) == 4


def test_show_config_prints_what_it_would_run(run, tmp_path: Path) -> None:
    code, out, _ = run("train", "training.epochs=7", "--show-config", "--out", tmp_path / "run")
    assert code == 0
    assert "epochs: 7" in out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "training.epoch=3"], "did you mean 'epochs'"),
        (["train", "data.path=nowhere/at/all"], "no such folder"),
        (["train", "--config", "absent.yaml"], "absent.yaml: cannot be read"),
        (["train", "--resume", "nowhere"], "not a run folder"),
        (["evaluate", "nowhere"], "not a run folder"),
        (["recommend", "nowhere", "--user", "1"], "not a run folder"),
        (["recommend", "nowhere"], "give exactly one of --user, --all-users, --item and --text"),
        (["similar", "nowhere", "1"], "not a run folder"),
        (["data", "nowhere"], "no such folder"),
        (["prepare", "movielens", "nowhere", "somewhere"], "nowhere"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(run, arguments: list[str], message: str) -> None:
    code, _, error = run(*arguments)
    assert code == 2
    assert message in error
    assert "Traceback" not in error


def test_an_existing_run_is_not_overwritten(run, trained: Path, data_folder: Path) -> None:
    before = (trained / "config.yaml").read_bytes()
    code, _, error = run("train", f"data.path={data_folder}", "--out", trained)
    assert code == 2
    assert "already exists" in error
    assert (trained / "config.yaml").read_bytes() == before


def test_data_that_changed_since_training_is_noticed(run, data_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in data_folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    arguments = [
        "train",
        f"data.path={copy}",
        "training.epochs=1",
        *SMALL,
        "--quiet",
        "--out",
        tmp_path / "run",
    ]
    assert run(*arguments)[0] == 0
    with (copy / "train.txt").open("a") as stream:
        stream.write("0 39\n1 38\n")
    code, _, error = run("recommend", tmp_path / "run", "--user", "0")
    assert code == 2
    assert "no longer the data" in error


def test_a_run_of_a_version_without_a_setting_says_which(run, data_folder: Path, tmp_path: Path) -> None:
    settings = [f"data.path={data_folder}", "training.epochs=1", "model.similar_items=0", *SMALL]
    assert run("train", *settings, "--out", tmp_path / "old", "--quiet")[0] == 0
    config = tmp_path / "old" / "config.yaml"
    config.write_text(config.read_text().replace("  similar_items: 0\n", ""))
    for command in (
        ["evaluate", tmp_path / "old"],
        ["recommend", tmp_path / "old", "--item", "0"],
        ["explain", tmp_path / "old", "--user", "0", "--item", "1"],
        ["train", "--resume", tmp_path / "old"],
    ):
        code, _, error = run(*command)
        assert code == 2
        assert f"{config}: describes another model" in error
        assert "without model.similar_items (now 10): set the value that switches it off" in error


def test_an_unknown_user_is_named(run, trained: Path) -> None:
    code, _, error = run("recommend", trained, "--user", "301")
    assert code == 2
    assert "unknown user '301'; did you mean" in error


def test_a_resumed_run_keeps_its_data_and_model(run, trained: Path) -> None:
    code, _, error = run("train", "--resume", trained, "model.num_heads=1")
    assert code == 2
    assert "only settings of the training section can change" in error


def test_a_list_of_a_user_without_history_says_that_it_is_popularity(
    run, data_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(data_folder, folder)
    lines = (folder / "train.txt").read_text().splitlines()
    (folder / "train.txt").write_text("\n".join(lines[:-1]) + "\n29\n")
    options = [f"data.path={folder}", "training.epochs=1", *SMALL, "--out", tmp_path / "run", "--quiet"]
    assert run("train", *options)[0] == 0
    _, out, _ = run("recommend", tmp_path / "run", "--user", "29", "-k", "3")
    assert "user 29, the most popular items: the user has no training interactions" in out
    _, out, _ = run("recommend", tmp_path / "run", "--user", "29", "--json")
    assert json.loads(out)["ranked_by"] == "popularity"
    _, out, error = run("recommend", tmp_path / "run", "--all-users", "--out", tmp_path / "lists.jsonl")
    assert "30 lists" in out
    assert "1 of them contain the most popular items" in error
    assert (tmp_path / "lists.jsonl").read_text().count('"ranked_by": "popularity"') == 1


def test_data_that_cannot_be_tested_is_refused_before_training(
    run, data_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(data_folder, folder)
    shutil.copy(folder / "train.txt", folder / "test.txt")
    for settings in ([], ["data.valid_fraction=0"]):
        code, _, error = run("train", f"data.path={folder}", *SMALL, *settings, "--out", tmp_path / "run")
        assert code == 2
        assert "no test pair to evaluate on: all 270 pairs are in the training or validation split" in error
        assert not (tmp_path / "run").exists()
    code, _, error = run("train", f"data.path={data_folder}", *SMALL, "data.hidden_items=0.99", "--quiet")
    assert code == 2


def test_a_run_is_evaluated_at_other_list_lengths(run, trained: Path) -> None:
    code, out, error = run("evaluate", trained, "evaluation.cutoffs=[1,3]", "--json")
    assert code == 0, error
    assert json.loads(out)["recall@3"] >= json.loads(out)["recall@1"]
    assert run("train", "--resume", trained, "training.epochs=4", "training.metric=hit@3", "--quiet")[0] == 2


@pytest.mark.parametrize("model", ["kgat", "diff-kg"])
@pytest.mark.parametrize("rate", ["1000", "100"])
def test_a_rate_that_breaks_the_parameters_is_one_clear_error(
    run, data_folder: Path, tmp_path: Path, model: str, rate: str
) -> None:
    settings = [
        f"model.name={model}",
        f"training.learning_rate={rate}",
        "training.epochs=30",
        "training.patience=null",
    ]
    code, _, error = run(
        "train", f"data.path={data_folder}", *SMALL, *settings, "--out", tmp_path / "run", "--quiet"
    )
    assert code in (0, 2)
    assert code == 0 or "training.learning_rate" in error


def test_data_takes_settings_and_a_config(run, data_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(f"data: {{path: '{data_folder}', valid_fraction: 0.0}}\n")
    assert re.search(r"valid +0\n", run("data", "--config", tmp_path / "run.yaml")[1])
    assert re.search(r"valid +60\n", run("data", data_folder, "data.valid_fraction=0.2")[1])
    assert "did you mean 'valid_fraction'" in run("data", data_folder, "data.valid_fractoin=0.2")[2]


def test_data_shows_statistics_and_audit_of_the_bundled_set(run) -> None:
    code, out, _ = run("data")
    assert code == 0
    assert "1,955" in out


def start_and_stop(folder: Path, arguments: list[str], number: signal.Signals) -> tuple[int, str]:
    """Train in a separate process until two epochs are done, then send a signal: exit code and error output."""
    process = subprocess.Popen(
        [sys.executable, "main.py", "train", *arguments, "training.epochs=3000", "--out", str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while epochs_of(folder) < 2 and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(number)
    error = process.communicate(timeout=60)[1]
    return process.returncode, error


def epochs_of(folder: Path) -> int:
    file = folder / "metrics.jsonl"
    return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_or_killed_process_goes_on_as_if_nothing_had_happened(
    run, data_folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    arguments = [f"data.path={data_folder}", "training.patience=null", "training.batch_size=32", *SMALL]
    code, error = start_and_stop(tmp_path / "parts", arguments, number)
    assert "Traceback" not in error
    if number == signal.SIGINT:
        assert code == 128 + signal.SIGINT
        assert f"--resume {tmp_path / 'parts'}" in error
    total = f"training.epochs={epochs_of(tmp_path / 'parts') + 2}"
    assert run("train", "--resume", tmp_path / "parts", total, "--quiet")[0] == 0
    assert run("train", *arguments, total, "--out", tmp_path / "whole", "--quiet")[0] == 0
    with (
        np.load(tmp_path / "whole/embeddings.npz") as whole,
        np.load(tmp_path / "parts/embeddings.npz") as parts,
    ):
        for side in ("users", "items"):
            assert np.array_equal(whole[side], parts[side])
    assert epochs_of(tmp_path / "parts") == epochs_of(tmp_path / "whole")


def test_a_run_is_evaluated_on_another_device_but_with_no_other_setting(run, trained: Path) -> None:
    (trained / "config.yaml").write_text(
        (trained / "config.yaml").read_text().replace("device: auto", "device: cuda")
    )
    code, out, error = run("evaluate", trained, "training.device=cpu", "--json")
    assert code == 0, error
    assert json.loads(out)["split"] == "test"
    code, _, error = run("evaluate", trained, "training.epochs=9")
    assert code == 2
    assert "only settings of the evaluation section can change" in error


def test_a_run_that_cannot_start_leaves_no_folder(run, tmp_path: Path) -> None:
    code, _, errors = run("train", "data.path=nowhere/at/all", "--out", tmp_path / "run")
    assert code == 2
    assert "nowhere/at/all" in errors
    assert not (tmp_path / "run").exists()


def test_lists_of_all_users_and_embeddings_as_files(run, trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "lists.jsonl"
    code, out, error = run("recommend", trained, "--all-users", "-k", "3", "--out", file)
    assert (code, out) == (0, f"30 lists -> {file}\n"), error
    shown = run("recommend", trained, "--all-users", "-k", "3", "--json")[1]
    assert file.read_text() == shown
    assert shown.splitlines()[7] + "\n" == run("recommend", trained, "--user", "7", "-k", "3", "--json")[1]
    for wrong in (["--text", "40"], ["--all-users", "--json"], ["--all-users", "--user", "1"]):
        assert run("recommend", trained, *wrong, "--out", file)[0] == 2
    code, out, error = run("embeddings", trained, "--out", tmp_path / "index")
    assert (code, json.loads(out)["users"]) == (0, 30), error
    assert run("embeddings", trained, "--out", tmp_path / "index")[0] == 2
