"""Studies: comparisons of variants on one split, each run with several seeds."""
