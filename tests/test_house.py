"""Habits that no linter knows: no shared randomness, a light import, exact public names, short files."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import degrade

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "degrade").rglob("*.py"))
PYTHON = [*MODULES, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "benchmarks").rglob("*.py"))]
TEXTS = [
    path
    for folder in ("degrade", "pipelines", "tests", "notebooks", "docs", "benchmarks", "data", ".ci")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file() and path.suffix in {".py", ".md", ".yaml", ".yml", ".json", ".toml", ".txt", ".ipynb", ".sh", ""}
] + [
    path
    for path in sorted(ROOT.iterdir())
    if path.suffix in {".md", ".toml", ".txt", ".yaml"} or path.name == "Makefile"
]

PUBLIC = [
    "Camera",
    "Chain",
    "Choice",
    "DegradeError",
    "Frame",
    "Grid",
    "Integer",
    "Key",
    "Keys",
    "LogUniform",
    "Maybe",
    "Normal",
    "OneOf",
    "Operator",
    "Param",
    "PatchStore",
    "Patches",
    "PhotoError",
    "Recipe",
    "RecipeError",
    "Seed",
    "Sensor",
    "Shuffle",
    "Space",
    "Spec",
    "StoreError",
    "Uniform",
    "UnknownName",
    "build",
    "column",
    "read_photo",
    "register",
    "render",
    "transform",
]

#: what draws from a state that everybody shares
SHARED_RANDOMNESS = re.compile(
    r"(np|numpy)\.random\.(?!Generator$|Philox$|PCG64$|BitGenerator$)\w+"
    r"|random\.\w+"
    r"|torch\.(manual_seed|seed|random|rand|randn|randint|randperm|normal|bernoulli|poisson|multinomial|binomial"
    r"|rand_like|randn_like|randint_like)"
    r"|torch\.(cuda|mps|random)\.(manual_seed|manual_seed_all|seed|seed_all)"
    r"|(.+\.)?(normal_|uniform_|random_|bernoulli_|exponential_|log_normal_|cauchy_|geometric_|rvs)"
)


def dotted(node: ast.expr) -> str:
    """``np.random.rand`` of the expression that says so; a call or an index in the middle reads as ``()``."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "()"


def randomness(source: str) -> Iterator[str]:
    """Every use of shared randomness in a module, with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and SHARED_RANDOMNESS.fullmatch(name := dotted(node)):
            yield f"line {node.lineno}: {name}"
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for name in set(names) & {"random", "numpy.random", "torch.random"}:
                yield f"line {node.lineno}: import {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_shared_randomness(path: Path) -> None:
    assert not list(randomness(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "line",
    ["np.random.rand(3)", "import random", "from numpy.random import default_rng", "torch.randn(2)", "x[0].normal_()"],
)
def test_the_search_for_shared_randomness_finds_it(line: str) -> None:
    assert list(randomness(line))


def test_key_based_names_are_not_mistaken() -> None:
    assert not list(randomness("from degrade.maths.philox import normal\nnormal(key)\nkey.uniform(0, 1)"))


def loaded(statement: str) -> set[str]:
    """Top-level modules outside the standard library that a fresh interpreter holds after a statement."""
    code = f"{statement}; import sys, json; print(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout)) - set(sys.stdlib_module_names)


LIGHT = ("core.errors", "core.disk", "core.key", "store.layout", "store.metadata", "store.record", "store.verify")


def test_import_is_light() -> None:
    assert loaded("import degrade") - loaded("pass") == {"degrade"}


@pytest.mark.parametrize("module", LIGHT)
def test_what_needs_no_torch_loads_none(module: str) -> None:
    assert loaded(f"import degrade.{module}") <= loaded("import numpy, google_crc32c, degrade")


def test_editors_see_what_python_finds() -> None:
    """The typed block, which is never run, imports every public name from where it is looked for."""
    (typed,) = (n for n in ast.parse(Path(degrade.__file__).read_text("utf-8")).body if isinstance(n, ast.If))
    named = {a.name: n.module for n in typed.body if isinstance(n, ast.ImportFrom) for a in n.names}
    assert named == {name: f"degrade.{module}" for module, names in degrade._WHERE.items() for name in names}


def test_public_names_are_exactly_these() -> None:
    assert sorted(degrade.__all__) == sorted(PUBLIC)
    assert all(hasattr(degrade, name) for name in PUBLIC)


TWICE: dict[str, str] = {}  #: public names that two files define, each with its reason; 10 at most


def test_a_public_name_is_defined_in_one_file() -> None:
    """Functions of commands and compiled twins, which bear the names of what they are to, are left out."""
    defined: dict[str, set[str]] = {}
    for path in MODULES:
        room = path.relative_to(ROOT / "degrade").parts[0]
        if room == "cli" or path.name == "__init__.py" or path.stem.endswith(("_cpu", "_gpu")):
            continue
        for node in ast.parse(path.read_text("utf-8")).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            names = [t.id for t in targets if isinstance(t, ast.Name)]
            names += [node.name] if isinstance(node, ast.FunctionDef | ast.ClassDef) else []
            for name in names:
                if not name.startswith("_"):
                    defined.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    assert {name: files for name, files in defined.items() if len(files) > 1}.keys() == TWICE.keys()
    assert len(TWICE) <= 10


@pytest.mark.parametrize("path", PYTHON, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_are_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= 350, f"{lines} lines: one idea a file, at most 350 lines"


def test_no_file_names_a_machine() -> None:
    here = "|".join(re.escape(str(p)) for p in (ROOT, Path.home()) if len(p.parts) > 1)
    somewhere = re.compile(rf"(?<![\w.])(?:/(?:home|Users|mnt|media)/\w+|[A-Z]:\\Users|(?:{here or 'a^'})(?![\w.-]))")
    named = {
        str(path.relative_to(ROOT)): found.group()
        for path in TEXTS
        if (found := somewhere.search(path.read_text(encoding="utf-8")))
    }
    named.pop("tests/test_house.py", None)
    assert not named, f"files that name folders of one machine: {named}"
