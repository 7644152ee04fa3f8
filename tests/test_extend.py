"""What docs/extend.md says must change to extend degrade is enough: one of each is added, by those files alone.

Each is added to a copy of the checkout, in which the tests that would miss an entry run. An installation's entry points
are written there from pyproject.toml, as installing does.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from degrade import Key, RecipeError, Space, Uniform, testing
from degrade.operators.light import Exposure

ROOT = Path(__file__).parents[1]
MOST = {"an operator": 3, "a pipeline": 3, "a command": 2, "a codec of copies": 2}

OPERATOR = '''"""Gloom: less light."""

from __future__ import annotations

from degrade.core.frame import Frame
from degrade.core.operator import Operator
from degrade.core.param import Param
from degrade.core.prior import Uniform
from degrade.core.registry import register
from pydantic import Field


@register("gloom")
class Gloom(Operator):
    """Less light: ``y = a x``."""

    amount: Param[float] = Field(default=Uniform(0.5, 1), description="a")

    examples = ({"amount": {"uniform": [0.5, 1]}},)

    def apply(self, frame: Frame) -> Frame:
        return frame.with_data(frame.data * self.column("amount", frame))
'''
PIPELINE = """seed: 7
source: {space: linear, shrink: 4, camera: demo-a}
operators:
  patches: {op: crop, size: 64, margin: 0, per_photo: 16}
  darker:  {op: exposure, stops: -1}
  cfa:     {op: mosaic}
  adc:     {op: quantise}
planes:
  bright: [patches, cfa, adc]
  dark:   [patches, darker, cfa, adc]
"""
TWIN = """def dusk() -> Recipe:
    return Recipe(
        seed=7,
        source=RAW,
        operators={
            "patches": Crop(size=64, margin=0, per_photo=16),
            "darker": Exposure(stops=-1),
            "cfa": Mosaic(),
            "adc": Quantise(),
        },
        planes=planes(bright="patches cfa adc", dark="patches darker cfa adc"),
    )


#: The twins of this file"""
COMMAND = '''"""The command that counts rows."""

from pathlib import Path

from degrade.cli.app import app, say


@app.command()
def rows(store: Path) -> None:
    """Say how many rows a store has."""
    from degrade.pairs.store import PatchStore

    say(f"{len(PatchStore(store)):,} rows")
'''
GOLDEN = (
    "import json; from tests import test_contract as t\n"
    "kept, names = json.loads(t.GOLDEN.read_text()), t.golden_names()\n"
    "new = {name: t.numbers(*case) for name, case in names.items() if name not in kept}\n"
    "t.GOLDEN.write_text(json.dumps({name: (kept | new)[name] for name in names}, indent=1) + '\\n')"
)


@dataclass(frozen=True)
class Checkout:
    """A copy of the checkout, to be changed."""

    root: Path

    def run(self, *arguments: str) -> str:
        """What a Python that finds this copy first says; fails if it ends in an error."""
        project = tomllib.loads((self.root / "pyproject.toml").read_text("utf-8"))["project"]
        info = self.root / f"degrade-{project['version']}.dist-info"
        info.mkdir(exist_ok=True)
        info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: degrade\nVersion: {project['version']}\n")
        lines = (f"{name} = {module}\n" for name, module in project["entry-points"]["degrade.operators"].items())
        info.joinpath("entry_points.txt").write_text("[degrade.operators]\n" + "".join(lines))
        env = {**os.environ, "PYTHONPATH": str(self.root)}
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=self.root, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def test(self, *arguments: str) -> None:
        """Runs tests of the copy; there must be some."""
        assert re.search(r"[1-9]\d* passed", self.run("-m", "pytest", "-q", *arguments))

    def write(self, name: str, text: str) -> None:
        """Adds a file."""
        assert not (self.root / name).exists()
        (self.root / name).write_text(text, "utf-8")

    def change(self, name: str, *changes: tuple[str, str]) -> None:
        """Replaces pieces of a file."""
        text = (self.root / name).read_text("utf-8")
        for old, new in changes:
            assert text.count(old) == 1, (name, old)
            text = text.replace(old, new)
        (self.root / name).write_text(text, "utf-8")

    def files(self) -> dict[str, bytes]:
        """What is in it, less what running leaves there."""
        paths = (p for p in self.root.rglob("*") if p.is_file() and not {"__pycache__", ".hypothesis"} & {*p.parts})
        return {str(p.relative_to(self.root)): p.read_bytes() for p in paths if ".dist-info" not in p.parent.name}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    root = tmp_path / "checkout"
    for folder in ("degrade", "docs", "notebooks", "pipelines", "tests"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "CHANGELOG.md", "conftest.py"):
        shutil.copy(ROOT / file, root / file)
    return Checkout(root)


