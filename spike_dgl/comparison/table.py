"""Comparison as Markdown: the table, conclusions in sentences, groups of users and items, and notes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from spike_dgl.comparison.outcome import (
    Comparison,
    Difference,
    FinishedRun,
    Outcome,
    checksum_without_times,
)
from spike_dgl.evaluation import BEYOND_ACCURACY
from spike_dgl.evaluation.groups import BY_ACTIVITY
from spike_dgl.markdown import markdown_table
from spike_dgl.runs.averages import (
    COSTS,
    beyond_accuracy,
    mean_and_deviation,
    render_cost,
    render_spread,
    spread,
)

LEVEL = 0.05
SHOWN_COSTS = ("parameters", "seconds_to_quality", "seconds_per_epoch", "peak_memory_mb")
NONE = "-"


def render(comparison: Comparison, made: str) -> str:
    """Render a comparison without its title.

    Parameters
    ----------
    comparison
        Comparison of a study with finished runs.
    made
        Sentence about the command and the number of parallel processes.
    """
    found = (*comparison.failures, *ahead(comparison), *findings(comparison))
    sentences = "\n".join(f"- {sentence}" for sentence in found)
    tables = [beyond_accuracy_table(comparison), *group_tables(comparison)]
    parts = [main_table(comparison), sentences, *tables, note(comparison, made)]
    return "\n\n".join(filter(None, parts))


def main_table(comparison: Comparison) -> str:
    """Render one line per row: test metrics, difference from the reference and its p value, and costs."""
    metrics = comparison.study.file.metrics
    tested = f"{metrics[0]} against {comparison.reference}" if comparison.reference else "difference"
    header = ["", "runs", *metrics, tested, "p (Holm)", *(COSTS[name][0] for name in SHOWN_COSTS)]
    best = {metric: _best(comparison.outcomes, metric) for metric in metrics}
    rows = [_cells(comparison, outcome, best) for outcome in comparison.outcomes]
    return markdown_table([header, *rows])


def _best(outcomes: Iterable[Outcome], metric: str) -> float:
    return max(spread(outcome.records, metric)[0] for outcome in outcomes if outcome.runs)


def _cells(comparison: Comparison, outcome: Outcome, best: dict[str, float]) -> list[str]:
    metrics, seeds = comparison.study.file.metrics, comparison.study.file.seeds
    done = len(outcome.runs)
    runs = str(done) if done == len(seeds) else f"{done} of {len(seeds)}"
    if not done:
        return [outcome.row.label, runs, *[NONE] * (len(metrics) + 2 + len(SHOWN_COSTS))]
    scores = []
    for metric in metrics:
        average, deviation = spread(outcome.records, metric)
        shown = render_spread(average, deviation)
        scores.append(f"**{shown}**" if average == best[metric] else shown)
    costs = [render_cost(outcome.records, name) for name in SHOWN_COSTS]
    tested = comparison.differences[outcome.row.label].get(metrics[0])
    return [outcome.row.label, runs, *scores, *_test_cells(comparison, outcome, tested), *costs]


def _test_cells(comparison: Comparison, outcome: Outcome, difference: Difference | None) -> list[str]:
    if difference is None:
        return ["reference" if comparison.reference_of(outcome) is outcome else NONE, ""]
    test = difference.test
    return [f"{test.difference:+.4f} [{test.low:+.4f}, {test.high:+.4f}]", render_p(difference.p_value)]


def render_p(value: float) -> str:
    """Render a p value with three decimals."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def ahead(comparison: Comparison) -> Iterator[str]:
    """Yield a sentence that names the rows whose mean is above that of the reference, if there are any.

    With an axis there is a reference for each value, and nothing is said.
    """
    metric = comparison.study.file.metrics[0]
    references = [
        each for each in comparison.outcomes if each.row.contender == comparison.reference and each.runs
    ]
    if len(references) != 1:
        return
    means = {each.row.label: spread(each.records, metric)[0] for each in comparison.outcomes if each.runs}
    own = means[references[0].row.label]
    higher = sorted((label for label in means if means[label] > own), key=means.__getitem__, reverse=True)
    if higher:
        listed = ", ".join(f"{label} ({means[label]:.4f})" for label in higher)
        yield f"Above {comparison.reference} ({own:.4f}) by mean {metric}: {listed}."


def findings(comparison: Comparison) -> Iterator[str]:
    """Yield a sentence per tested row: whether the reference is significantly better, worse, or neither."""
    metric = comparison.study.file.metrics[0]
    for outcome in comparison.outcomes:
        difference = comparison.differences[outcome.row.label].get(metric)
        reference = comparison.reference_of(outcome)
        if difference is not None and reference is not None:
            yield _finding(reference, outcome, difference, metric)


def _finding(reference: Outcome, outcome: Outcome, difference: Difference, metric: str) -> str:
    """Describe the difference from the reference's side, with the opposite sign."""
    test, p = difference.test, render_p(difference.p_value)
    ours, other = reference.row.label, outcome.row.label
    certainty = f"p {p if p.startswith('<') else f'= {p}'}"
    if difference.p_value >= LEVEL:
        interval = f"95 % interval {-test.high:+.4f} to {-test.low:+.4f}, {certainty}"
        gain = f"{-test.difference:+.4f} {metric}"
        return f"{ours} and {other} do not differ significantly: {gain} ({interval})."
    better = test.difference < 0
    low, high = (-test.high, -test.low) if better else (test.low, test.high)
    size = f"{abs(test.difference):.4f} {metric} (95 % interval {low:.4f} to {high:.4f}, {certainty})"
    seeds = _against_seeds(abs(test.difference), reference, outcome, metric)
    return f"{ours} is significantly {'better' if better else 'worse'} than {other} by {size}{seeds}."


