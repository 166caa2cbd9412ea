"""Studies: variants x seeds on one split, run where they are missing, and compared."""
