"""Tuning: each model searches its own grid, on validation or the inner split, with the same number of trials."""
