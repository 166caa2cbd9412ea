"""The computed memory and traffic of large graphs agree with the page and with the memory of real parts."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.on_paper import DIM, GB, Job, main
from spike_dgl.partitions.layout import Layout
from spike_dgl.partitions.memory import memory_of_part
from spike_dgl.partitions.partition import partition
from spike_dgl.runs.config import load_config
from tests.partitions.tiny import write_tiny

PAGE = Path(__file__).parents[2] / "docs" / "distributed.md"


def test_the_page_has_its_table() -> None:
    shown = CliRunner().invoke(main, ["--nodes", "100e6", "--items", "40e6", "--edges", "1e9"]).output
    table, _, device = shown.partition("\n\n")
    assert table in PAGE.read_text(encoding="utf-8")
    assert device.splitlines() == [
        "partition: 117.0 GB; the data set after training: 67.0 GB",
        "embeddings, moments and texts on a single device: 77.2 GB",
    ]


def test_its_memory_is_that_of_a_part(tmp_path: Path) -> None:
    write_tiny(tmp_path / "data")
    overrides = [f"data.path={tmp_path / 'data'}", "profiles.vector_dim=8", "model.similar_items=0"]
    partition(load_config(None, overrides), tmp_path / "parts", 1, method="random")
    layout = Layout.read(tmp_path / "parts")
    files = {"graph.dgl": 0, "node_feat.dgl": layout.num_nodes * 8 * 4}
    job = Job(layout.num_nodes, layout.num_items, edges=0, interactions=1, batch=1, gbit=1, text_dim=8)
    of_part = memory_of_part(layout, 0, files, DIM)
    assert [size * GB for size in job.memory(1).values()] == pytest.approx(list(of_part.values()))


def test_traffic_and_hours_by_hand() -> None:
    job = Job(nodes=1, items=1, edges=1, interactions=1e6, batch=1e3, gbit=8, text_dim=0)
    assert job.sent(1e3, 1) == 0
    assert job.sent(1e3, 2) == pytest.approx(1e3 * 55 * 595 / 2 / 1e9)
    assert job.sent_by_inference(4) == pytest.approx(2 * 0.75 * 285 / 1e9)  # two hops, one edge
    computing, sending = job.hours(2)
    # A million interactions at 6.2 seconds a million rows.
    assert computing == pytest.approx(55 * 6.2 / 2 / 3600)
    assert sending == pytest.approx(1e6 * 55 * 595 / 2 / 2 / 1e9 / 3600)  # 1 GB a second, half by each host
