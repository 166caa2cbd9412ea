"""Export of a data set and its splits to the formats of other libraries."""
