"""Measurements: speed and memory of training, latency of lists, cold-start quality."""
