"""The documentation site: its navigation, and the conversion of docstrings.

`mkdocs build --strict` checks links; the set-up check of the repository runs it.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))


def pages_of(entry: Any) -> Iterator[str]:
    """Pages of the navigation, sections included."""
    if isinstance(entry, str):
        yield entry
    for child in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from pages_of(child)


def test_every_page_is_in_the_navigation_once() -> None:
    pages = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))
    assert sorted(pages_of(CONFIG["nav"])) == pages


def test_the_site_needs_no_network() -> None:
    assert CONFIG["theme"]["font"] is False
    assert "offline" in CONFIG["plugins"]
    files = [*CONFIG["extra_css"], *CONFIG["extra"]["polyfills"]]
    assert [file for file in files if not (DOCS / file).is_file()] == []


def test_every_documented_name_exists() -> None:
    names = re.findall(
        r"^::: ([\w.]+)$",
        "\n".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md")),
        flags=re.MULTILINE,
    )
    assert len(names) > 40
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert hasattr(import_module(module), attribute), name


@pytest.fixture(scope="module")
def docstrings() -> ModuleType:
    pytest.importorskip("griffe")
    spec = importlib.util.spec_from_file_location("docstrings", DOCS / "hooks" / "docstrings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        (
            "With e::\n\n    h = e + s\n    z = h\n\nThen.",
            "With e:\n\n```text\nh = e + s\nz = h\n```\n\nThen.",
        ),
        ("With :math:`d_k`.", "With $`d_k`$."),
        ("A\n\n.. math::\n    a = b\n\nB", "A\n\n```math\na = b\n```\n\nB"),
        (".. math:: a\n    = b", "```math\na\n= b\n```\n"),
        ("== ===\na  b c\n== ===\n", "|  |  |\n| --- | --- |\n| a | b c |\n"),
        ("== ===\nx  y\n== ===\na  b c\n== ===\n", "| x | y |\n| --- | --- |\n| a | b c |\n"),
        ("a, b\n    Sizes.\nc\n    Rows.", "a\n    Sizes.\nb\n    Sizes.\nc\n    Rows."),
        (
            "Do.\n\nParameters\n----------\na\n    One.\n\nSource: Paper,\n2024.",
            "Do.\n\nSource: Paper,\n2024.\n\nParameters\n----------\na\n    One.",
        ),
        (
            "Do.\n\nReturns\n-------\na : dict of x\nb : int\n\nAll of it.\n\nExamples\n--------\n>>> f(1)\n\nTwo.",
            "Do.\n\nAll of it.\n\nReturns\n-------\na : dict of x\nb : int\n\nExamples\n--------\n>>> f(1)\n\nTwo.",
        ),
        ("Plain `name` and ``literal``: x", "Plain `name` and ``literal``: x"),
    ],
)
def test_docstrings_become_markdown(docstrings: ModuleType, text: str, markdown: str) -> None:
    assert docstrings.to_markdown(text) == markdown
