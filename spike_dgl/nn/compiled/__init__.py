"""Loops compiled by numba for the CPU, and the primitives they use. Nothing here depends on graphs or models."""
