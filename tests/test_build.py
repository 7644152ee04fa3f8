"""Building: the same bytes however it is done, every row in its place, and no store ever mixed of two builds."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import photos
import pytest
import stores
import torch
from launch import Launcher

from degrade.core.errors import StoreError
from degrade.core.progress import Done, quiet
from degrade.pairs.encode import encode
from degrade.pairs.plan import plan
from degrade.pairs.run import build
from degrade.pairs.store import PatchStore
from degrade.pairs.task import Task, build_shard
from degrade.photos import read_photo
from degrade.recipe.recipe import Recipe
from degrade.recipe.render import render
from degrade.store.disk import locked
from degrade.store.finalise import finalise
from degrade.store.write import create

#: Patches as they were read, to be compared with the photo itself.
PLAIN = """
seed: 3
source: {space: linear, shrink: 2}
operators: {patches: {op: crop, size: 16, margin: 0, per_photo: 5}}
planes: {plain: [patches]}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos, a recipe and its store; not to be changed."""
    home = tmp_path_factory.mktemp("home")
    photos.write_photos(home / "photos", 9)
    (home / "recipe.yaml").write_text(photos.RECIPE)
    assert build(photos.recipe(), home / "photos", home / "pairs", workers=1).exit_code == 0
    return home


class Stopping:
    """A progress that stops the build, as Ctrl-C would, after some photos."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.begun: int | None = None

    def __call__(self, step: Done) -> None:
        if self.begun is None:
            self.begun = step.done
        if step.done - self.begun > self.after:
            raise KeyboardInterrupt


def stopped(recipe: Recipe, folder: Path, store: Path, after: int) -> Stopping:
    progress = Stopping(after)
    with pytest.raises(KeyboardInterrupt):
        build(recipe, folder, store, workers=1, progress=progress)
    return progress


# -- the same bytes ---------------------------------------------------------------------------------------------------


def test_two_workers_write_the_same_bytes(home: Path, tmp_path: Path, cli: Launcher) -> None:
    with ExitStack() as stack:
        with suppress(OSError):  # whoever sits on Dask's port must not matter
            stack.enter_context(socket.create_server(("127.0.0.1", 8787)))
        done = cli("build", home / "recipe.yaml", home / "photos", "--out", tmp_path / "s", "--workers", 2)
    assert (done.code, done.err) == (0, "")
    assert stores.files(tmp_path / "s") == stores.files(home / "pairs")


def test_shards_in_another_order_and_twice(home: Path, tmp_path: Path) -> None:
    whole = plan(photos.recipe(), home / "photos")
    store = tmp_path / "s"
    with locked(store):
        create(store, whole.layout)
        for k in (3, 1, 4, 2, 1, 0):
            build_shard(Task.of(whole, store, k))
        finalise(store, whole.layout)
    assert whole.layout.shards == 5
    assert stores.files(store) == stores.files(home / "pairs")


def test_the_folder_may_lie_elsewhere(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "photos", tmp_path / "moved")
    build(photos.recipe(), tmp_path / "moved", tmp_path / "s", workers=1)
    assert stores.files(tmp_path / "s") == stores.files(home / "pairs")


