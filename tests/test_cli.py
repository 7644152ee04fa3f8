"""The command line: what each command prints and with which status it ends; no traceback ever reaches the user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, cast

import imageio.v3 as imageio
import numpy as np
import photos
import pytest
import served
from launch import Launcher

from degrade.cli import app
from degrade.pairs.plan import plan
from degrade.pairs.run import build
from degrade.pairs.store import PatchStore
from degrade.recipe.recipe import Recipe
from degrade.store.write import create


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, cli: Launcher) -> Path:
    """A folder with photos, recipe.yaml and pairs.zarr, built with two workers; not to be changed."""
    home = tmp_path_factory.mktemp("made")
    photos.write_photos(home / "photos", 5)
    (home / "photos" / "q.dng").write_text("not a photo")
    (home / "recipe.yaml").write_text(photos.RECIPE)
    done = cli("build", home / "recipe.yaml", home / "photos", "--out", home / "pairs.zarr", "--workers", 2)
    assert (done.code, done.err) == (2, "")
    assert "pairs.zarr: 30 rows of 5 photos" in done.out
    return home


@pytest.fixture
def store(made: Path) -> Path:
    return made / "pairs.zarr"


@pytest.fixture
def copy(store: Path, tmp_path: Path) -> Path:
    """A copy of the store, to be changed."""
    return shutil.copytree(store, tmp_path / "copy.zarr")


def test_every_command_has_help(cli: Launcher) -> None:
    names = [c.name or c.callback.__name__ for c in app.registered_commands if c.callback]
    assert {"build", "plan", "check", "info", "show", "verify", "copy", "replay", "schema", "demo"} <= set(names)
    overview = cli("--help")
    assert overview.code == 0
    for name in names:
        assert f" {name} " in overview.out
        help_ = cli(name, "--help")
        assert (help_.code, help_.err) == (0, "")
        assert f"Usage: degrade {name}" in help_.out
    for group in app.registered_groups:
        for command in cast(Any, group.typer_instance).registered_commands:
            name = command.name or command.callback.__name__
            assert f"Usage: degrade {group.name} {name.removesuffix('_')}" in cli(group.name, name, "--help").out
    # every option of a build says what it does
    text = cli("build", "--help", env={"COLUMNS": "200"}).out
    for option in ("--out", "--workers", "--scheduler", "--iso", "--seed", "--device"):
        line = next(line for line in text.splitlines() if option in line)
        assert len(line.split()) > 5, line


@pytest.mark.parametrize("arguments", [(), ("bild",), ("build",), ("info", "a", "b"), ("replay", "s", "x")])
def test_wrong_usage(cli: Launcher, arguments: tuple[str, ...]) -> None:
    done = cli(*arguments)
    assert done.code == 1
    assert "Usage: degrade" in done.out + done.err
    assert "Traceback" not in done.out + done.err


def test_from_a_cold_start(command: Path, made: Path, tmp_path: Path) -> None:
    """The installed command itself."""
    build_ = [command, "build", made / "recipe.yaml", made / "photos", "--out", tmp_path / "s", "--workers", "1"]
    done = subprocess.run(build_, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "")
    missing = subprocess.run([command, "info", tmp_path / "none"], capture_output=True, text=True, check=False)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr == f"error: there is no store at {tmp_path / 'none'}: build one, or check the path\n"


def test_the_seed_option(cli: Launcher, made: Path, tmp_path: Path) -> None:
    arguments = (made / "recipe.yaml", made / "photos", "--out", tmp_path / "s", "--workers", 1, "--seed", 8)
    assert cli("build", *arguments).code == 2
    again = build(photos.recipe(("seed: 7", "seed: 8")), made / "photos", tmp_path / "s", workers=1)
    assert (again.built, again.exit_code) == (0, 2)
    assert PatchStore(tmp_path / "s").recipe.seed == 8


# -- info -------------------------------------------------------------------------------------------------------------


def test_info_as_json(cli: Launcher, store: Path) -> None:
    info = cli("info", "--json", store).json
    assert info["rows"] == 30
    assert info["rows_absent"] == 6
    assert info["photos"] == 6
    assert info["seed"] == 7
    assert info["recipe_hash"] == photos.recipe().hash
    assert list(info["quarantined"]) == ["q.dng"]
    assert info["planes"]["noise"] == {"shape": [4, 8, 8], "dtype": "uint16", "space": "mosaic"}
    assert info["bytes"] == sum(f.stat().st_size for f in store.rglob("*") if f.is_file())
    assert {"noise.iso", "expose.stops", "crop_top", "black"} <= set(info["columns"])


def test_info_for_people(cli: Launcher, store: Path) -> None:
    done = cli("info", store, env={"COLUMNS": "150"})
    assert (done.code, done.err) == (0, "")
    for part in ("30 present, 6 absent, 6 a photo", "6, of which 1 quarantined", "4x8x8 uint16 MOSAIC", "seed 7"):
        assert part in done.out
    assert "quarantined q.dng: " in done.out


def test_brackets_in_names_are_no_markup(cli: Launcher, made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "[bold]"
    folder.mkdir()
    shutil.copy(made / "photos" / "p000.dng", folder / "[red]a[1].dng")
    (folder / "[b.dng").write_text("not a photo")
    done = cli("build", made / "recipe.yaml", folder, "--out", tmp_path / "[s]", "--workers", 1)
    assert done.code == 2
    assert f"\n{tmp_path / '[s]'}: 6 rows of 1 photo\n" in done.out
    assert f"\nquarantined [b.dng: {folder / '[b.dng'} " in done.out
    assert "[s]" in cli("info", tmp_path / "[s]").out


# -- verify -----------------------------------------------------------------------------------------------------------


def test_verify(cli: Launcher, store: Path, copy: Path) -> None:
    sound = cli("verify", store)
    assert (sound.code, sound.err) == (0, "")
    assert f"{store}: every byte is as it was written\n" in sound.out
    shard = copy / "noise" / "c.1.0.0.0"
    content = bytearray(shard.read_bytes())
    content[3 * 512 + 7] ^= 1  # a bit of the shard's fourth row
    shard.write_bytes(content)
    hurt = cli("verify", copy)
    assert (hurt.code, hurt.err) == (1, "")
    wrong = [line for line in hurt.out.splitlines() if line.startswith("wrong ")]
    assert len(wrong) == 1
    assert "noise/c.1.0.0.0 is damaged" in wrong[0]
    assert "rows lost: 9)" in wrong[0]


def test_every_flipped_byte_is_found(cli: Launcher, store: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    files = sorted(f for f in store.rglob("*") if f.is_file())
    for i in rng.choice(len(files), 12, replace=False):
        copy = shutil.copytree(store, tmp_path / f"copy{i}")
        file = copy / files[i].relative_to(store)
        content = bytearray(file.read_bytes())
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        file.write_bytes(content)
        done = cli("verify", copy)
        assert done.code == 1, file
        assert "Traceback" not in done.out + done.err, file


# -- copy, addresses --------------------------------------------------------------------------------------------------


def test_a_store_is_compressed_served_and_fetched(cli: Launcher, store: Path, tmp_path: Path) -> None:
    done = cli("copy", store, tmp_path / "small.zarr", "--codec", "zstd")
    assert (done.code, done.err) == (0, "")
    assert f"{tmp_path / 'small.zarr'}: 30 rows, 0." in done.out
    with served.served(tmp_path) as (address, _):
        there = f"{address}/small.zarr"
        assert cli("info", "--json", there).json["rows"] == 30
        assert f"{there}: every byte is as it was written\n" in cli("verify", there).out
        assert cli("show", there, "--out", tmp_path / "sheet.png").code == 0
        assert cli("copy", there, tmp_path / "again.zarr", "--codec", "plain").code == 0
        assert cli("info", f"{address}/none").sentence.startswith(f"there is no store at {address}/none")
    for file in store.rglob("*"):
        assert file.is_dir() or (tmp_path / "again.zarr" / file.relative_to(store)).read_bytes() == file.read_bytes()
    assert "did you mean 'zstd'" in cli("copy", store, tmp_path / "x", "--codec", "zst").sentence
    assert "name a folder that is not there yet" in cli("copy", store, tmp_path).sentence
    assert "a store is a folder, or at an address of http, https, s3, gs" in cli("info", "ftp://a/b").sentence


# -- replay -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [0, 17, 29])
def test_replay_of_a_store_that_two_workers_built(cli: Launcher, store: Path, made: Path, row: int) -> None:
    done = cli("replay", store, row, "--photos", made / "photos")
    assert (done.code, done.err) == (0, "")
    planes = ("clean", "blur", "noise", "noise_blur")
    assert done.out == "".join(f"row {row}, {name}: identical\n" for name in planes)


@pytest.mark.parametrize("threads", [1, 2])
def test_replay_from_a_cold_start_whatever_the_threads(command: Path, store: Path, made: Path, threads: int) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    replay = [command, "replay", store, "5", "--photos", made / "photos"]
    done = subprocess.run(replay, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("identical") == 4


def test_replay_tells_planes_that_differ(cli: Launcher, copy: Path, made: Path) -> None:
    shard = copy / "noise" / "c.1.0.0.0"
    content = bytearray(shard.read_bytes())
    content[3 * 512 + 7] ^= 1
    shard.write_bytes(content)
    done = cli("replay", copy, 9, "--photos", made / "photos")
    assert (done.code, done.err) == (1, "")
    assert "row 9, clean: identical\n" in done.out
    assert "wrong row 9, noise: 1 of 256 samples differ\n" in done.out


def test_what_cannot_be_replayed(cli: Launcher, store: Path, made: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(made / "photos", tmp_path / "photos")
    photos.write_photo(folder / "p001.dng", 77)
    (folder / "p002.dng").unlink()
    for row, said in (
        (6, f"{folder / 'p001.dng'} is not the photo that row 6 was built from: its content differs"),
        (12, f"there is no photo 'p002.dng' in {folder}: was it moved or renamed?"),
        (36, f"there is no row 36: {store} has rows 0 to 35"),
        (30, "row 30 of photo 'q.dng' is absent: "),
    ):
        assert cli("replay", store, row, "--photos", folder).sentence.startswith(said)
    assert "there is no row -1" in cli("replay", store, "--photos", folder, "--", -1).sentence
    assert "p000.dng" in cli("replay", store, 0, "--photos", tmp_path / "nowhere").sentence


# -- show, schema -----------------------------------------------------------------------------------------------------


def test_show(cli: Launcher, copy: Path, tmp_path: Path) -> None:
    done = cli("show", copy)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{tmp_path / 'copy.png'}: look at it\n"
    assert cli("show", copy, "--rows", "3,17", "--out", tmp_path / "two.png").code == 0
    sheet, two = (imageio.imread(tmp_path / name) for name in ("copy.png", "two.png"))
    assert sheet.shape[0] > two.shape[0] > 50
    assert two.std() > 5
    assert "row numbers are whole numbers" in cli("show", copy, "--rows", "3;17").err
    assert "there is no row 99" in cli("show", copy, "--rows", "99").sentence
    assert "nowhere" in cli("show", copy, "--out", tmp_path / "nowhere" / "a.png").sentence


def test_schema(cli: Launcher, tmp_path: Path) -> None:
    printed = cli("schema")
    assert (printed.code, printed.err) == (0, "")
    assert {"crop", "quantise"} <= set(printed.json["$defs"])
    assert cli("schema", "--out", tmp_path / "schema.json").out == ""
    assert json.loads((tmp_path / "schema.json").read_text()) == printed.json
    sentence = cli("schema", "--out", tmp_path / "nowhere" / "schema.json").sentence
    assert sentence == f"{tmp_path / 'nowhere' / 'schema.json'}: no such file or directory"


# -- no store ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["info", "show", "verify", "copy", "replay"])
def test_no_store(cli: Launcher, made: Path, tmp_path: Path, name: str) -> None:
    more = {"replay": (0, "--photos", made / "photos"), "copy": (tmp_path / "out",)}.get(name, ())
    (tmp_path / "empty").mkdir()
    for path, said in (
        (tmp_path / "none", "there is no store at "),
        (tmp_path / "empty", "there is no store at "),
        (made / "photos", "is not a store of ours"),
        (made / "recipe.yaml", "is a file, not a folder"),
    ):
        sentence = cli(name, path, *more).sentence
        assert said in sentence
        assert str(path) in sentence
    create(tmp_path / "s", plan(photos.recipe(), made / "photos").layout)
    sentence = cli(name, tmp_path / "s", *more).sentence
    assert "is not finished" in sentence
    assert "run the same build again, it continues" in sentence


def test_a_recipe_of_another_time(cli: Launcher, copy: Path, made: Path) -> None:
    """A store whose recipe no longer hashes as it did: another camera table, or operator versions."""
    assert Recipe.model_validate_json(PatchStore(copy).attributes["recipe"]).hash == photos.recipe().hash
    root = json.loads((copy / "zarr.json").read_text())
    root["attributes"]["recipe_hash"] = "0" * 32
    (copy / "zarr.json").write_text(json.dumps(root))
    sentence = cli("replay", copy, 0, "--photos", made / "photos").sentence
    assert "replay and render it with the degrade version that built it" in sentence
