"""Training on a partitioned graph with DistDGL: one part, one server and some trainers per host."""
