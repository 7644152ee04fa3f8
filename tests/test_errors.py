"""Errors: one family for what people can put right; all else is a bug, which is shown with its place."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import photos
import pytest
from launch import package
from pydantic import BaseModel, ValidationError, field_validator
from typer.testing import CliRunner

import degrade
from degrade import (
    DegradeError,
    PhotoError,
    RecipeError,
    Space,
    StoreError,
    UnknownName,
    build,
)
from degrade import cli as command_line
from degrade.core import errors, registry
from degrade.core.errors import find
from degrade.core.registry import load_operators

FAMILY = (RecipeError, PhotoError, StoreError, UnknownName)

# -- the family -------------------------------------------------------------------------------------------------------


def test_the_tree_is_told_and_public() -> None:
    told = re.findall(r"`(\w+)` \((.*)\):", errors.__doc__ or "")
    assert [name for name, _ in told] == [kind.__name__ for kind in FAMILY]
    for (name, kinds), kind in zip(told, FAMILY, strict=True):
        assert re.findall(r"\w+Error", kinds) == [base.__name__ for base in kind.__bases__[1:]]
        assert issubclass(kind, DegradeError)
        assert getattr(degrade, name) is kind
        assert name in degrade.__all__


@pytest.mark.parametrize("kind", [DegradeError, *FAMILY])
def test_a_message_is_what_was_said_also_after_a_journey(kind: type[DegradeError]) -> None:
    error = pickle.loads(pickle.dumps(kind("no plane 'x'")))
    assert type(error) is kind
    assert str(error) == "no plane 'x'"


def test_an_error_that_says_nothing() -> None:
    assert [str(kind()) for kind in (DegradeError, *FAMILY)] == [""] * 5


def test_a_public_name_that_is_none() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'Recipee': did you mean 'Recipe'\?$"):
        _ = degrade.Recipee
    with pytest.raises(AttributeError, match=r"no attribute '_x'$"):
        _ = degrade._x


def test_pydantic_gathers_a_name_that_is_not_known() -> None:
    class Model(BaseModel):
        plane: str

        @field_validator("plane")
        @classmethod
        def _known(cls, plane: str) -> str:
            return find(plane, {"blur": "blur"}, "plane")

    with pytest.raises(ValidationError, match="unknown plane 'blurr': did you mean 'blur'"):
        Model(plane="blurr")


def test_of_many_names_the_most_alike_are_told() -> None:
    many = {f"optics.{n}": n for n in range(40)} | {"sigma": 0}
    with pytest.raises(UnknownName, match=r"unknown column 'sgm': did you mean 'sigma'\?$"):
        find("sgm", many, "column")
    with pytest.raises(UnknownName, match=r"unknown column 'opt': there are: optics\.\d.* and 29 more$"):
        find("opt", many, "column")


ALLOWED = {
    "core/frame.py",  # geometry, below all that people say
    "store/permute.py",
    "store/write.py",  # what a builder hands over, not what a person wrote
    "operators/sampling.py",  # a row of `apply` where `over` is meant
}


def test_what_speaks_to_people_is_of_the_family(root: Path) -> None:
    found = {
        f"{path.relative_to(root / 'degrade')}: {line.strip()}"
        for path in sorted((root / "degrade").rglob("*.py"))
        if path.relative_to(root / "degrade").parts[0] != "maths"
        for line in path.read_text("utf-8").splitlines()
        if re.match(r"\s+raise (ValueError|RuntimeError|LookupError|KeyError|AssertionError)\(", line)
    }
    bare = {line for line in found if line.partition(":")[0] not in ALLOWED}
    assert [line.partition(": ")[2][:50] for line in sorted(bare)] == [
        'raise RuntimeError(f"`apply` gave data of shape {g',  # a bug, said by who finds it
    ]


# -- recipes, cameras -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"seed": "seven"}, r"^seed: input should be a valid integer, .*, got 'seven'$"),
        ({"block": 0}, r"^block: input should be greater than or equal to 1, got 0$"),
        ({"store": ["blurr"]}, r"^unknown plane in store: 'blurr': did you mean 'blur'\?"),
        ({"source": {"camara": "demo-a"}}, r"^source\.camara: unknown field; did you mean 'camera'\?"),
        ({"source": {"camera": "demo-aa"}}, r"^unknown camera 'demo-aa': did you mean 'demo-a'\?"),
        ({"source": {"space": "linaer"}}, r"^source\.space: input should be .*'linear'"),
        ({"planes": {"p": ["patches", "adcc"]}}, r"^unknown operator in plane 'p': 'adcc': did you mean 'adc'\?"),
    ],
)
def test_changed_says_it_in_one_sentence(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said) as caught:
        photos.recipe().changed(**fields)
    assert "\n" not in str(caught.value)


def test_a_space_that_is_none() -> None:
    with pytest.raises(UnknownName, match=r"unknown space 'linaer': did you mean 'linear'\? There are: display, "):
        Space("linaer")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"black": 1', r"invalid json"),
        ('{"blak": 1}', r"blak: unknown field; did you mean 'black'\?"),
        ('{"table": {"isos": [1, 2]}}', r"table\.isos: unknown field; did you mean 'iso'\?"),
        ('{"black": -1, "white": 9, "bits": 8, "pitch": 1, "k1": [1,1,1,1], "k0": [1,1,1,1]}', r"black: .*, got -1"),
    ],
)
def test_a_camera_file_in_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(RecipeError, match=rf"(?i)^camera file .*mine\.json: {said}") as caught:
        degrade.Camera.named(str(tmp_path / "mine.json"))
    assert "\n" not in str(caught.value)


# -- plug-ins that are not there --------------------------------------------------------------------------------------


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    package(tmp_path, "ailing", "import no_such_library\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    monkeypatch.undo()
    load_operators()
    assert not registry.BROKEN


AILING = r"ailing of ailing-ops 1\.0 cannot be imported \(ModuleNotFoundError: No module named 'no_such_library'\)"


@pytest.mark.usefixtures("broken")
def test_a_package_that_cannot_be_imported_breaks_no_recipe_that_leaves_it_alone() -> None:
    load_operators()
    assert len(registry.BROKEN) == 1
    assert re.fullmatch(AILING, registry.BROKEN[0])
    assert photos.recipe().planes
    with pytest.raises(
        RecipeError, match=rf"^operators\.adc: unknown operator 'ail': .*; {AILING} \(another package's"
    ):
        photos.recipe(("op: quantise", "op: ail"))
    done = CliRunner().invoke(command_line.app, ["schema"])
    assert done.exit_code == 0
    assert done.stdout.startswith("{")
    assert re.search(f"warning: {AILING}", done.stderr)


def test_how_an_operator_of_another_package_is_found() -> None:
    with pytest.raises(UnknownName, match=r"'vignete': .*installed.*'degrade\.operators'.*registers"):
        registry.operator("vignete")


# -- the command line -------------------------------------------------------------------------------------------------


def run(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    def app(standalone_mode: bool) -> None:
        raise error

    monkeypatch.setattr(command_line, "app", app)
    with pytest.raises(SystemExit) as end:
        command_line.main()
    return int(end.value.code or 0)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RecipeError("no plane"), "no plane"),
        (UnknownName("unknown plane 'x'"), "unknown plane 'x'"),
        (StoreError("the disk is full"), "the disk is full"),
        (FileNotFoundError(2, "No such file or directory", "a.yaml"), "a.yaml: no such file or directory"),
        (FileNotFoundError("there is no folder a"), "there is no folder a"),
        (OSError(28, "No space left on device"), "no space left on device"),
    ],
)
def test_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, said: str
) -> None:
    assert run(monkeypatch, error) == 1
    assert capsys.readouterr().err == f"error: {said}\n"


@pytest.mark.parametrize("error", [KeyError("blur"), ValueError("shapes"), IndexError(3), RuntimeError("x")])
def test_a_bug_is_shown(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        run(monkeypatch, error)
    assert caught.value.__notes__[-1].startswith("This is a bug and no mistake of yours")


@pytest.mark.parametrize("command", ["show", "replay"])
def test_a_row_that_is_not_there_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    photos.write_photos(tmp_path / "photos", 1)
    (tmp_path / "photos" / "cut.dng").write_bytes((tmp_path / "photos" / "p000.dng").read_bytes()[:1000])
    store = build(photos.recipe(), tmp_path / "photos", tmp_path / "s", workers=1).store
    for row, said in (
        ("99", "there is no row 99: .* has rows 0 to 11"),
        ("0", r"row 0 of photo 'cut\.dng' is absent: "),
    ):
        rest = ("--rows", row) if command == "show" else (row, "--photos", str(tmp_path / "photos"))
        monkeypatch.setattr("sys.argv", ["degrade", command, str(store), *rest])
        with pytest.raises(SystemExit, match="1"):
            command_line.main()
        assert re.match(f"error: {said}", capsys.readouterr().err)
