"""CSV file of a comparison: all numbers of the table unrounded, for all metrics."""

from __future__ import annotations

import csv
import io
from typing import Any

from spike_dgl.comparison.outcome import Comparison, Outcome
from spike_dgl.runs.averages import COSTS, beyond_accuracy, mean_cost, spread


def render_csv(comparison: Comparison) -> str:
    """Render one line per row of the study; missing values are empty cells."""
    lines = [_line(comparison, outcome) for outcome in comparison.outcomes]
    text = io.StringIO()
    names = dict.fromkeys(name for line in lines for name in line)
    writer = csv.DictWriter(text, list(names), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _line(comparison: Comparison, outcome: Outcome) -> dict[str, Any]:
    row = outcome.row
    line: dict[str, Any] = {
        "label": row.label,
        "variant": row.variant,
        "value": row.value,
        "runs": len(outcome.runs),
    }
    if not outcome.runs:
        return line
    for metric in comparison.study.file.metrics:
        line[f"{metric} mean"], line[f"{metric} deviation"] = spread(outcome.records, metric)
    for metric in comparison.study.file.metrics:
        difference = comparison.differences[row.label].get(metric)
        if difference is not None:
            line[f"{metric} difference"] = difference.test.difference
            line[f"{metric} low"], line[f"{metric} high"] = difference.test.low, difference.test.high
            line[f"{metric} p"], line[f"{metric} p corrected"] = difference.test.p_value, difference.p_value
    for metric in comparison.beyond_accuracy:
        found = beyond_accuracy(outcome.records, metric)
        if found is not None:
            line[f"{metric} mean"], line[f"{metric} deviation"] = found
    return line | {name: mean_cost(outcome.records, name) for name in COSTS}
