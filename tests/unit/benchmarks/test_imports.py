"""Benchmarks are run by hand, so a name that has moved away from under them would be found late."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MODULES = sorted(path.relative_to(ROOT) for path in (ROOT / "benchmarks").rglob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_what_a_benchmark_imports_from_here_exists(module: Path) -> None:
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    wanted = [
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "edgecnn"
        for alias in node.names
    ]
    missing = [f"{source}: {name}" for source, name in wanted if not _exists(source, name)]
    assert missing == []


def _exists(source: str, name: str) -> bool:
    found = importlib.import_module(source)
    if hasattr(found, name):
        return True
    return importlib.util.find_spec(f"{source}.{name}") is not None if hasattr(found, "__path__") else False
