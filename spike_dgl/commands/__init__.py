"""Command line: one file per command or group of commands; `spike_dgl.cli` combines them."""
