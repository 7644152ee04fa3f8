"""Documentation that is there and leads somewhere.

The doctests themselves run with the tests (``--doctest-modules`` over ``degrade/``).
"""

from __future__ import annotations

import ast
import doctest
import inspect
import re
from pathlib import Path

import pytest

import degrade

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "degrade").rglob("*.py"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_public_definitions_have_docstrings(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{path.name} has no opening docstring"
    silent = [
        node.name
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not silent, f"without a docstring: {silent}"


def test_public_functions_show_an_example() -> None:
    finder = doctest.DocTestFinder()
    without = [
        name
        for name in degrade.__all__
        if inspect.isfunction(thing := getattr(degrade, name)) and not any(t.examples for t in finder.find(thing))
    ]
    assert not without, f"public functions without a doctest: {without}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_links_and_pictures_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) + re.findall(r'(?:src|href)="([^"#]+)"', text)
    missing = [t for t in targets if "://" not in t and not (document.parent / t).exists()]
    assert not missing, f"{document.name} points to files that are not there: {missing}"
