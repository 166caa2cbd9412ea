"""Settings that change when a run is resumed: each is applied from then on, or refused with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from spike_dgl.config import to_mapping
from spike_dgl.errors import ConfigError
from spike_dgl.training.options import TrainingOptions

FIXED = {"seed": "initial weights and batches were drawn with it"}
"""Settings that never change, and why."""
DRAWN_BY_EPOCH = ("batch_size", "negative_popularity", "negatives_from", "recency")
"""Settings by which the batches of a whole epoch are drawn: they change between two epochs only."""
EPOCHS_STAY_AS_THEY_WERE = ("patience", "evaluate_every", "threads", "device")
"""Settings that may change without a trace: a run with the new value throughout trains the same epochs."""
CHOOSE_THE_EPOCH = ("metric", "keep")
"""Settings that say which epoch is reported; with other ones it is found anew."""


def changed_settings(before: Mapping[str, Any], options: TrainingOptions) -> dict[str, tuple[Any, Any]]:
    """Settings that differ from those a checkpoint was trained with: the old and the new value by name.

    Parameters
    ----------
    before
        The settings of the checkpoint. One that is not there did not exist then, and counts as unchanged.
    options
        The settings to go on with.
    """
    after = to_mapping(options)
    return {
        name: (before[name], after[name]) for name in after if before.get(name, after[name]) != after[name]
    }


def check_changes(changed: Mapping[str, tuple[Any, Any]], epoch: int, step: int) -> None:
    """Raise `ConfigError` where a changed setting cannot be applied.

    Parameters
    ----------
    changed
        As `changed_settings` returns them.
    epoch, step
        The epoch under way, and its steps that are done.
    """
    for name, (old, new) in changed.items():
        if name in FIXED:
            raise ConfigError(
                f"training.{name}={new} cannot be applied to a run that is resumed: {FIXED[name]}\n"
                f"  Leave it at training.{name}={old}, or train a new run."
            )
        if step and name in DRAWN_BY_EPOCH:
            raise ConfigError(
                f"training.{name}={new} cannot be applied in the middle of epoch {epoch}, whose batches are drawn\n"
                f"  Finish the epoch first (training.epochs={epoch}), or train a new run."
            )


def chooses_anew(changed: Iterable[str]) -> bool:
    """Whether changed settings may make another epoch the reported one."""
    return any(name in CHOOSE_THE_EPOCH for name in changed)


def alters_epochs(name: str, options: TrainingOptions) -> bool:
    """Whether a run with the new value of a setting throughout would have trained other epochs."""
    if name == "epochs":
        return options.schedule != "constant"
    return name not in (*EPOCHS_STAY_AS_THEY_WERE, *CHOOSE_THE_EPOCH)
