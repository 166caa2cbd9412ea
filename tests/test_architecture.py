"""Dependencies point one way: a layer imports only from layers before it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "spike_dgl"

LAYERS = [
    {"errors", "markdown", "threads", "typing"},
    {"atomic_files", "dgl_import", "plots", "renamed"},
    {"config", "doctor"},
    {"data"},
    {"graph", "profiles"},
    {"nn"},
    {"models"},
    {"evaluation", "training"},
    {"runs"},
    {"comparison", "explain", "partitions", "recommend"},
    {"api", "measure", "serve", "tuning"},
    {"commands"},
    {"cli"},
    {"__init__", "__main__"},
]
"""First layer first. Modules of one layer may import each other only inside their own sub-package."""

RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}


def modules() -> Iterator[tuple[str, Path]]:
    """Layer name and file of every module."""
    for file in sorted(PACKAGE.rglob("*.py")):
        yield file.relative_to(PACKAGE).parts[0].removesuffix(".py"), file


def imported(file: Path) -> Iterator[str]:
    """Full names of all modules a file imports, inside functions too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield node.module or ""


def test_every_module_has_a_layer() -> None:
    assert {name for name, _ in modules()} <= set(RANK)


def test_no_arrow_runs_back() -> None:
    wrong = [
        f"{file.relative_to(PACKAGE)} imports {target}"
        for name, file in modules()
        for target in imported(file)
        if target.startswith("spike_dgl.")
        and (other := target.split(".")[1]) != name
        and RANK[other] >= RANK[name]
    ]
    assert not wrong


def test_data_and_profiles_need_neither_torch_nor_dgl() -> None:
    wrong = [
        f"{file.relative_to(PACKAGE)} imports {target}"
        for name, file in modules()
        if RANK[name] <= RANK["profiles"] and name not in ("graph", "dgl_import", "doctor", "threads")
        for target in imported(file)
        if target.split(".")[0] in ("torch", "dgl") or target == "spike_dgl.dgl_import"
    ]
    assert not wrong


def test_one_module_imports_dgl() -> None:
    importers = {
        file.name for _, file in modules() for target in imported(file) if target.split(".")[0] == "dgl"
    }
    assert importers == {"dgl_import.py"}
