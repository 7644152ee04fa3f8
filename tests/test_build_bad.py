"""Bad input: one clear sentence each; a bad photo is set aside with its reason and all others are built."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import photos
import pytest
import stores
import tifffile
import zarr
from launch import Launcher

from degrade.maths.cfa import XTRANS
from degrade.pairs.plan import plan
from degrade.pairs.run import build
from degrade.pairs.store import PatchStore
from degrade.pairs.task import Task, build_shard
from degrade.recipe.recipe import Recipe
from degrade.store.disk import locked
from degrade.store.write import create


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A recipe and two good photos."""
    photos.write_photos(tmp_path / "photos", 2)
    (tmp_path / "recipe.yaml").write_text(photos.RECIPE)
    return tmp_path


def command(home: Path, out: str = "s") -> tuple[object, ...]:
    return "build", home / "recipe.yaml", home / "photos", "--out", home / out, "--workers", 1


# -- photos -----------------------------------------------------------------------------------------------------------


def make_bad(folder: Path) -> dict[str, str]:
    """Every kind of bad photo, and a part of what must be said of it."""
    mosaic = photos.scene(50)
    whole = photos.write_photo(folder / "cut.dng", 51).read_bytes()
    (folder / "cut.dng").write_bytes(whole[: len(whole) * 3 // 4])
    with tifffile.TiffFile(photos.write_photo(folder / "header.dng", 52)) as file:
        header = file.pages.first.dataoffsets[0]
    os.truncate(folder / "header.dng", header)
    (folder / "copy.dng").write_bytes((folder / "p000.dng").read_bytes())  # sorts before it: first come, first kept
    photos.write_dng(folder / "black.dng", np.full(photos.SIZE, photos.BLACK, np.uint16), white=photos.WHITE)
    photos.write_odd_dng(folder / "xtrans.dng", mosaic, 32803, XTRANS.colours)
    photos.write_odd_dng(folder / "mono.dng", mosaic, 34892)
    photos.write_odd_dng(folder / "linear.dng", np.stack([mosaic] * 3, -1), 34892)
    (folder / "text.CR2").write_text("a letter\n" * 300)
    (folder / "nothing.nef").touch()
    photos.write_photo(folder / "small.dng", 53, (64, 200))
    photos.write_photo(folder / "tiny[red].dng", 54, (22, 22))
    photos.write_dng(folder / "white.dng", np.clip(photos.scene(55) * 40, 0, 16383).astype(np.uint16), white=600)
    return {
        "cut.dng": "is cut short: the picture needs",
        "header.dng": "is cut short: the picture needs",
        "p000.dng": "same content as copy.dng: delete one of the two",
        "black.dng": "holds no picture, all photosites read 512 DN: copy it again from the card",
        "xtrans.dng": "has an X-Trans sensor: only Bayer mosaics (2 x 2) can be read, leave it out",
        "mono.dng": "is a linear or monochrome DNG, it has no mosaic: give the camera's own RAW file",
        "linear.dng": "is a linear or monochrome DNG, it has no mosaic: give the camera's own RAW file",
        "text.CR2": "is not a RAW photo that LibRaw knows: remove it, or convert it to DNG",
        "nothing.nef": "is empty: copy it again from the card",
        "small.dng": "patches of 16 with a margin of 16 need 48 x 48: use a smaller size, margin or shrink",
        "tiny[red].dng": "patches of 16 with a margin of 16 need 48 x 48: use a smaller size, margin or shrink",
        "white.dng": "no patch could be placed: more than 2% of each place tried is clipped",
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_photos_are_set_aside_and_the_rest_is_built(home: Path, cli: Launcher, workers: int) -> None:
    said = make_bad(home / "photos")
    done = cli(*command(home)[:-1], workers)
    assert (done.code, done.err) == (2, "")
    info = cli("info", "--json", home / "s").json
    reasons = info["quarantined"]
    assert sorted(reasons) == sorted(said)
    for key, part in said.items():
        assert part in reasons[key], key
        assert "\n" not in reasons[key]
    # the rest: two photos, each in full, the very rows that they give alone
    assert (info["photos"], info["rows"], info["rows_absent"]) == (14, 12, 72)
    store = PatchStore(home / "s")
    assert store.verify() == []
    good = home / "good"
    good.mkdir()
    for name in ("copy.dng", "p001.dng"):
        (home / "photos" / name).rename(good / name)
    alone = PatchStore(build(photos.recipe(), good, home / "alone", workers=1).store)
    for plane in store.planes:
        assert np.array_equal(store.read(plane, store.rows), alone.read(plane, alone.rows))
    # ten are told at the end of the build, each on a line of its own, the last two are left to info
    lines = [line for line in done.out.splitlines() if line.startswith("quarantined ")]
    assert len(lines) == 10
    assert "... and 2 more: `degrade info --json` lists them all" in done.out
    for line in lines:
        key, _, reason = line.removeprefix("quarantined ").partition(": ")
        assert reasons[key] == reason


def test_a_build_that_goes_on_keeps_what_it_said_of_bad_photos(home: Path, cli: Launcher) -> None:
    make_bad(home / "photos")
    first = cli(*command(home))
    again = cli(*command(home))
    assert again.code == first.code == 2
    told = [[x for x in done.out.splitlines() if x.startswith("quarantined")] for done in (first, again)]
    assert told[0] == told[1]
    assert len(told[0]) == 10


def test_nothing_useful(home: Path, cli: Launcher) -> None:
    for photo in (home / "photos").iterdir():
        os.truncate(photo, 1000)
    done = cli(*command(home))
    assert (done.code, done.err) == (1, "")
    assert "0 rows of 0 photos" in done.out
    assert done.out.count("cut short") == 2
    assert sorted(cli("info", "--json", home / "s").json["quarantined"]) == ["p000.dng", "p001.dng"]
    assert cli("info", home / "s").code == 0
    assert cli("verify", home / "s").code == 0


def test_photos_that_do_not_tell_their_iso(home: Path, cli: Launcher) -> None:
    (home / "recipe.yaml").write_text(photos.recipe_text(("iso: {choice: [100, 400, 1600]}", "iso: photo")))
    photos.write_photo(home / "photos" / "p001.dng", 1, iso=None)
    done = cli(*command(home))
    assert (done.code, done.err) == (2, "")
    assert "quarantined p001.dng: the photo does not tell its ISO: give it with --iso, or `iso:` in the" in done.out
    done = cli(*command(home, "given"), "--iso", 800)
    assert (done.code, done.err) == (0, "")
    assert set(PatchStore(home / "given").columns["iso"].tolist()) == {800.0}


def test_the_advice_may_be_followed_with_the_same_command(home: Path, cli: Launcher) -> None:
    (home / "recipe.yaml").write_text(photos.recipe_text(("iso: {choice: [100, 400, 1600]}", "iso: photo")))
    for name in ("p000.dng", "p001.dng"):
        photos.write_photo(home / "photos" / name, int(name[3]), iso=None)
    done = cli(*command(home))
    assert (done.code, done.err) == (1, "")
    assert "--iso" in done.out
    done = cli(*command(home), "--iso", 800)
    assert (done.code, done.err) == (0, "")
    assert cli("verify", home / "s").code == 0


def test_no_noise_curve_anywhere(home: Path, cli: Launcher) -> None:
    (home / "recipe.yaml").write_text(photos.recipe_text((", camera: demo-a", "")))
    photos.write_photo(home / "photos" / "p001.dng", 1, noise_profile=((1e-4, 1e-6),) * 4)
    done = cli(*command(home))
    assert done.code == 2
    assert "quarantined p000.dng: no noise curve: neither sensor_noise nor a camera nor the photo gives k1" in done.out
    assert "name a camera in source:, or give k1 and k0" in done.out


def test_a_photo_of_a_kind_that_the_recipe_cannot_read(home: Path, cli: Launcher) -> None:
    (home / "recipe.yaml").write_text(photos.recipe_text(("shrink: 2", "shrink: 3")))  # pictures only
    picture = (photos.scene(60, (180, 200)) // 64).astype(np.uint8)
    imageio.imwrite(home / "photos" / "picture.png", np.stack([picture] * 3, -1))
    done = cli(*command(home))
    assert (done.code, done.err) == (2, "")
    assert "6 rows of 1 photo" in done.out
    assert "quarantined p000.dng: the recipe's source does not suit it: " in done.out
    assert "must be even and at least 2, got 3" in done.out


def test_a_photo_that_changes_while_the_build_runs(home: Path) -> None:
    whole = plan(photos.recipe(), home / "photos")
    changed = photos.write_photo(home / "photos" / "p001.dng", 7)
    with locked(home / "s"):
        create(home / "s", whole.layout)
        first, second = (build_shard(Task.of(whole, home / "s", k)) for k in range(2))
    assert (first.rows, first.quarantined, second.rows) == (6, {}, 0)
    said = f"{changed} was changed, or still being copied, when the build had begun: build it into another store"
    assert second.quarantined == {"p001.dng": said}


# -- folders ----------------------------------------------------------------------------------------------------------


def test_no_photos(home: Path, cli: Launcher) -> None:
    (home / "empty").mkdir()
    (home / "empty" / "notes.txt").write_text("none")
    for folder, said in (
        ("empty", f"there is no photo in {home / 'empty'}: names must end in one of .3fr, "),
        ("missing", f"there is no folder {home / 'missing'}: name the folder that holds the photos"),
        ("recipe.yaml", f"{home / 'recipe.yaml'} is not a folder: name the folder that holds the photos"),
    ):
        wrong = cli("build", home / "recipe.yaml", home / folder, "--out", home / "s")
        assert wrong.sentence.startswith(said)
        assert not (home / "s").exists()


def test_an_output_folder_that_is_not_ours(home: Path, cli: Launcher) -> None:
    (home / "thesis").mkdir()
    (home / "thesis" / "chapter1.tex").write_text("precious")
    (home / "file").write_text("precious")
    zarr.create_group(home / "group", zarr_format=3).create_array("a", shape=(3,), dtype="u1")
    before = stores.files(home)
    for out, said in (
        ("thesis", "holds other things and is not a store of ours: name another folder"),
        ("photos", "holds other things and is not a store of ours: name another folder"),
        ("file", "is a file, not a folder: "),
        ("group", "is Zarr, but not a store of ours"),
        ("file/s", "could not go on"),
    ):
        sentence = cli(*command(home, out)).sentence
        assert sentence.startswith(str(home / out)) or out == "file/s"
        assert said in sentence
    assert stores.files(home) == before


def test_an_empty_folder_is_taken(home: Path, cli: Launcher) -> None:
    (home / "s").mkdir()
    assert cli(*command(home)).code == 0


# -- recipes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("op: quantise", "op: quantize"), ["operators.adc", "'quantize'", "did you mean 'quantise'?"]),
        (("stops:", "stop:"), ["operators.expose", "stop", "did you mean 'stops'?"]),
        (("sigma:", "sigmma:"), ["operators.optics", "sigmma", "did you mean 'sigma'?"]),
        (("camera:", "kamera:"), ["source", "kamera", "did you mean 'camera'?"]),
        (("block: 4", "blok: 4"), ["blok", "did you mean 'block'?"]),
        (("camera: demo-a", "camera: demo-aa"), ["unknown camera 'demo-aa'", "did you mean 'demo-a'?"]),
        (("optics, cfa, adc]", "cfa, optics, adc]"), ["optics", "psf_blur", "MOSAIC"]),
        (("reference: noise_blur", "reference: noise_blurr"), ["'noise_blurr'", "did you mean 'noise_blur'?"]),
        (("block: 4", "store: [clen]"), ["plane in store: 'clen'", "did you mean 'clean'?"]),
        (("[expose, patches, cfa, adc]", "[expose, patchs, cfa, adc]"), ["'patchs'", "did you mean 'patches'?"]),
        (("[0, 1.5]", "[1.5, 0]"), ["operators.expose.stops"]),
        (("margin: 16", "margin: 4"), ["patches", "margin is 4: set margin: 16 or more"]),
        (("per_photo: 6", "per_photo: 0"), ["operators.patches.per_photo", "got 0"]),
        (("seed: 7", "seed: 7\nseed: 8"), ["line 3", "seed"]),
        (("planes:", "planes: ["), ["not YAML", "line "]),
        ((photos.RECIPE, "[1, 2]"), ["a recipe is a mapping"]),
        ((photos.RECIPE, ""), ["a recipe is a mapping"]),
    ],
)
def test_a_wrong_recipe(home: Path, cli: Launcher, change: tuple[str, str], said: list[str]) -> None:
    (home / "recipe.yaml").write_text(photos.recipe_text(change))
    sentence = cli(*command(home)).sentence
    assert sentence.startswith(f"{home / 'recipe.yaml'}: ")
    for part in said:
        assert part in sentence
    assert not (home / "s").exists()


def test_a_recipe_that_is_not_there(home: Path, cli: Launcher) -> None:
    for name, said in (
        ("residual-map", "did you mean 'residual-maps'?"),
        (str(home / "nowhere.yaml"), "neither a file nor a shipped pipeline"),
        (str(home / "photos" / "p000.dng"), "p000.dng: "),
    ):
        assert said in cli("build", name, home / "photos", "--out", home / "s").sentence


@pytest.mark.parametrize(("option", "value"), [("--iso", 0), ("--iso", -100), ("--iso", "nan"), ("--seed", 2.5)])
def test_a_wrong_option(home: Path, cli: Launcher, option: str, value: float) -> None:
    done = cli(*command(home), option, value)
    assert done.code == 1
    assert f"Invalid value for '{option}'" in done.err or f"Invalid value for {option}: must be above 0" in done.err
    assert not (home / "s").exists()


# -- disks ------------------------------------------------------------------------------------------------------------

LIMIT = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))"


