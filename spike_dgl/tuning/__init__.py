"""Tuning: each model searches its own grid, on validation or a rehearsal, with the same number of trials."""