def _against_seeds(gain: float, reference: Outcome, outcome: Outcome, metric: str) -> str:
    """Describe the difference relative to the deviation over seeds, since the test is over users only."""
    deviations = [spread(each.records, metric)[1] for each in (reference, outcome)]
    known = [deviation for deviation in deviations if deviation is not None]
    if len(known) < 2:
        return "; the variation over seeds is unknown"
    return "" if gain > max(known) else ", but no more than the standard deviation over seeds"


def beyond_accuracy_table(comparison: Comparison) -> str:
    """Render one line per row: means over seeds of the metrics beyond accuracy; empty if no run has them.

    Nothing is bold: none of these metrics has a better direction that holds for every use.
    """
    headings, formats = zip(*BEYOND_ACCURACY.values(), strict=True)
    rows = []
    for outcome in comparison.outcomes:
        found = [beyond_accuracy(outcome.records, metric) for metric in comparison.beyond_accuracy]
        cells = [
            NONE if each is None else f"{each[0]:{form}}" for each, form in zip(found, formats, strict=True)
        ]
        rows.append([outcome.row.label, *cells])
    if all(cell == NONE for _, *cells in rows for cell in cells):
        return ""
    return markdown_table([[f"beyond accuracy @{comparison.cutoff}", *headings], *rows])


def group_tables(comparison: Comparison) -> Iterator[str]:
    """Yield tables of the first metric by activity of users and by popularity of items.

    The users with fewest training items are tested against the reference, too.
    """
    finished = [outcome for outcome in comparison.outcomes if outcome.runs]
    metric = comparison.study.file.metrics[0]
    groups: list[dict[str, Any]] = finished[0].records[0]["test_by_group"]
    for title in dict.fromkeys(group["by"] for group in groups):
        header = [group for group in groups if group["by"] == title]
        if not any(metric in group for group in header):
            continue  # groups are stored for one cutoff only
        headings = [f"{group['group']} ({group['users']:,} users)" for group in header]
        rows = [
            [
                outcome.row.label,
                *(_group_cell(outcome.in_group(title, group["group"], metric)) for group in header),
            ]
            for outcome in finished
        ]
        if title == BY_ACTIVITY and comparison.among_least_active:
            headings += [f"first group against {comparison.reference}", "p (Holm)"]
            for row, outcome in zip(rows, finished, strict=True):
                difference = comparison.among_least_active.get(outcome.row.label)
                row += _test_cells(comparison, outcome, difference)
        yield markdown_table([[f"{metric}, {title[0].lower()}{title[1:]}", *headings], *rows])


def _group_cell(values: Sequence[float]) -> str:
    return render_spread(*mean_and_deviation(values)) if values else NONE


def note(comparison: Comparison, made: str) -> str:
    """Render notes on data, settings, tests and machine."""
    runs = [run for outcome in comparison.outcomes for run in outcome.runs]
    parts = [_data(runs), _settings(comparison), _tests(comparison), f"{made} {_machine(runs)}"]
    return "\n".join(filter(None, parts))


def _data(runs: Sequence[FinishedRun]) -> str:
    record = runs[0].record
    checksums = {checksum_without_times(run.record) for run in runs}
    data = (
        f"checksum {record['checksum'][:12]}"
        if len(checksums) == 1
        else f"{len(checksums)} forms of the data"
    )
    return (
        f"Data: {record['data']}, {data}, split {record['split_hash'][:12]}, {record['test_users']:,} test users. "
        "The best epoch is chosen on validation, and all items are ranked."
    )


def _settings(comparison: Comparison) -> str:
    file = comparison.study.file
    named = ", ".join(map(str, file.seeds))
    several = len(file.seeds) > 1
    seeds = (
        f"Mean ± standard deviation over the seeds {named}."
        if several
        else f"One run each, with seed {named}."
    )
    if file.tuned is None:
        return seeds
    tuned = ", ".join(comparison.study.tuned) or "none"
    return f"{seeds} Models with tuned settings (files in {file.tuned} say how they were found): {tuned}."


def _tests(comparison: Comparison) -> str:
    if not any(comparison.differences.values()):
        return ""
    chosen = "named in the bench file" if comparison.study.reference else "chosen as the best on validation"
    return (
        f"Reference: {comparison.reference}, {chosen}. Paired t-test over users of {comparison.study.file.metrics[0]} "
        "averaged over seeds; p corrected by Holm; in brackets a 95 % bootstrap interval over users."
    )


def _machine(runs: Sequence[FinishedRun]) -> str:
    machines = {
        f"{run.environment['platform']}, {run.environment['cpu_count']} cores, "
        f"{run.record['threads']} {'thread' if run.record['threads'] == 1 else 'threads'} per run, "
        f"{run.record['device']}"
        for run in runs
    }
    costs = '"s to 99 %" are the seconds until validation is within 1 % of its best.'
    return f"{'; '.join(sorted(machines))}. {costs}"