def test_torch_threads_change_nothing(home: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        build(photos.recipe(), home / "photos", tmp_path / "s", workers=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert stores.files(tmp_path / "s") == stores.files(home / "pairs")


def test_another_block_size_changes_no_draw_but_is_another_recipe(home: Path, tmp_path: Path) -> None:
    report = build(photos.recipe(("block: 4", "block: 5")), home / "photos", tmp_path / "s", workers=1)
    one, two = PatchStore(home / "pairs"), PatchStore(report.store)
    assert one.attributes["recipe_hash"] != two.attributes["recipe_hash"]
    for name in one.columns:
        if not name.startswith("crc32c") and name != "optics.lost":
            assert np.array_equal(one.columns[name], two.columns[name]), name


# -- continuing -------------------------------------------------------------------------------------------------------


def test_a_finished_build_is_left_alone(home: Path, cli: Launcher) -> None:
    before = {p: p.stat().st_mtime_ns for p in (home / "pairs").rglob("*")}
    report = build(photos.recipe(), home / "photos", home / "pairs", workers=1)
    assert (report.built, report.exit_code, report.rows) == (0, 0, 54)
    assert cli("build", home / "recipe.yaml", home / "photos", "--out", home / "pairs").code == 0
    assert {p: p.stat().st_mtime_ns for p in (home / "pairs").rglob("*")} == before


def test_only_missing_shards_are_built(home: Path, tmp_path: Path) -> None:
    store = tmp_path / "s"
    assert stopped(photos.recipe(), home / "photos", store, 5).begun == 0
    with pytest.raises(StoreError, match="is not finished, it has 2 of 5 shards"):
        PatchStore(store)
    assert not list(store.rglob("tmp-*"))
    assert stopped(photos.recipe(), home / "photos", store, 3).begun == 4
    report = build(photos.recipe(), home / "photos", store, workers=1)
    assert (report.built, report.rows) == (2, 54)
    assert stores.files(store) == stores.files(home / "pairs")


def test_a_lost_shard_is_built_again(home: Path, tmp_path: Path) -> None:
    store = shutil.copytree(home / "pairs", tmp_path / "s")
    (store / "blur" / "c.2.0.0.0").unlink()
    report = build(photos.recipe(), home / "photos", store, workers=1)
    assert (report.built, report.rows) == (1, 54)
    assert stores.files(store) == stores.files(home / "pairs")


# -- another build under the same name --------------------------------------------------------------------------------


def refusal(recipe: Recipe, folder: Path, store: Path) -> str:
    """Why a build is refused; the store must stay as it is."""
    before = stores.files(store)
    with pytest.raises(StoreError) as caught:
        build(recipe, folder, store, workers=1)
    assert stores.files(store) == before
    text = str(caught.value)
    assert "was built otherwise; what differs: " in text
    assert "Choose another --out, or delete it" in text
    return text.partition("what differs: ")[2].partition(". Choose")[0]


@pytest.fixture(params=["finished", "unfinished"])
def other(request: pytest.FixtureRequest, home: Path, tmp_path: Path) -> tuple[Path, Path, bool]:
    """A folder of photos, a store of them, and whether it is finished."""
    folder = shutil.copytree(home / "photos", tmp_path / "photos")
    if request.param == "finished":
        return folder, shutil.copytree(home / "pairs", tmp_path / "s"), True
    stopped(photos.recipe(), folder, tmp_path / "s", 5)
    return folder, tmp_path / "s", False


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("seed: 7", "seed: 8"), "the recipe (seed)"),
        (("[0, 1.5]", "[0, 1.25]"), "the recipe (operators.expose.stops.uniform)"),
        (("shrink: 2", "shrink: 4"), "the recipe (source.shrink)"),
        (("camera: demo-a", "camera: demo-b"), "the recipe (source.camera)"),
        (("per_photo: 6", "per_photo: 7"), "the recipe (operators.patches.per_photo)"),
        (("block: 4", "block: 8\nstore: [clean, blur]"), "the recipe (block, store)"),
        (("[expose, patches, optics, cfa, adc]", "[expose, patches, cfa, adc]"), "the recipe (planes.blur.path)"),
    ],
)
def test_another_recipe_or_seed(other: tuple[Path, Path, bool], change: tuple[str, str], said: str) -> None:
    folder, store, _ = other
    assert refusal(photos.recipe(change), folder, store) == said


def test_photos_added_removed_and_changed(other: tuple[Path, Path, bool]) -> None:
    folder, store, finished = other
    photos.write_photo(folder / "new.dng", 90)
    said = refusal(photos.recipe(), folder, store)
    assert said == ("the photos (1 added: new.dng)" if finished else "the photos (10 instead of 9)")
    (folder / "new.dng").unlink()
    (folder / "p001.dng").rename(folder / "q001.dng")
    said = refusal(photos.recipe(), folder, store)
    assert "1 missing: p001.dng" in said
    assert ("1 added: q001.dng" in said) == finished
    (folder / "q001.dng").rename(folder / "p001.dng")
    photos.write_photo(folder / "p002.dng", 91)
    assert refusal(photos.recipe(), folder, store) == "the photos (1 changed: p002.dng)"
    said = refusal(photos.recipe(("seed: 7", "seed: 8")), folder, store)
    assert said == "the recipe (seed) and the photos (1 changed: p002.dng)"


