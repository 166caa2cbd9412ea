"""Tuning: each model searches its own grid of settings, on validation alone and with the same number of trials."""
