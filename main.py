"""The command line of spike_dgl: `python main.py --help`."""

from spike_dgl.cli import main

if __name__ == "__main__":
    main()