def listed() -> dict[str, list[str]]:
    """The files that the page names, by what is to be added."""
    page = (ROOT / "docs" / "extend.md").read_text("utf-8")
    lines = re.findall(r"^\| (an? [^|]+) \| (.+) \|$", page, re.MULTILINE)
    return {what: re.findall(r"`([\w./]+/[\w.]+|\w+\.toml)`", files) for what, files in lines}


def operator(copy: Checkout) -> None:
    copy.write("degrade/operators/gloom.py", OPERATOR)
    entry = '[project.entry-points."degrade.operators"]\n'
    copy.change("pyproject.toml", (entry, f'{entry}gloom = "degrade.operators.gloom"\n'))
    copy.run("-c", GOLDEN)
    files = (f"tests/test_{name}.py" for name in ("contract", "files", "docs"))
    copy.test(*files, "-k", "gloom or without_example or golden_names or schema")


def pipeline(copy: Checkout) -> None:
    copy.write("pipelines/dusk.yaml", PIPELINE)
    twin = '    "deblur": deblur,\n'
    copy.change("tests/test_pipelines.py", ("#: The twins of this file", TWIN), (twin, f'{twin}    "dusk": dusk,\n'))
    row = "| `dusk` | RAW | `bright`, `dark` | 4 x 32 x 32 | below |\n"
    copy.change("docs/pipelines.md", ("| `denoise` |", f"{row}| `denoise` |"))
    copy.test("tests/test_pipelines.py", "tests/test_files.py", "-k", "dusk or twin or told or shipped")


def command(copy: Checkout) -> None:
    copy.write("degrade/cli/rows.py", COMMAND)
    copy.change("degrade/cli/__init__.py", ("maps, plan, stores  #", "maps, plan, rows, stores  #"))
    copy.test("tests/test_cli.py", "-k", "has_help")
    assert copy.run("-m", "degrade.cli", "rows", "tests/kept/plain").endswith(" rows\n")


def codec(copy: Checkout) -> None:
    entry = '    "plain": None,\n'
    best = '    "best": {"name": "blosc", "configuration": {"cname": "zstd", **_SHUFFLED, "clevel": 9}},\n'
    copy.change("degrade/store/copy.py", (entry, f"{best}{entry}"))
    copy.change("docs/store.md", ("| `plain` |", "| `best` | slow | 1.6 times |\n| `plain` |"))
    copy.test("tests/test_store_copy.py", "-k", "best")


ADDED: dict[str, Callable[[Checkout], None]] = {
    "an operator": operator,
    "a pipeline": pipeline,
    "a command": command,
    "a codec of copies": codec,
}


def test_the_list_is_short() -> None:
    assert {what: len(files) for what, files in listed().items()} == MOST
    assert listed().keys() == ADDED.keys()


@pytest.mark.parametrize("what", ADDED)
def test_the_files_listed_are_enough(what: str, checkout: Checkout) -> None:
    before = checkout.files()
    ADDED[what](checkout)
    after = checkout.files()
    changed = {name for name in after if before.get(name) != after[name]}
    assert before.keys() <= after.keys()
    names = {re.sub(r"/(gloom|dusk|rows)\.(py|yaml)$", r"/*.\2", name) for name in changed}
    assert names == {re.sub(r"(FAMILY|NAME)", "*", name) for name in listed()[what]}


def test_a_column_has_the_name_of_a_field() -> None:
    frame = testing.frame(Space.LINEAR, 3)
    op = Exposure(stops=Uniform(0, 1))
    drawn = op.draw(Key(1).at(np.arange(3)))
    assert isinstance(drawn, Exposure)
    assert drawn.column("stops", frame).shape == (3, 1, 1, 1)
    with pytest.raises(AttributeError, match=r"^exposure has no field 'stop': did you mean 'stops'\? There are: per"):
        drawn.column("stop", frame)
    with pytest.raises(RecipeError, match="is not drawn yet"):
        op.column("stops", frame)
