"""Memory that the tables of one part need."""

from __future__ import annotations

from collections.abc import Mapping

from spike_dgl.partitions.layout import Layout

FLOAT = 4


def memory_of_part(layout: Layout, part: int, files: Mapping[str, int], dim: int) -> dict[str, int]:
    """Return the bytes on the host of a part with one trainer, by purpose.

    Parameters
    ----------
    layout
        Layout of all parts.
    part
        Number of the part.
    files
        Bytes of its files by name.
    dim
        D.
    """
    nodes = len(layout.part(part))
    return {
        "graph": files["graph.dgl"],
        "texts": files["node_feat.dgl"],
        # ID embeddings, two moments, and the number of updates of each row.
        "embeddings": nodes * (3 * dim + 1) * FLOAT,
        # States of two hops, and the sum over hops.
        "inference": nodes * 3 * dim * FLOAT,
        # Embeddings of all items, without and with the popularity term.
        "items": 2 * layout.num_items * dim * FLOAT,
    }
