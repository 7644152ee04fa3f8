"""Errors: one family for what people can put right; all else is a bug, which is shown with its place."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import photos
import pytest
import stores
import torch
from launch import Done, Launcher
from pydantic import BaseModel, ValidationError, field_validator
from typer.testing import CliRunner

import degrade
from degrade import (
    DegradeError,
    Frame,
    Key,
    Operator,
    PhotoError,
    Recipe,
    RecipeError,
    Sensor,
    Space,
    Spec,
    StoreError,
    UnknownName,
)
from degrade import cli as command_line
from degrade.core import errors, registry
from degrade.core.errors import find, noting
from degrade.core.registry import NAMED, load_operators, register
from degrade.pairs.bug import Bug, Elsewhere
from degrade.photos import read_source
from degrade.recipe.render import render
from degrade.recipe.transform import transform

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
        'raise ValueError("a line needs 3 points")',  # in a docstring
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


# -- bugs in Python ---------------------------------------------------------------------------------------------------


class Wrong(Operator):
    """Goes wrong where it is told to."""

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.LINEAR})
    where: str = "nowhere"

    def _at(self, place: str) -> None:
        if self.where == place:
            {}["blurr"]  # pyright: ignore[reportUnusedExpression]

    def plan(self, spec: Spec) -> Spec:
        self._at("plan")
        if self.where == "value in plan":
            raise ValueError("shapes cannot be broadcast")
        return super().plan(spec)

    def needs(self, spec: Spec, after: int) -> int:
        self._at("needs")
        return super().needs(spec, after)

    def suits(self, sensor: Sensor) -> None:
        self._at("suits")

    def draw(self, key: Key, frame: Frame | None = None, own: bool | None = None) -> Any:
        self._at("draw")
        return super().draw(key, frame, own)

    def camera(self, sensor: Sensor) -> Sensor:
        self._at("camera")
        return sensor

    def apply(self, frame: Frame) -> Frame:
        self._at("apply")
        data = frame.data
        if self.where == "broadcast":
            data = data + torch.zeros(7, 5)
        return frame.with_data(data[..., 1:, :] if self.where == "shape" else data)


@pytest.fixture
def wrong() -> Iterator[None]:
    load_operators()
    register("wrong")(Wrong)
    yield
    NAMED.pop("wrong")


def text(where: str) -> str:
    mine = f"  mine:     {{op: wrong, where: {where}}}\n  cfa: "
    return photos.recipe_text(("  cfa: ", mine), ("patches, optics,", "patches, mine, optics,"))


OPERATOR = f"operator 'mine' ({__name__}.Wrong)"
PLANES = f"{OPERATOR} in plane 'blur', 'noise_blur'"


@pytest.mark.usefixtures("wrong")
@pytest.mark.parametrize(
    ("where", "kind", "said", "notes"),
    [
        ("plan", KeyError, "blurr", [PLANES]),
        ("value in plan", ValueError, "^shapes cannot be broadcast", [PLANES]),
        ("needs", KeyError, "blurr", [PLANES]),
        ("suits", KeyError, "blurr", [OPERATOR]),
        ("draw", KeyError, "blurr", [OPERATOR, "photo 'a.dng'"]),
        ("camera", KeyError, "blurr", [OPERATOR, "photo 'a.dng'"]),
        ("apply", KeyError, "blurr", [PLANES, "photo 'a.dng'"]),
        ("broadcast", RuntimeError, "must match the size", [PLANES, "photo 'a.dng'"]),
        ("shape", RuntimeError, r"`apply` gave .* \(4, 3, 45, 46\), .*`plan` says \(4, 3, 46, 46\)", [PLANES]),
    ],
)
def test_a_bug_keeps_its_class_and_is_noted(
    tmp_path: Path, where: str, kind: type[Exception], said: str, notes: list[str]
) -> None:
    file = photos.write_photo(tmp_path / "a.dng")
    with pytest.raises(kind, match=said) as caught:
        recipe = Recipe.parse(text(where))
        render(recipe, read_source(file, recipe.source), "a.dng")
    assert not isinstance(caught.value, DegradeError)
    assert caught.value.__notes__[: len(notes)] == notes
    assert len(caught.value.__notes__) == len(set(caught.value.__notes__))


@pytest.mark.usefixtures("wrong")
def test_a_bug_before_the_crop_and_in_a_training_loop(tmp_path: Path) -> None:
    before = text("apply").replace("patches, mine, optics,", "patches, optics,").replace("[expose,", "[mine, expose,")
    recipe = Recipe.parse(before)
    with pytest.raises(KeyError) as caught:
        render(recipe, read_source(photos.write_photo(tmp_path / "a.dng"), recipe.source), "a.dng")
    assert caught.value.__notes__ == [
        f"{OPERATOR} in plane 'clean', 'blur', 'noise', 'noise_blur'",
        "photo 'a.dng'",
    ]
    for found in (transform(recipe), transform(Recipe.parse(text("apply")))):
        with pytest.raises(KeyError) as caught:
            found(torch.full((2, 3, *found.size), 0.1), step=5)
        assert caught.value.__notes__[0].startswith(OPERATOR)
        assert caught.value.__notes__[1:] == ["step 5"]


def test_what_people_can_put_right_gets_no_note() -> None:
    for wrong in (RecipeError("x"), FileNotFoundError("x")):
        with pytest.raises(type(wrong)) as caught, noting("here"):
            raise wrong
        assert not hasattr(caught.value, "__notes__")


# -- bugs in a build --------------------------------------------------------------------------------------------------

FAULTY = """
import os
import torch
from degrade import Frame, Operator, register

