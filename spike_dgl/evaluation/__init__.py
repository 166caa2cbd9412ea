"""Full-ranking evaluation: top-k lists, metrics per user, and metrics per group of users or items."""

from spike_dgl.evaluation.beyond_accuracy import BEYOND_ACCURACY
from spike_dgl.evaluation.evaluate import Evaluation, evaluate
from spike_dgl.evaluation.groups import (
    GroupTable,
    by_count,
    by_item_popularity,
    by_item_source,
    by_source,
    by_text_length,
    by_user_activity,
    by_user_source,
    render,
    render_groups,
)
from spike_dgl.evaluation.metrics import METRICS, RankingMetrics, list_length, metric_names
from spike_dgl.evaluation.options import EvaluationOptions
from spike_dgl.evaluation.ranking import NO_ITEM, rank

__all__ = [
    "BEYOND_ACCURACY",
    "METRICS",
    "NO_ITEM",
    "Evaluation",
    "EvaluationOptions",
    "GroupTable",
    "RankingMetrics",
    "by_count",
    "by_item_popularity",
    "by_item_source",
    "by_source",
    "by_text_length",
    "by_user_activity",
    "by_user_source",
    "evaluate",
    "list_length",
    "metric_names",
    "rank",
    "render",
    "render_groups",
]
