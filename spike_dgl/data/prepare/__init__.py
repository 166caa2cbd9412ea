"""Reproducible preparation of raw data as a data set in this package's format.

Each source has a module, such as `movielens`. Shared code is in `tables` (reading), `interactions` (filters),
`knowledge` (facts to triples) and `write` (the folder).
"""
