"""Measurements: speed and memory of training, latency of recommendation, cold-start quality."""
