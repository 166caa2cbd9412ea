"""The early-stopping rule, independent of the training loop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass
class EarlyStopping:
    """Early stopping on a metric where higher is better.

    Parameters
    ----------
    patience
        Number of evaluations without improvement after which `should_stop` is true; None never stops.
    best
        Best value so far.
    best_epoch
        Epoch of the best value; 0 before the first evaluation.
    since_best
        Number of evaluations since the best.
    """

    patience: int | None
    best: float = float("-inf")
    best_epoch: int = 0
    since_best: int = 0

    def update(self, value: float, epoch: int) -> bool:
        """Record the value of an epoch; return whether it is the best so far."""
        if value > self.best:
            self.best, self.best_epoch, self.since_best = value, epoch, 0
            return True
        self.since_best += 1
        return False

    @property
    def should_stop(self) -> bool:
        """True if there was no improvement for `patience` evaluations."""
        return self.patience is not None and self.since_best >= self.patience

    @classmethod
    def replay(cls, patience: int | None, values: Iterable[tuple[int, float]]) -> EarlyStopping:
        """Create the rule in its state after some evaluations.

        Parameters
        ----------
        patience
            Patience of the rule.
        values
            Epoch and value of each evaluation, in order.
        """
        rule = cls(patience)
        for epoch, value in values:
            rule.update(value, epoch)
        return rule