class Stubborn(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")

@register("faulty")
class Faulty(Operator):
    def apply(self, frame):
        data = frame.data
        if float(frame.sensor.exposure[0]) > 1:
            match os.environ.get("FAULT"):
                case "key":
                    data = frame.aux["dept"]
                case "broadcast":
                    data = data + torch.zeros(7, 5)
                case "shape":
                    data = data[..., 1:]
                case "stubborn":
                    raise Stubborn("this", "that")
        return frame.with_data(data)
"""
FAULTS = {
    "key": "KeyError: 'dept'",
    "broadcast": "RuntimeError: The size of tensor a (46) must match the size of tensor b (5)",
    "shape": "RuntimeError: `apply` gave data of shape (4, 3, 46, 45), where `plan` says (4, 3, 46, 46)",
}


def package(folder: Path, name: str, code: str) -> None:
    """A package as it lies when it is installed: a module, and what pip notes of it."""
    info = folder / f"{name}_ops-1.0.dist-info"
    info.mkdir(parents=True)
    info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-ops\nVersion: 1.0\n")
    info.joinpath("entry_points.txt").write_text(f"[degrade.operators]\n{name} = {name}\n")
    folder.joinpath(f"{name}.py").write_text(code)


class Home:
    """A plug-in that goes wrong at the third of four photos, a photo that is cut short, and the command line."""

    def __init__(self, folder: Path, cli: Launcher, root: Path) -> None:
        self.folder, self.cli = folder, cli
        package(folder / "site", "faulty", FAULTY)
        photos.write_photos(folder / "photos", 2)
        photos.write_photo(folder / "photos" / "p002.dng", 2, exposure=2.0)
        photos.write_photo(folder / "photos" / "p003.dng", 3)
        (folder / "photos" / "cut.dng").write_bytes((folder / "photos" / "p000.dng").read_bytes()[:1000])
        (folder / "recipe.yaml").write_text(text("x").replace("op: wrong, where: x", "op: faulty"))
        self.env = {"PYTHONPATH": os.pathsep.join((str(folder / "site"), str(root)))}

    def __call__(self, *arguments: object, fault: str = "") -> Done:
        before = f"sys.path.insert(0, {str(self.folder / 'site')!r})"
        return self.cli(*arguments, before=before, env={**self.env, "FAULT": fault})

    def build(self, out: str, workers: int, fault: str = "") -> Done:
        return self(
            "build", self.folder / "recipe.yaml", self.folder / "photos", "--out", self.folder / out,
            "--workers", workers, fault=fault,
        )  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Home]:
    with Launcher(tmp_path_factory.mktemp("out")) as launcher:
        home = Home(tmp_path_factory.mktemp("home"), launcher, root)
        assert home.build("calm", 1).code == 2  # one photo is cut short
        yield home


def check_told(done: Done, said: str) -> None:
    assert done.code == 1, done
    assert "Traceback (most recent call last)" in done.err
    assert "faulty.py" in done.err
    assert said in done.err
    lines = done.err.splitlines()
    at = max(i for i, line in enumerate(lines) if line.startswith(said))
    assert "operator 'mine' (faulty.Faulty) in plane 'blur', 'noise_blur'" in lines[at:]
    assert "photo 'p002.dng'" in lines[at:]
    assert lines[-1].startswith("This is a bug and no mistake of yours")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_bug_ends_a_build_which_continues_after_the_mend(home: Home, fault: str, workers: int) -> None:
    out = f"{fault}{workers}"
    done = home.build(out, workers, fault)
    check_told(done, FAULTS[fault])
    assert "The shards that are built are kept" in done.err
    if workers == 1:  # those before it, of which one is set aside
        assert "it has 3 of 5 shards" in home("info", home.folder / out).sentence
    assert home.build(out, workers).code == 2
    assert stores.files(home.folder / out) == stores.files(home.folder / "calm")
    assert home("verify", home.folder / out).code == 0


def test_an_exception_that_cannot_travel_is_told_all_the_same(home: Home) -> None:
    done = home.build("stubborn", 2, "stubborn")
    check_told(done, "RuntimeError: faulty.Stubborn: this and that")


def test_a_forecast_shows_a_bug_too(home: Home) -> None:
    arguments = ("plan", home.folder / "recipe.yaml", home.folder / "photos", "--workers", 1)
    (home.folder / "one").mkdir()
    photos.write_photo(home.folder / "one" / "p002.dng", 2, exposure=2.0)
    check_told(home(*arguments[:2], home.folder / "one", *arguments[3:], fault="key"), FAULTS["key"])


def test_a_bug_travels_with_its_traceback() -> None:
    try:
        with noting("operator 'mine'"):
            {}["x"]  # pyright: ignore[reportUnusedExpression]
    except KeyError as bug:
        error = pickle.loads(pickle.dumps(Bug.of(bug))).error()
    assert (type(error), error.args, error.__notes__) == (KeyError, ("x",), ["operator 'mine'"])
    assert isinstance(error.__cause__, Elsewhere)
    assert "Traceback (most recent call last)" in str(error.__cause__)
    assert "test_errors.py" in str(error.__cause__)


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
    with pytest.raises(RecipeError, match=rf"^operators\.adc: unknown operator 'ail': .*; {AILING}; another package's"):
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
def test_a_row_that_is_not_there_is_one_sentence(home: Home, tmp_path: Path, command: str) -> None:
    for row, said in ((99, "there is no row 99: .* has rows 0 to 29"), (0, r"row 0 of photo 'cut\.dng' is absent: ")):
        arguments = ("--rows", row) if command == "show" else (row, "--photos", home.folder / "photos")
        assert re.match(said, home(command, home.folder / "calm", *arguments).sentence)