def test_a_change_among_photos_that_are_not_built_yet(home: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(home / "photos", tmp_path / "photos")
    stopped(photos.recipe(), folder, tmp_path / "s", 3)
    photos.write_photo(folder / "p008.dng", 91)
    said = refusal(photos.recipe(), folder, tmp_path / "s")
    assert said == "the photos (some have another name or content)"


def test_what_decides_no_pixel_is_no_other_recipe(home: Path, tmp_path: Path) -> None:
    expose = "  expose:   {op: exposure, stops: {uniform: [0, 1.5]}}\n"
    adc = "  adc:      {op: quantise}\n"
    same = photos.recipe((expose, ""), (adc, adc + expose), ("block: 4", "block: 4\ntrain: {steps: 3}"))
    assert build(same, home / "photos", home / "pairs", workers=1).built == 0
    build(same, home / "photos", tmp_path / "s", workers=1)
    assert stores.files(tmp_path / "s") == stores.files(home / "pairs")


def test_two_builds_at_once(home: Path, tmp_path: Path, cli: Launcher) -> None:
    command = ("build", home / "recipe.yaml", home / "photos", "--out", tmp_path / "s", "--workers", 1)
    with locked(tmp_path / "s"):
        said = cli(*command).sentence
    assert said == f"another process is writing {tmp_path / 's'}: wait for it, or stop it, or choose another --out"
    # of two that begin together one is turned away, or comes when all is done
    codes = sorted(done.code for done in [started.wait() for started in (cli.start(*command), cli.start(*command))])
    assert codes in ([0, 0], [0, 1])
    assert stores.files(tmp_path / "s") == stores.files(home / "pairs")


# -- rows -------------------------------------------------------------------------------------------------------------


def test_every_row_is_a_patch_of_its_photo(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    for i, name in enumerate(("b.dng", "a/z.dng", "B.dng", "a.dng", "é.dng")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        photos.write_photo(folder / name, i)
    store = PatchStore(build(Recipe.parse(PLAIN), folder, tmp_path / "s", workers=1).store)
    assert store.photos.keys == ("B.dng", "a.dng", "a/z.dng", "b.dng", "é.dng")
    assert store.rows.tolist() == list(range(25))
    tops, lefts = store.columns["crop_top"], store.columns["crop_left"]
    for i, key in enumerate(store.photos.keys):
        picture = read_photo(folder / key, space="linear", shrink=2).data[0].numpy()
        for row in range(5 * i, 5 * i + 5):
            top, left = int(tops[row]), int(lefts[row])
            assert np.array_equal(store.read("plain", row), picture[:, top : top + 16, left : left + 16])
            assert store.columns["photo"][row] == i
    assert len({(t, x) for t, x in zip(tops.tolist(), lefts.tolist(), strict=True)}) > 20


def test_rows_are_what_the_recipe_renders(home: Path) -> None:
    store, recipe = PatchStore(home / "pairs"), photos.recipe()
    for i in (0, 8):
        key = store.photos.keys[i]
        frame = read_photo(home / "photos" / key, space="linear", shrink=2)
        for j in (0, 5):
            for name, rendered in render(recipe, frame, key, rows=[j]).items():
                stored = store.read(name, 6 * i + j, dn=True)
                assert np.array_equal(encode({name: rendered}, store.planes[name])[0], stored), (i, j, name)


def test_rows_for_which_a_grid_has_no_place_are_absent(tmp_path: Path) -> None:
    folder = photos.write_photos(tmp_path / "photos", 3)
    bright = photos.scene(1)
    bright[:, :56] = photos.WHITE
    photos.write_dng(folder / "p001.dng", bright, black=photos.BLACK, white=photos.WHITE, iso=100)
    recipe = photos.recipe(("op: crop,", "op: grid_crop,"))
    store = PatchStore(build(recipe, folder, tmp_path / "s", workers=1).store)
    assert store.photos.rows.tolist() == [2, 1, 2]  # of p001 one of the two places is clipped
    assert store.rows.tolist() == [0, 1, 6, 12, 13]
    assert not store.photos.quarantined
    with pytest.raises(IndexError, match=r"row 7 of photo 'p001.dng' is absent: the crop found no place for it"):
        store.read("clean", 7)
    assert store.columns["crop_left"][6] == 32
    assert store.info()["rows_absent"] == 13
    assert store.replay(6, photos=folder).identical


# -- memory -----------------------------------------------------------------------------------------------------------

PEAK = """
import resource, sys
from degrade.pairs.run import build
from degrade.recipe.recipe import Recipe
build(Recipe.load(sys.argv[1]), sys.argv[2], sys.argv[3], workers=1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_memory_does_not_grow_with_the_number_of_photos(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(photos.recipe_text(("per_photo: 6", "per_photo: 40")))
    peaks: list[float] = []
    for n in (4, 24):
        folder = photos.write_photos(tmp_path / f"photos{n}", n, (600, 800))
        command = [sys.executable, "-c", PEAK, tmp_path / "r.yaml", folder, tmp_path / f"s{n}"]
        peaks.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    # twenty more photos are 58 MB as they are read, and 5 MB of rows
    assert peaks[1] - peaks[0] < 15, peaks


def test_wrong_number_of_workers(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="workers must be 1 or more, got 0"):
        build(photos.recipe(), home / "photos", tmp_path / "s", workers=0, progress=quiet)


@pytest.mark.parametrize("device", ["cuda:99", "mps", "meta", "gpu"])
def test_a_device_that_is_not_here(home: Path, tmp_path: Path, device: str) -> None:
    with pytest.raises(ValueError, match=f"no device '{device}': allowed are cpu"):
        build(photos.recipe(), home / "photos", tmp_path / "s", workers=1, device=device)
    assert not (tmp_path / "s").exists()
    whole = plan(photos.recipe(), home / "photos")
    with pytest.raises(ValueError, match=f"no device '{device}': allowed are cpu"):
        build_shard(Task.of(whole, tmp_path / "s", 0, device))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_builds_the_same(home: Path, tmp_path: Path) -> None:
    report = build(photos.recipe(), home / "photos", tmp_path / "s", workers=1, device="cuda")
    one, two = PatchStore(home / "pairs"), PatchStore(report.store)
    assert np.array_equal(one.columns["crop_top"], two.columns["crop_top"])
    for plane in one.planes:
        a, b = (s.read(plane, np.arange(len(s))).astype(np.float64) for s in (one, two))
        assert (np.abs(a - b) > 0.5).mean() < 1e-2  # another rounding, here and there
        assert np.abs(a - b).max() <= 2
    assert not (tmp_path / "s").exists()
