"""A data set, split as it is here, in the formats of other libraries."""
