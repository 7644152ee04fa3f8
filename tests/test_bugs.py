"""Bugs of operators: they keep class and traceback, also out of workers, are noted with their place, lose nothing."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, cast

import photos
import pytest
import stores
import torch
from launch import Done, Launcher, package
from pydantic import field_validator

from degrade import (
    DegradeError,
    Frame,
    Key,
    Keys,
    Operator,
    PatchStore,
    Recipe,
    RecipeError,
    Sensor,
    Space,
    Spec,
    build,
)
from degrade.core.errors import noting
from degrade.core.registry import NAMED, load_operators, register
from degrade.pairs.bug import Bug, Elsewhere
from degrade.photos import read_source
from degrade.recipe.render import render
from degrade.recipe.transform import transform

# -- bugs in Python ---------------------------------------------------------------------------------------------------


class Wrong(Operator):
    """Goes wrong where it is told to."""

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.LINEAR})
    where: str = "nowhere"

    @field_validator("where")
    @classmethod
    def _there(cls, where: str) -> str:
        if where == "a wrong value":
            raise ValueError("nothing is there")
        return {}["blurr"] if where == "a validator" else where

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

    def draw(self, key: Key | Keys, frame: Frame | None = None) -> Any:
        self._at("draw")
        return super().draw(key, frame)

    def camera(self, sensor: Sensor) -> Sensor:
        self._at("camera")
        return sensor

    def noted(self) -> tuple[str, ...]:
        self._at("noted")
        return ()

    def kernel(self, sensor: Sensor, field: torch.Tensor | None = None) -> torch.Tensor | None:
        self._at("kernel")
        return None

    def apply(self, frame: Frame) -> Frame:
        self._at("apply")
        data = frame.data
        if self.where == "no frame":
            return cast(Frame, data)
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
        ("suits", KeyError, "blurr", [PLANES]),
        ("draw", KeyError, "blurr", [PLANES, "photo 'a.dng'"]),
        ("noted", KeyError, "blurr", [PLANES]),
        ("camera", KeyError, "blurr", [PLANES, "photo 'a.dng'"]),
        ("apply", KeyError, "blurr", [PLANES, "photo 'a.dng'"]),
        ("broadcast", RuntimeError, "must match the size", [PLANES, "photo 'a.dng'"]),
        ("no frame", TypeError, "^`apply` gave Tensor, not a Frame", [PLANES, "photo 'a.dng'"]),
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


@pytest.mark.usefixtures("wrong")
@pytest.mark.parametrize("where", ["plan", "needs", "suits", "draw", "camera", "noted"])
def test_a_bug_inside_containers_names_all_of_them(tmp_path: Path, where: str) -> None:
    op = f"{{op: wrong, where: {where}}}"
    within = text(where).replace(op, f"{{op: chain, steps: [{{op: one_of, ops: [{op}]}}]}}")
    with pytest.raises(KeyError) as caught:
        recipe = Recipe.parse(within)
        render(recipe, read_source(photos.write_photo(tmp_path / "a.dng"), recipe.source), "a.dng")
    assert caught.value.__notes__[:3] == [
        f"step wrong ({__name__}.Wrong)",
        "step one_of (degrade.core.compose.OneOf)",
        "operator 'mine' (degrade.core.compose.Chain) in plane 'blur', 'noise_blur'",
    ]


@pytest.mark.usefixtures("wrong")
@pytest.mark.parametrize(("where", "kind"), [("a validator", KeyError), ("a wrong value", RecipeError)])
def test_a_bug_of_a_validator_names_the_class(where: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        Recipe.parse(text(where))
    said = [f"operator 'wrong' ({__name__}.Wrong), as it is read"] if kind is KeyError else []
    assert getattr(caught.value, "__notes__", []) == said
    assert kind is KeyError or str(caught.value) == "operators.mine.where: nothing is there"


@pytest.mark.usefixtures("wrong")
def test_a_bug_of_a_kernel_names_operator_and_photo() -> None:
    recipe = Recipe.parse(text("kernel").replace("patches, optics, mine", "patches, mine, optics"))
    with pytest.raises(KeyError) as caught:
        recipe.kernel("a.dng", 3)
    assert caught.value.__notes__ == [PLANES, "photo 'a.dng', patch 3"]


@pytest.mark.usefixtures("wrong")
def test_a_bug_inside_a_container_names_both(tmp_path: Path) -> None:
    within = text("apply").replace("{op: wrong, where: apply}", "{op: maybe, p: 1, do: {op: wrong, where: apply}}")
    recipe = Recipe.parse(within)
    with pytest.raises(KeyError) as caught:
        render(recipe, read_source(photos.write_photo(tmp_path / "a.dng"), recipe.source), "a.dng")
    assert caught.value.__notes__ == [
        f"step wrong ({__name__}.Wrong)",
        "operator 'mine' (degrade.core.compose.Maybe) in plane 'blur', 'noise_blur'",
        "photo 'a.dng'",
    ]


@pytest.mark.usefixtures("wrong")
def test_a_bug_in_planes_that_are_rendered_from_a_store(tmp_path: Path) -> None:
    photos.write_photos(tmp_path / "photos", 1)
    subject = "planes:\n  subject: {path: [expose, patches], dtype: float32, margin: keep}\n"
    recipe = Recipe.parse(text("apply").replace("planes:\n", subject)).changed(store=("subject",))
    store = PatchStore(build(recipe, tmp_path / "photos", tmp_path / "s", workers=1).store)
    with pytest.raises(KeyError) as caught:
        next(iter(store.loader(2, ["blur"], threads=0)))
    assert caught.value.__notes__ == [f"{OPERATOR} in plane 'blur'", "photo 'p000.dng'"]


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
    assert "faulty.py" in done.err or "`apply` gave" in said  # which is noticed behind it
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
    with pytest.raises(KeyError) as caught, noting("operator 'mine'"):
        {}["x"]  # pyright: ignore[reportUnusedExpression]
    error = pickle.loads(pickle.dumps(Bug.of(caught.value))).error()
    assert (type(error), error.args, error.__notes__) == (KeyError, ("x",), ["operator 'mine'"])
    assert isinstance(error.__cause__, Elsewhere)
    assert "Traceback (most recent call last)" in str(error.__cause__)
    assert "test_bugs.py" in str(error.__cause__)
