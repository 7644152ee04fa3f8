"""Progress: one function hears of long work, whichever it is; a bar under a notebook's cell, and on the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import photos
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from rich.console import Console

from degrade.cli.app import bar
from degrade.core.progress import Done, quiet
from degrade.pairs import progress as bars
from degrade.pairs.run import build
from degrade.store.copy import copy
from degrade.store.verify import verify


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    photos.write_photos(folder / "photos", 3)
    return folder


def test_print_will_do(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(photos.recipe(), home / "photos", tmp_path / "s", workers=1, progress=print)
    copy(tmp_path / "s", tmp_path / "t", progress=print)
    verify(tmp_path / "t", print)
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "building: 0 of 3 photos"
    assert [line.partition(" photos, ")[0] for line in told[1:4]] == [f"building: {n} of 3" for n in (1, 2, 3)]
    assert all(line.endswith(" rows/s") for line in told[1:4])
    assert told[4].startswith("copying: ")
    assert told[-1].startswith("checking: ")
    (done, total) = told[-1].removeprefix("checking: ").split()[0:3:2]
    assert done == total


def test_nothing_is_said_where_nobody_asked(home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    build(photos.recipe(), home / "photos", tmp_path / "s", workers=1)
    assert capfd.readouterr() == ("", "")


def test_a_notebook_shows_a_bar_by_default(home: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(photos.RECIPE)
    call = f"degrade.build({str(recipe)!r}, {str(home / 'photos')!r}, {{!r}}, workers=1{{}})"
    cells = [
        f"import sys\nsys.path[:] = {sys.path!r}\nimport degrade",
        f"_ = {call.format(str(tmp_path / 'a'), '')}",
        f"from degrade.core.progress import quiet\n_ = {call.format(str(tmp_path / 'b'), ', progress=quiet')}",
    ]
    notebook = new_notebook(cells=[new_code_cell(text) for text in cells])
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    shown, silent = (cell["outputs"] for cell in notebook.cells[1:])
    assert [output["output_type"] for output in shown] == ["display_data"]  # one bar that is redrawn
    data: Any = shown[0]["data"]
    assert '<progress value="3" max="3">' in data["text/html"]
    assert data["text/plain"].startswith("building: 3 of 3 photos, ")
    assert silent == []


def test_a_notebook_is_redrawn_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    place = SimpleNamespace(update=lambda data, raw: drawn.append(data["text/plain"]))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=lambda data, **_: place))
    redrawn = bars.NotebookBar()
    for n in range(1000):
        redrawn(Done("building", n + 1, 1000))
    assert len(drawn) < 50
    assert drawn[-1] == "building: 1,000 of 1,000"


def test_the_terminal_ends_with_a_full_bar_and_says_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said = Console(record=True, width=100, force_terminal=False)
    monkeypatch.setattr(sys.modules[bar.__module__], "console", said)
    with bar() as progress:
        for n in range(4):
            progress(Done("[building]", n, 3, "photos", "[b]7 rows/s"))
        progress(Done("[building]", 3, 3, "photos"))
        said.print("and then")
    text = said.export_text().split()
    assert text[0] == "[building]"
    assert " ".join(text[2:7]) == "3 of 3 photos [b]7"
    assert text[-2:] == ["and", "then"]
    assert text.count("[building]") == 1
    with bar(stays=False) as progress:
        progress(Done("finding the photos"))
        progress(Done("building two"))
    assert said.export_text() == ""


def test_quiet_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    quiet(Done("building", 1, 2))
    assert capfd.readouterr() == ("", "")
