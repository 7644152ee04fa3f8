"""Operators that lie in one file: `--plugin` and DEGRADE_PLUGINS, in this process and in workers."""

from __future__ import annotations

import os
from pathlib import Path

import photos
import pytest
from launch import Launcher

from degrade import RecipeError, UnknownName
from degrade.core import plugin, registry
from degrade.recipe.recipe import Recipe

MIST = '''
import os

from degrade import Frame, Operator, Param, Space, Spec, Uniform, register

HALF = 0.5


def weaker(x):
    return HALF * x


@register("test_mist")
class Mist(Operator):
    """A grey veil."""

    accepts = frozenset({Space.LINEAR})
    strength: Param[float] = Uniform(0.05, 0.1)

    def plan(self, spec: Spec) -> Spec:
        return super().plan(spec)

    def apply(self, frame: Frame) -> Frame:
        if "SEEN" in os.environ:
            open(os.path.join(os.environ["SEEN"], str(os.getpid())), "w").close()
        return frame.with_data(frame.data + weaker(self.column("strength", frame)) * frame.neutral)
'''
RECIPE = photos.recipe_text(
    ("{op: psf_blur, kernels: [{psf: gaussian, sigma: {uniform: [0.3, 1.0]}}]}", "{op: test_mist}")
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with photos, mist.py and a recipe that needs it."""
    photos.write_photos(tmp_path / "photos", 5)
    (tmp_path / "mist.py").write_text(MIST)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def test_one_process_and_two_workers_find_it(cli: Launcher, home: Path) -> None:
    named = ("--plugin", home / "mist.py")
    for workers in (1, 2):
        (home / f"seen{workers}").mkdir()
        build = ("build", home / "recipe.yaml", home / "photos", "--out", home / f"{workers}.zarr")
        done = cli(*named, *build, "--workers", workers, env={"SEEN": str(home / f"seen{workers}")})
        assert (done.code, done.err) == (0, "")
        assert len(list((home / f"seen{workers}").iterdir())) == workers
    one, two = (
        {f.relative_to(root): f.read_bytes() for f in root.rglob("*") if f.is_file()}
        for root in (home / "1.zarr", home / "2.zarr")
    )
    assert one == two
    replay = ("replay", home / "1.zarr", 3, "--photos", home / "photos")
    assert cli(*replay, env={plugin.VARIABLE: str(home / "mist.py")}).code == 0
    assert "unknown operator 'test_mist'" in cli(*replay).sentence
    assert "--plugin FILE.py" in cli(*replay).sentence


def test_a_forecast_and_a_bug_know_it(cli: Launcher, home: Path) -> None:
    named = ("--plugin", home / "mist.py")
    assert cli(*named, "plan", home / "recipe.yaml", home / "photos").code == 0
    (home / "mist.py").write_text(MIST.replace('"strength", frame', '"strenght", frame'))
    for workers in (1, 2):
        build = ("build", home / "recipe.yaml", home / "photos", "--out", home / f"{workers}.zarr")
        done = cli(*named, *build, "--workers", workers)
        assert done.code == 1
        assert "AttributeError: test_mist has no field 'strenght': did you mean 'strength'?" in done.err
        assert "operator 'optics' (plugin_mist.Mist)" in done.err
        assert "Traceback" in done.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, r"is not there: name a file of Python"),
        ("x = (\n", r"cannot be imported: line 1: SyntaxError: '\(' was never closed"),
        ("import torch\ntorc.ones(1)\n", r"cannot be imported: line 2: NameError: name 'torc' is not defined"),
        ("def f():\n    raise KeyError(3)\nf()\n", r"cannot be imported: line 2: KeyError: 3"),
        ("import sys\nsys.exit(3)\n", r"cannot be imported: line 2: SystemExit: 3"),
        ("from degrade import *\n@register\nclass Fog(Operator): ...", r"needs the name in .*@register\('fog'\)"),
        ("x = 1\n", r"registers no operator: above its class stands @register\(\.\.\.\)"),
        ("from degrade import *\n", r"registers no operator: above its class stands @register\(\.\.\.\)"),
        (
            MIST.replace('@register("test_mist")', "@register"),
            r"line \d+: RecipeError: .* the name in recipes.*, got <class",
        ),
        (
            "from degrade import register\n@register('f')\nclass F:\n    pass\n",
            r"line 2: RecipeError: F of plugin_mine_* is registered as 'f', and no Operator",
        ),
        (MIST.replace("test_mist", "fog"), r"line \d+: RecipeError: two operators are called 'fog'"),
        (MIST + "oops\n", r"line \d+: NameError: name 'oops' is not defined"),
    ],
)
def test_a_wrong_file_is_one_sentence(
    text: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.py"
    if text is not None:
        file.write_text(text)
    before = dict(registry.load_operators())
    monkeypatch.setenv(plugin.VARIABLE, f"{file}{os.pathsep}")
    for _ in range(2):  # asked again it says the same
        with pytest.raises(RecipeError, match=rf"^plug-in {file} .*{said}"):
            registry.load_operators()
    assert before == registry.NAMED
    with pytest.raises(RecipeError, match=rf"operators.optics: plug-in {file} "):
        Recipe.parse(RECIPE)


def test_a_wrong_option_is_one_sentence(cli: Launcher, tmp_path: Path) -> None:
    assert cli("--plugin", tmp_path, "schema").sentence == f"plug-in {tmp_path} is a folder: name a file of Python"
    (tmp_path / "x.txt").write_text(MIST)
    said = f"plug-in {tmp_path / 'x.txt'} is no file of Python: its name ends in .py"
    assert cli("--plugin", tmp_path / "x.txt", "schema").sentence == said


def test_the_option_behind_a_command_is_led_before_it(cli: Launcher) -> None:
    done = cli("build", "--plugin", "mine.py", "residual-maps", "photos", "--out", "pairs.zarr")
    assert done.code == 1
    assert "it stands before the command" in " ".join(done.err.split())


def test_files_of_one_name_in_two_folders(cli: Launcher, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mist.py").write_text(MIST.replace("test_mist", f"test_mist_{folder}"))
    done = cli("--plugin", tmp_path / "a" / "mist.py", "--plugin", tmp_path / "b" / "mist.py", "schema")
    assert done.code == 0
    assert "test_mist_a" in done.out
    assert "test_mist_b" in done.out


def test_a_recipe_names_no_plug_in() -> None:
    with pytest.raises(ValueError, match="plugins"):
        Recipe.parse(f"plugins: [mist.py]\n{RECIPE}")


def test_python_finds_what_the_environment_names(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownName, match=r"a file's: --plugin FILE\.py"):
        registry.operator("test_mist")
    monkeypatch.setenv(plugin.VARIABLE, f" {os.pathsep} {home / 'mist.py'} ")
    try:
        assert registry.operator("test_mist").op == "test_mist"
        assert Recipe.parse(RECIPE).operators["optics"].op == "test_mist"
    finally:
        registry.NAMED.pop("test_mist", None)
        plugin.LOADED.clear()
