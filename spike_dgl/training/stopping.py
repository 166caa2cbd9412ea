"""The early-stopping rule, apart from the loop that follows it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass
class EarlyStopping:
    """Remembers the best value of a metric where more is better, and how long ago that was.

    Parameters
    ----------
    patience
        Evaluations without a new best after which `should_stop` is true; None never stops.
    best
        Best value so far.
    best_epoch
        Epoch of the best value; 0 before the first evaluation.
    since_best
        Evaluations since then.
    """

    patience: int | None
    best: float = float("-inf")
    best_epoch: int = 0
    since_best: int = 0

    def update(self, value: float, epoch: int) -> bool:
        """Take in the value of an epoch; true where it is a new best."""
        if value > self.best:
            self.best, self.best_epoch, self.since_best = value, epoch, 0
            return True
        self.since_best += 1
        return False

    @property
    def should_stop(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and self.since_best >= self.patience

    @classmethod
    def replay(cls, patience: int | None, values: Iterable[tuple[int, float]]) -> EarlyStopping:
        """Return the rule as it stands after the values of some epochs.

        Parameters
        ----------
        patience
            Of the rule.
        values
            Epoch and value of each evaluation, in order.
        """
        rule = cls(patience)
        for epoch, value in values:
            rule.update(value, epoch)
        return rule
