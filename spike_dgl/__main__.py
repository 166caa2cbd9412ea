"""``python -m spike_dgl``: the same as ``python main.py``, from any folder."""

from spike_dgl.cli import main

if __name__ == "__main__":
    main()
