"""Hyperparameter search: each model has its own grid and the same number of trials."""
