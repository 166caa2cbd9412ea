"""Tables, sentences and CSV of runs with known numbers."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from spike_dgl.comparison.csv_file import render_csv
from spike_dgl.comparison.figure import draw
from spike_dgl.comparison.folder import StudyFolder
from spike_dgl.comparison.outcome import Comparison, compare, planned_runs
from spike_dgl.comparison.results_page import read_report, render_report
from spike_dgl.comparison.table import (
    ahead,
    beyond_accuracy_table,
    findings,
    group_tables,
    main_table,
    render,
)
from spike_dgl.errors import ConfigError, DataError, SpikeError
from spike_dgl.evaluation.significance import holm, paired_test
from tests.comparison.studies import study, write_run

BASE = np.array([0.1, 0.2, 0.3, 0.2, 0.1, 0.3])
WOBBLE = np.array([0.01, -0.01, 0.02, 0.0, 0.01, -0.02])
"""Differences of mean .00167 and no significance."""


@pytest.fixture
def three(tmp_path: Path) -> Comparison:
    """Three models with two seeds: `b` is better than `a` for every user, and `c` about equal to `a`."""
    made = study(tmp_path, {"models": ["a", "b", "c"], "seeds": [1, 2], "reference": "a"})
    for seed, noise in ((1, 0.002), (2, -0.002)):
        write_run(tmp_path / "a" / f"seed{seed}", BASE + noise)
        write_run(tmp_path / "b" / f"seed{seed}", BASE + 0.1 + WOBBLE)
        write_run(tmp_path / "c" / f"seed{seed}", BASE + WOBBLE + noise)
    return compare(made, tmp_path)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_the_table_has_mean_and_deviation_over_seeds_and_marks_the_best(three: Comparison) -> None:
    header, _, a, b, c = map(cells, main_table(three).splitlines())
    assert header[:4] == ["", "runs", "recall@20", "ndcg@20"]
    # Means of a: .2 + .002 and .2 - .002, whose deviation is .004 / sqrt(2).
    assert a[:3] == ["a", "2", "0.2000 ± 0.0028"]
    assert b[2:4] == ["**0.3017 ± 0.0000**", "**0.1508 ± 0.0000**"]
    assert a[4] == "reference"
    assert c[4].startswith("+0.0017 [")
    assert a[6:] == ["10", "1", "0.50", "100"]


def test_users_are_tested_on_their_mean_over_seeds_and_corrected_over_rows(three: Comparison) -> None:
    b, c = (three.differences[label]["recall@20"] for label in "bc")
    expected = [paired_test(BASE + shift + WOBBLE, BASE) for shift in (0.1, 0.0)]
    assert [b.p_value, c.p_value] == pytest.approx(holm([test.p_value for test in expected]))
    assert b.test.difference == pytest.approx(0.1 + WOBBLE.mean())
    assert three.differences["a"] == {}


def test_rows_above_the_reference_are_named_first(three: Comparison, tmp_path: Path) -> None:
    assert list(ahead(three)) == ["Above a (0.2000) by mean recall@20: b (0.3017), c (0.2017)."]
    best = study(tmp_path, {"models": ["a", "b", "c"], "seeds": [1, 2], "reference": "b"})
    assert not list(ahead(compare(best, tmp_path)))


def test_sentences_say_worse_better_or_no_significant_difference(three: Comparison, tmp_path: Path) -> None:
    worse, neither = findings(three)
    assert worse.startswith("a is significantly worse than b by 0.1017 recall@20 (95 % interval 0.0")
    assert neither.startswith("a and c do not differ significantly: -0.0017 recall@20 (")
    other = study(tmp_path, {"models": ["a", "b", "c"], "seeds": [1, 2], "reference": "b"})
    assert all(
        sentence.startswith("b is significantly better than")
        for sentence in findings(compare(other, tmp_path))
    )


def test_a_difference_within_the_spread_over_seeds_is_said_to_be_so(tmp_path: Path) -> None:
    made = study(tmp_path, {"models": ["a", "b"], "seeds": [1, 2], "reference": "b"})
    for seed, noise in ((1, 0.2), (2, -0.2)):
        write_run(tmp_path / "a" / f"seed{seed}", BASE + noise)
        write_run(tmp_path / "b" / f"seed{seed}", BASE + 0.1 + WOBBLE + noise)
    (sentence,) = findings(compare(made, tmp_path))
    assert "better than a" in sentence
    assert sentence.endswith("but no more than the standard deviation over seeds.")


def test_csv_holds_the_same_unrounded(three: Comparison) -> None:
    a, b, _ = csv.DictReader(io.StringIO(render_csv(three)))
    assert (a["label"], a["runs"], a["recall@20 p"]) == ("a", "2", "")
    assert float(b["recall@20 mean"]) == pytest.approx((BASE + 0.1 + WOBBLE).mean())
    assert float(b["recall@20 p corrected"]) == three.differences["b"]["recall@20"].p_value
    assert float(b["ndcg@20 difference"]) == pytest.approx(float(b["recall@20 difference"]) / 2)
    assert float(b["seconds_to_quality"]) == 1.0


def test_the_reference_is_the_best_on_validation_and_not_on_test(tmp_path: Path) -> None:
    made = study(tmp_path, {"models": ["a", "b"], "seeds": [1]})
    write_run(tmp_path / "a" / "seed1", BASE, valid={"ndcg@20": 0.3})
    write_run(tmp_path / "b" / "seed1", BASE + 0.2, valid={"ndcg@20": 0.2})
    comparison = compare(made, tmp_path)
    assert comparison.reference == "a"
    assert "Reference: a, chosen as the best on validation." in render(comparison, "")
    assert next(findings(comparison)).endswith("the variation over seeds is unknown.")


def test_along_an_axis_variants_are_tested_at_the_same_value(tmp_path: Path) -> None:
    axis = {"name": "x", "setting": "training.epochs", "values": [1, 2]}
    made = study(tmp_path, {"models": ["a", "b"], "axis": axis, "seeds": [1], "reference": "a"})
    for model, shift in (("a", 0.0), ("b", 0.1)):
        for value in (1, 2):
            write_run(tmp_path / f"{model}-x-{value}" / "seed1", BASE + value + shift * value)
    comparison = compare(made, tmp_path)
    tested = {
        label: found["recall@20"].test.difference for label, found in comparison.differences.items() if found
    }
    assert tested == pytest.approx({"b, x = 1": 0.1, "b, x = 2": 0.2})


def test_a_row_without_runs_is_shown_and_not_tested(tmp_path: Path) -> None:
    made = study(tmp_path, {"models": ["a", "b", "c"], "seeds": [1, 2], "reference": "a"})
    for seed in (1, 2):
        write_run(tmp_path / "a" / f"seed{seed}", BASE)
    write_run(tmp_path / "b" / "seed2", BASE)
    comparison = compare(made, tmp_path)
    _, b, c = (cells(line) for line in main_table(comparison).splitlines()[2:])
    assert b[1] == "1 of 2"
    assert c == ["c", "0 of 2", *["-"] * 8]
    assert "c" not in "".join(findings(comparison)).split()
    assert "\nc,c,,0," in render_csv(comparison)


def test_metrics_beyond_accuracy_have_a_table_without_runs_of_earlier_versions(tmp_path: Path) -> None:
    made = study(tmp_path, {"models": ["a", "b", "c"], "seeds": [1, 2], "reference": "a"})
    for seed in (1, 2):
        beyond = {"coverage@20": 0.25 * seed, "mean_popularity@20": 10.04, "coverage@10": 0.9}
        write_run(tmp_path / "a" / f"seed{seed}", BASE, test_beyond_accuracy=beyond)
        write_run(
            tmp_path / "b" / f"seed{seed}", BASE, **({"test_beyond_accuracy": beyond} if seed > 1 else {})
        )
    comparison = compare(made, tmp_path)
    header, _, a, b, c = map(cells, beyond_accuracy_table(comparison).splitlines())
    assert header[:3] == ["beyond accuracy @20", "coverage", "novelty (bits)"]
    assert a == ["a", "0.3750", "-", "-", "-", "10.0", "-"]
    assert (b, c) == (["b", *["-"] * 6], ["c", *["-"] * 6])
    assert beyond_accuracy_table(comparison) in render(comparison, "")
    of_a, of_b, _ = csv.DictReader(io.StringIO(render_csv(comparison)))
    assert (of_a["coverage@20 mean"], of_a["mean_popularity@20 mean"]) == ("0.375", "10.04")
    assert float(of_a["coverage@20 deviation"]) == pytest.approx(0.25 / np.sqrt(2))
    assert of_b["coverage@20 mean"] == ""
    write_run(tmp_path / "old" / "a" / "seed1", BASE)
    assert beyond_accuracy_table(compare(made, tmp_path / "old")) == ""


def test_failed_runs_say_why_until_they_are_finished(tmp_path: Path) -> None:
    made = study(tmp_path, {"models": ["a", "b"], "seeds": [1], "reference": "a"})
    write_run(tmp_path / "a" / "seed1", BASE)
    folder = StudyFolder(tmp_path)
    (tmp_path / "study.yaml").write_text(made.to_yaml())
    assert folder.comparison().failures == ()
    folder._write_failures({tmp_path / "b" / "seed1": f"out of memory; see {tmp_path / 'b' / 'seed1.log'}"})
    assert "\n\n- b/seed1 failed: out of memory; see b/seed1.log.\n\n" in folder.report(folder.comparison())
    write_run(tmp_path / "b" / "seed1", BASE)
    assert folder.comparison().failures == ()


@pytest.mark.parametrize("changes", [{"split_hash": "e" * 64}, {"checksum": "e" * 64}])
def test_runs_on_other_data_are_not_compared(tmp_path: Path, changes: dict) -> None:
    made = study(tmp_path, {"models": ["a", "b"], "seeds": [1]})
    write_run(tmp_path / "a" / "seed1", BASE)
    write_run(tmp_path / "b" / "seed1", BASE, **changes)
    with pytest.raises(DataError, match="has other data, another split"):
        compare(made, tmp_path)


def test_runs_of_earlier_versions_are_compared_without_times(tmp_path: Path) -> None:
    made = study(tmp_path, {"models": ["a", "b", "c"], "seeds": [1]})
    write_run(tmp_path / "a" / "seed1", BASE)  # its checksum is the one without times
    for model, checksum in (("b", "e" * 64), ("c", "f" * 64)):
        write_run(tmp_path / model / "seed1", BASE, checksum=checksum, checksum_without_times="c" * 64)
    assert f"checksum {'c' * 12}" in render(compare(made, tmp_path), "")
    write_run(tmp_path / "later" / "b" / "seed1", BASE, checksum="e" * 64, checksum_without_times="c" * 64)
    write_run(tmp_path / "later" / "c" / "seed1", BASE, checksum="f" * 64, checksum_without_times="c" * 64)
    with pytest.raises(DataError, match="has other data"):
        compare(made, tmp_path / "later")


def test_variants_may_change_the_graph(tmp_path: Path) -> None:
    made = study(tmp_path, {"models": ["a", "b"], "seeds": [1]})
    write_run(tmp_path / "a" / "seed1", BASE)
    write_run(tmp_path / "b" / "seed1", BASE, checksum="e" * 64)
    file = tmp_path / "b" / "seed1" / "config.yaml"
    file.write_text(file.read_text().replace("path: toy", "path: toy\n  kg_fraction: 0.5"))
    assert "2 forms of the data" in render(compare(made, tmp_path), "")


def test_a_run_of_an_earlier_version_is_named(tmp_path: Path) -> None:
    made = study(tmp_path, {"models": ["a"], "seeds": [1]})
    with pytest.raises(SpikeError, match="no run of the study is finished"):
        compare(made, tmp_path)
    write_run(tmp_path / "a" / "seed1", BASE)
    (tmp_path / "a" / "seed1" / "test_users.npz").unlink()
    with pytest.raises(DataError, match="an earlier version made the run"):
        compare(made, tmp_path)


def test_a_metric_that_was_not_measured_is_named(tmp_path: Path) -> None:
    made = study(tmp_path, {"models": ["a"], "seeds": [1], "metrics": ["recall@7"]})
    write_run(tmp_path / "a" / "seed1", BASE)
    with pytest.raises(DataError, match="has no metric 'recall@7'"):
        compare(made, tmp_path)


def test_groups_have_mean_and_deviation_over_seeds_in_table_and_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    by = "activity of users"
    made = study(tmp_path, {"models": ["a", "b"], "seeds": [1, 2], "reference": "a", "plot_by": by})
    for model, shift in (("a", 0.0), ("b", 0.1)):
        for seed, noise in ((1, 0.002), (2, -0.002)):
            write_run(tmp_path / model / f"seed{seed}", BASE + shift + noise)
    comparison = compare(made, tmp_path)
    (table,) = group_tables(comparison)
    assert [cells(line) for line in table.splitlines()][2:] == [
        ["a", "0.2000 ± 0.0028"],
        ["b", "0.3000 ± 0.0028"],
    ]
    recall, ndcg = draw(comparison).axes
    assert recall.get_xlabel() == f"by {by}"
    assert recall.get_xticklabels()[0].get_text() == "1-3 training\nitems"
    heights = [list(line[0].get_ydata()) for line in (*recall.containers, *ndcg.containers)]
    assert heights == [pytest.approx([mean]) for mean in (0.2, 0.3, 0.1, 0.15)]


def test_users_with_fewest_training_items_are_tested_on_their_own(tmp_path: Path) -> None:
    made = study(tmp_path, {"models": ["a", "b"], "seeds": [1], "reference": "a"})
    recall = np.array([0.1, 0.2, 0.3, 0.4] * 4)
    counts = np.tile([5, 6, 7, 8], 4)  # four groups of four users
    better = recall + np.where(counts == 5, 0.1 + 0.01 * np.arange(16), -0.1)
    write_run(tmp_path / "a" / "seed1", recall, counts)
    write_run(tmp_path / "b" / "seed1", better, counts)
    comparison = compare(made, tmp_path)
    found = comparison.among_least_active["b"]
    assert found.test == paired_test(better[::4], recall[::4])
    header, _, a, b = map(cells, next(iter(group_tables(comparison))).splitlines())
    assert header[2:] == ["first group against a", "p (Holm)"]
    assert a[2:] == ["reference", ""]
    assert b[2].startswith("+0.1600 [")
    assert comparison.differences["b"]["recall@20"].test.difference < 0

    write_run(tmp_path / "old" / "a" / "seed1", recall)
    write_run(tmp_path / "old" / "b" / "seed1", better, counts)
    assert not compare(made, tmp_path / "old").among_least_active


def test_a_page_of_studies(three: Comparison, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(three.study.to_yaml())
    file = tmp_path / "results.yaml"
    file.write_text(f"title: Results\nstudies: [{{folder: '{tmp_path}', text: Three toys.}}]\n")
    page = render_report(read_report(file), file)
    assert page.startswith("<!-- Written from run folders")
    assert "\n# Results\n" in page
    assert "\n## bench\n\nThree toys.\n\n| " in page
    assert "- a is significantly worse than b by 0.1017 recall@20" in page
    assert "1-3 training items (3 users)" in page
    file.write_text("title: Results\nstudies: [{folder: nowhere}]\n")
    with pytest.raises(DataError, match="is not the folder of a study"):
        render_report(read_report(file), file)
    file.write_text("title: Results\nstudy: []\n")
    with pytest.raises(ConfigError, match=r"results\.yaml: unknown setting 'report\.study'; did you mean"):
        read_report(file)


def test_there_is_a_plot_with_matplotlib_and_a_note_without(
    three: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    report = StudyFolder(tmp_path).write_report(three)
    assert "No plot: plots need matplotlib" in report
    assert "No plot" not in (tmp_path / "table.md").read_text()
    monkeypatch.undo()
    pytest.importorskip("matplotlib")
    assert "No plot" not in StudyFolder(tmp_path).write_report(three)
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("metric", "cutoffs", "message"),
    [("recall@7", [10, 20], "'recall@7' is not measured"), ("recal@20", [20], "did you mean 'recall@20'")],
)
def test_a_metric_that_no_run_would_measure_is_told_before_any_runs(
    tmp_path: Path, metric: str, cutoffs: list[int], message: str
) -> None:
    base = {"evaluation": {"cutoffs": cutoffs}}
    made = study(tmp_path, {"base": base, "models": ["popularity"], "metrics": ["ndcg@20", metric]})
    with pytest.raises(ConfigError, match=message):
        planned_runs(made, tmp_path)
