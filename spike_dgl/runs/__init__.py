"""Runs: settings, folders, training and test, and tables of results."""
