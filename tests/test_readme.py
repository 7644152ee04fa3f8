"""What README and docs say is what happens: their code blocks run, in order, in one namespace a document.

A document runs in a folder that holds ``demo/`` (made by ``degrade demo``) and ``photos/`` (the demo's photographs).
A block whose first line also names a file, ```` ```python veil.py````, becomes that file.
Blocks marked ``python`` are executed, lines of ``bash`` and ``console`` blocks that start with ``degrade`` are run,
``yaml`` blocks with ``operators:`` are loaded as recipes. What shall not run is marked ``text``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from degrade.cli import app
from degrade.core.registry import NAMED

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(?P<language>\w+)(?: (?P<file>\S+))?[^\n]*\n(?P<text>.*?)^```\s*$", re.MULTILINE | re.DOTALL)
ELSEWHERE = re.compile(r"\.\.\.|://|^degrade demo\b")  # a placeholder, another machine, or already done


@dataclass(frozen=True)
class Block:
    """One fenced block of a document."""

    language: str
    text: str
    line: int  #: of its first line in the document, from 1
    file: str | None = None  #: what it is the text of


def blocks(document: Path) -> Iterator[Block]:
    """The fenced blocks of a document, in order."""
    text = document.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        yield Block(found["language"], found["text"], text.count("\n", 0, found.start("text")) + 1, found["file"])


def commands(block: Block) -> Iterator[str]:
    """The ``degrade`` commands of a shell block that can be run as they stand."""
    prompt = r"^\$ " if block.language == "console" else "^"
    for line in block.text.replace("\\\n", " ").splitlines():
        command = re.sub(prompt, "", line)
        if command.startswith("degrade ") and not ELSEWHERE.search(command):
            yield command


@pytest.fixture
def forgotten() -> Iterator[None]:
    """What a document registers goes with it."""
    operators, commands = dict(NAMED), list(app.registered_commands)
    yield
    for name in [n for n, kind in NAMED.items() if n not in operators and not kind.__module__.startswith("degrade.")]:
        del NAMED[name]
    app.registered_commands[:] = commands


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_blocks_of_a_document_run(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, command: Path
) -> None:
    found = list(blocks(document))
    if any(b.language in {"python", "bash", "console"} for b in found):
        demo = request.getfixturevalue("demo")
        shutil.copytree(demo, tmp_path / "demo")
        shutil.copytree(demo / "photos", tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in found:
        where = f"{document.name}:{block.line}"
        if block.file is not None:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            code = compile("\n" * (block.line - 1) + block.text, str(document), "exec", dont_inherit=True)
            exec(code, namespace)
        elif block.language in {"bash", "console"}:
            for line in commands(block):
                done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
                assert done.returncode == 0, f"{where}: {line}\n{done.stdout}{done.stderr}"
        if block.language == "yaml" and re.search(r"^operators:", block.text, re.MULTILINE):
            from degrade import Recipe

            assert Recipe.parse(block.text).planes, where


def test_the_readme_shows_code_and_commands() -> None:
    languages = [block.language for block in blocks(ROOT / "README.md")]
    assert "python" in languages
    assert "bash" in languages or "console" in languages


def test_every_fence_is_closed_and_names_its_language() -> None:
    for document in DOCUMENTS:
        fences = re.findall(r"^```.*$", document.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(fences) % 2 == 0, f"{document.name} has an unclosed code block"
        bare = [i for i, fence in enumerate(fences[::2]) if fence.strip() == "```"]
        assert not bare, f"{document.name}: code blocks {bare} name no language (use `text` for what shall not run)"
