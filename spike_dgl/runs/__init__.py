"""Runs: their settings, their folders, training and test, and tables of finished ones."""
