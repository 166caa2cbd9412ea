"""Settings changed when a run is resumed: they are applied from then on, or rejected with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from spike_dgl.config import to_mapping
from spike_dgl.errors import ConfigError
from spike_dgl.training.options import TrainingOptions

FIXED = {"seed": "initial weights and batches were drawn with it"}
"""Settings that cannot change, and why."""
DRAWN_BY_EPOCH = ("batch_size", "negative_popularity", "negatives_from", "recency")
"""Settings of the batches, which are drawn for a whole epoch: they can change between two epochs only."""
EPOCHS_STAY_AS_THEY_WERE = ("patience", "evaluate_every", "threads", "device", "map_embeddings_above")
"""Settings that do not affect the trained epochs."""
CHOOSE_THE_EPOCH = ("metric", "keep")
"""Settings that determine which epoch is reported; after a change it is determined again."""


def changed_settings(before: Mapping[str, Any], options: TrainingOptions) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ from those of a checkpoint: old and new value by name.

    Parameters
    ----------
    before
        Settings of the checkpoint. A missing one did not exist then, and counts as unchanged.
    options
        Settings to resume with.
    """
    after = to_mapping(options)
    return {
        name: (before[name], after[name]) for name in after if before.get(name, after[name]) != after[name]
    }


def check_changes(changed: Mapping[str, tuple[Any, Any]], epoch: int, step: int) -> None:
    """Raise `ConfigError` if a changed setting cannot be applied.

    Parameters
    ----------
    changed
        Result of `changed_settings`.
    epoch, step
        Current epoch, and number of its steps that are done.
    """
    for name, (old, new) in changed.items():
        if name in FIXED:
            raise ConfigError(
                f"training.{name}={new} cannot be applied to a resumed run: {FIXED[name]}\n"
                f"  Keep training.{name}={old}, or train a new run."
            )
        if step and name in DRAWN_BY_EPOCH:
            raise ConfigError(
                f"training.{name}={new} cannot be applied in the middle of epoch {epoch}: its batches are drawn\n"
                f"  Finish the epoch first (training.epochs={epoch}), or train a new run."
            )


def chooses_anew(changed: Iterable[str]) -> bool:
    """Return whether changed settings may change which epoch is reported."""
    return any(name in CHOOSE_THE_EPOCH for name in changed)


def alters_epochs(name: str, options: TrainingOptions) -> bool:
    """Return whether the epochs so far would have been different with the new value of a setting."""
    if name == "epochs":
        return options.schedule != "constant"
    return name not in (*EPOCHS_STAY_AS_THEY_WERE, *CHOOSE_THE_EPOCH)