@pytest.mark.parametrize(("limit", "workers"), [(400, 1), (1500, 1), (3000, 1), (1500, 2)])
def test_a_disk_that_takes_no_more(home: Path, cli: Launcher, limit: int, workers: int) -> None:
    full = cli(*command(home)[:-1], workers, before=LIMIT.format(limit))
    assert full.sentence.startswith("the disk is full")
    assert str(home / "s") in full.sentence
    assert full.sentence.endswith("make room and run the same command again, it continues")
    assert not list((home / "s").rglob("tmp-*"))
    assert cli(*command(home)).code == 0
    calm = build(Recipe.load(str(home / "recipe.yaml")), home / "photos", home / "calm", workers=1)
    assert stores.files(home / "s") == stores.files(calm.store)


def test_a_really_full_disk(home: Path, cli: Launcher) -> None:
    """A file system of 1 MiB, where one may be mounted."""
    (home / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(home / "disk")]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root only")
    try:
        recipe = photos.recipe_text(("per_photo: 6", "per_photo: 600"))
        (home / "recipe.yaml").write_text(recipe)
        full = cli(*command(home, "disk/s"))
        assert full.sentence.startswith("the disk is full (")
        assert not list((home / "disk").rglob("tmp-*"))
        subprocess.run([*mount[:4], "remount,size=16m", *mount[5:]], check=True)
        assert cli(*command(home, "disk/s")).code == 0
        calm = build(Recipe.parse(recipe), home / "photos", home / "calm", workers=1)
        assert stores.files(home / "disk" / "s") == stores.files(calm.store)
    finally:
        subprocess.run(["umount", str(home / "disk")], check=True)
