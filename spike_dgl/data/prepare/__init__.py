"""Raw public data -> a data set in this package's layout, the same way every time.

One module a source (`movielens`); what sources share is in `tables` (reading), `interactions` (filters),
`knowledge` (facts to triples) and `write` (the folder).
"""
