"""Loops compiled by numba for the CPU, and what they are written with. Nothing here knows of graphs or models."""
