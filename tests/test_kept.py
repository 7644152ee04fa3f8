"""Stores that were built before: they open, render and replay, and are built again to the byte, see tests/kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from degrade import PatchStore, Recipe, StoreError, build
from degrade.recipe.render import render
from degrade.store.verify import verify
from tests.stores import files

KEPT = Path(__file__).with_name("kept")
HASHES = {"plain": "eacb11d1f3244f6f5478356562df5ae0", "blurred": "f90098cfe8adbe0d987de2bdf7a015b6"}
DIGITAL = {"plain": "noise", "blurred": "noise_blur"}


@pytest.mark.parametrize("name", HASHES)
def test_it_opens_whole(name: str) -> None:
    store = PatchStore(KEPT / name)
    assert verify(KEPT / name) == []
    assert len(store) == 2 * store.layout.per_photo
    assert store.photos.quarantined == {"copy.dng": "same content as a.dng: delete one of the two"}
    assert store.recipe.hash == store.attributes["recipe_hash"] == HASHES[name]
    assert Recipe.load(str(KEPT / f"{name}.yaml")).hash == HASHES[name]


@pytest.mark.parametrize("recipe", ["{", "[]", "seed: 1", '{"planes": 3}', 5, None])
def test_a_damaged_recipe_is_one_sentence_and_its_planes_are_read(tmp_path: Path, recipe: object) -> None:
    shutil.copytree(KEPT / "plain", tmp_path / "s")
    file = tmp_path / "s" / "zarr.json"
    written = json.loads(file.read_text("utf-8"))
    written["attributes"]["recipe"] = recipe
    file.write_text(json.dumps(written), "utf-8")
    store = PatchStore(tmp_path / "s")
    assert store.read("noise", int(store.rows[0])).shape == (4, 4, 4)
    for ask in (
        lambda: store.recipe,
        lambda: store.renders,
        lambda: store.rendered(["clean"]),
        lambda: store.replay(int(store.rows[0]), KEPT / "photos"),
        lambda: build(Recipe.load(str(KEPT / "plain.yaml")), KEPT / "photos", tmp_path / "s", workers=1),
    ):
        with pytest.raises(StoreError, match="^the recipe noted in this store is damaged .*`degrade verify`"):
            ask()


def test_a_store_that_notes_no_recipe(tmp_path: Path) -> None:
    shutil.copytree(KEPT / "plain", tmp_path / "s")
    file = tmp_path / "s" / "zarr.json"
    written = json.loads(file.read_text("utf-8"))
    del written["attributes"]["recipe"]
    file.write_text(json.dumps(written), "utf-8")
    store = PatchStore(tmp_path / "s")
    assert store.renders == ()
    with pytest.raises(StoreError, match="notes no recipe"):
        _ = store.recipe


def test_it_replays_to_the_bit_without_a_blur() -> None:
    store = PatchStore(KEPT / "plain")
    assert all(store.replay(row, KEPT / "photos").identical for row in store.rows.tolist())


def test_it_replays_to_one_dn_with_a_blur() -> None:
    store = PatchStore(KEPT / "blurred")
    for row in store.rows.tolist():
        again = store.replay(row, KEPT / "photos").planes
        assert np.array_equal(again["subject"], store.read("subject", row, dn=True))
        error = again["noise_blur"].astype(int) - store.read("noise_blur", row, dn=True)
        assert abs(error).max() <= 1


@pytest.mark.parametrize(("name", "most"), [("plain", 0), ("blurred", 1)])
def test_it_renders_what_it_does_not_hold(name: str, most: int) -> None:
    store = PatchStore(KEPT / name)
    planes = [*store.renders]
    assert planes == {"plain": ["clean"], "blurred": ["blur", "noise"]}[name]
    (batch,) = store.loader(len(store), planes=planes, shuffle=False, dn=True)
    for i, row in enumerate(store.rows.tolist()):
        photo, patch = divmod(row, store.layout.per_photo)
        key = store.photos.keys[photo]
        frames = store_frames(store.recipe, key, patch, planes)
        for plane in planes:
            assert abs(frames[plane].astype(int) - batch[plane][i].numpy()).max() <= most


def store_frames(recipe: Recipe, key: str, patch: int, planes: list[str]) -> dict[str, np.ndarray]:
    """Planes of one row, in DN, rendered from its photo."""
    from degrade.pairs.encode import layouts, words
    from degrade.photos import read_source

    frames = render(recipe, read_source(KEPT / "photos" / key, recipe.source), key, [patch], planes)
    return {n: words(f, next(layouts(recipe, n)))[0].numpy() for n, f in frames.items()}


def test_it_is_built_again_to_the_byte(tmp_path: Path) -> None:
    shutil.copytree(KEPT / "photos", tmp_path / "photos")
    build(Recipe.load(str(KEPT / "plain.yaml")), tmp_path / "photos", tmp_path / "plain", workers=1)
    assert files(tmp_path / "plain") == files(KEPT / "plain")
