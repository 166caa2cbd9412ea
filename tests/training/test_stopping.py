"""The early-stopping rule on made-up metrics."""

from __future__ import annotations

from spike_dgl.training.stopping import EarlyStopping


def run(values: list[float], patience: int | None) -> tuple[int, EarlyStopping]:
    """Feed values until the rule stops; return their number."""
    rule = EarlyStopping(patience)
    for epoch, value in enumerate(values, start=1):
        rule.update(value, epoch)
        if rule.should_stop:
            return epoch, rule
    return len(values), rule


def test_stops_after_patience_without_a_new_best() -> None:
    taken, rule = run([0.1, 0.3, 0.2, 0.3, 0.1, 0.9], patience=3)
    assert (taken, rule.best_epoch, rule.best) == (5, 2, 0.3)  # an equal value is no new best


def test_a_new_best_starts_the_count_again() -> None:
    taken, rule = run([0.1, 0.0, 0.2, 0.0, 0.3, 0.0], patience=2)
    assert (taken, rule.best_epoch, rule.since_best) == (6, 5, 1)


def test_without_patience_it_never_stops() -> None:
    assert run([0.5] + [0.0] * 100, patience=None)[0] == 101


def test_replayed_values_leave_the_rule_as_it_was() -> None:
    _, rule = run([0.3, 0.1], patience=3)
    assert EarlyStopping.replay(3, enumerate([0.3, 0.1], start=1)) == rule
    assert EarlyStopping.replay(1, enumerate([0.3, 0.1], start=1)).should_stop
