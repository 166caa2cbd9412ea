"""One file for each command or group of commands; `spike_dgl.cli` puts them together."""
