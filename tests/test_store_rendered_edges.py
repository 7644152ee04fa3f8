"""Rendered planes where it is tight: margins, mixed photos, ranks without rows, and what is refused beforehand."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import photos
import pytest
import torch
from test_store_rendered import SEEN, SUBJECT, agrees, both

from degrade.core.errors import RecipeError, StoreError, UnknownName
from degrade.operators.noise import SensorNoise
from degrade.pairs.run import build
from degrade.pairs.store import PatchStore

MOSAIC = "  cfa:      {op: mosaic}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos.write_photos(tmp_path_factory.mktemp("home") / "photos", 2)


@pytest.fixture(scope="module")
def stores(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[PatchStore, PatchStore]:
    return both(folder, tmp_path_factory.mktemp("stores"))


def built(folder: Path, out: Path, stored: tuple[str, ...], *changes: tuple[str, str]) -> PatchStore:
    """A store of the planes ``stored`` of the recipe with these changes."""
    assert build(photos.recipe(*changes).changed(store=stored), folder, out, workers=1).exit_code == 0
    return PatchStore(out)


# -- what comes out ----------------------------------------------------------------------------------------------------


def test_photos_that_tell_their_noise_beside_such_that_do_not(tmp_path: Path) -> None:
    """Of one model: what is known of the first must neither be forgotten nor believed of the second."""
    (tmp_path / "photos").mkdir()
    photos.write_photo(tmp_path / "photos" / "a.dng", 0, noise_profile=[[2e-5, 1e-7]] * 4)
    photos.write_photo(tmp_path / "photos" / "b.dng", 1)
    curve = ("iso: {choice: [100, 400, 1600]}", "k1: 2, k0: 30, iso: 1600")
    light = ("planes:\n", "planes:\n  light: [expose, patches, cfa]\n")
    small, full = both(tmp_path / "photos", tmp_path, (", camera: demo-a", ""), curve, light)
    known = np.isfinite(small.columns["subject.shot[0]"])
    assert known[:6].all()
    assert not known[6:].any()
    agrees(small, full, SEEN)
    light = small.rendered(["light"])
    assert light.read([0, 7])["light"].noise is None
    assert light.read([0])["light"].noise is not None
    assert small.rendered(["noise"]).read([0])["noise"].noise is None  # more was added


def test_the_nearest_plane_that_kept_its_margin_is_the_root(tmp_path: Path) -> None:
    """`soft` is nearer to `softer`, but was stored without what the second blur looks at."""
    folder = photos.write_photos(tmp_path / "photos", 1, (160, 160))
    soft = (
        "  soft: {path: [expose, patches, optics], dtype: float32}\n  softer: [expose, patches, optics, again, cfa]\n"
    )
    changes = (
        ("planes:\n", SUBJECT + soft),
        ("margin: 16", "margin: 24"),
        (MOSAIC, "  again: {op: psf_blur, radius: 4, kernels: [{psf: gaussian, sigma: 0.8}]}\n" + MOSAIC),
    )
    small = built(folder, tmp_path / "small", ("subject", "soft"), *changes)
    full = built(folder, tmp_path / "full", ("softer",), *changes)
    assert small.rendered(["softer"]).reads == ("subject",)
    assert small.rendered(["blur"]).reads == ("soft",)
    torch.testing.assert_close(
        small.rendered(["softer"]).read(small.rows)["softer"].data,
        torch.from_numpy(full.read("softer", full.rows)),
        atol=1e-6,
        rtol=0,
    )


def test_a_rendered_plane_keeps_the_margin_that_it_would_be_stored_with(folder: Path, tmp_path: Path) -> None:
    changes = (
        ("planes:\n", SUBJECT + "  bright: {path: [expose, patches, up], dtype: float32, margin: keep}\n"),
        (MOSAIC, "  up: {op: exposure, stops: 1}\n" + MOSAIC),
    )
    small = built(folder, tmp_path / "small", ("subject",), *changes)
    full = built(folder, tmp_path / "full", ("bright",), *changes)
    found = small.rendered(["bright"]).read(small.rows)["bright"].data
    assert torch.equal(found, torch.from_numpy(full.read("bright", full.rows)))


@pytest.mark.parametrize("dn", [False, True])
def test_a_rank_without_rows_gets_an_empty_batch(stores: tuple[PatchStore, PatchStore], dn: bool) -> None:
    small, full = stores
    for store in (small, PatchStore.concat([small, small])):
        (batch,) = store.loader(4, ("subject", "noise"), rows=[1, 2, 3], rank=7, ranks=8, dn=dn)
        (want,) = full.loader(4, ("noise",), rows=[1, 2, 3], rank=7, ranks=8, dn=dn)
        assert batch["noise"].shape == want["noise"].shape == (0, 4, 8, 8)
        assert batch["noise"].dtype == want["noise"].dtype
        assert batch["subject"].shape == (0, 3, 48, 48)


def test_fresh_draws_resume_with_the_seed_of_the_state(stores: tuple[PatchStore, PatchStore]) -> None:
    small, _ = stores
    for store in (small, PatchStore.concat([small, small])):
        loader = store.loader(5, ("noise",), draws="fresh", seed=5, threads=0)
        batches = iter(loader)
        next(batches)
        other = store.loader(5, ("noise",), draws="fresh", seed=9, threads=0)
        other.load_state_dict(loader.state_dict())
        due, resumed = next(batches), next(iter(other))
        assert torch.equal(due["row"], resumed["row"])
        assert torch.equal(due["noise"], resumed["noise"])


def test_what_draws_nothing_may_stand_beside_what_is_stored(folder: Path, tmp_path: Path) -> None:
    changes = (
        ("planes:\n", SUBJECT),
        (MOSAIC, "  dim: {op: chain, steps: [{op: exposure, stops: -1}]}\n" + MOSAIC),
        ("patches, cfa, adc]", "patches, dim, cfa, adc]"),
        ("patches, optics, cfa, adc]", "patches, optics, dim, cfa, adc]"),
    )
    store = built(folder, tmp_path / "s", ("subject", "clean"), *changes)
    batch = next(iter(store.loader(12, ("clean", "blur"), draws="fresh")))
    assert 0 < (batch["clean"] - batch["blur"]).abs().mean() < 0.05


def test_threads_that_render_leave_torchs_own_as_they_were(stores: tuple[PatchStore, PatchStore]) -> None:
    """Of threads that begin while others render, none may take their one thread of torch's for what was there."""
    small, _ = stores
    before, found = torch.get_num_threads(), list[int]()
    try:
        torch.set_num_threads(3)
        for _ in range(3):
            for _ in small.loader(2, SEEN, threads=4):
                pass
        later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert [torch.get_num_threads(), *found] == [3, 3]
    finally:
        torch.set_num_threads(before)


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_operators_of_another_version_do_not_render(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = built(folder, tmp_path / "s", ("subject",), ("planes:\n", SUBJECT))
    assert "noise" in store.renders
    monkeypatch.setattr(SensorNoise, "version", SensorNoise.version + 1)
    store = PatchStore(tmp_path / "s")
    for draws in ("recorded", "fresh"):
        with pytest.raises(
            StoreError, match=r"other operator versions .* render it with the degrade version that built"
        ):
            store.loader(4, ("noise",), draws=draws)
    assert store.renders == ()
    assert len(store.read("subject", [0])) == 1


def test_operators_that_had_fewer_fields_render_as_ever(folder: Path, tmp_path: Path) -> None:
    store = built(folder, tmp_path / "s", ("subject",), ("planes:\n", SUBJECT))
    expected = store.rendered(["noise"]).read([0, 5])["noise"].data
    root = json.loads((tmp_path / "s" / "zarr.json").read_text())
    recipe = json.loads(root["attributes"]["recipe"])
    del recipe["operators"]["noise"]["pedestal"], recipe["operators"]["optics"]["border"]
    root["attributes"] |= {"recipe": json.dumps(recipe), "recipe_hash": store.recipe.hash_of(recipe)}
    (tmp_path / "s" / "zarr.json").write_text(json.dumps(root))
    older = PatchStore(tmp_path / "s")
    assert older.attributes["recipe_hash"] != older.recipe.hash
    assert "noise" in older.renders
    assert torch.equal(older.rendered(["noise"]).read([0, 5])["noise"].data, expected)


def test_fresh_draws_of_nothing_are_refused(stores: tuple[PatchStore, PatchStore]) -> None:
    small, full = stores
    with pytest.raises(RecipeError, match=r"draws='fresh': .* stored as they were drawn \(noise, clean\)"):
        full.loader(4, ("noise", "clean"), draws="fresh")
    with pytest.raises(
        RecipeError, match=r"nothing is drawn between 'subject' and 'clean', so all epochs would be alike"
    ):
        small.loader(4, ("clean",), draws="fresh")


def test_a_draw_recorded_in_a_root_is_not_made_anew_beside_it(folder: Path, tmp_path: Path) -> None:
    changes = (
        ("planes:\n", SUBJECT + "  soft: {path: [expose, patches, optics], dtype: float32}\n"
         "  dark: [expose, patches, dim, optics, cfa, adc]\n"),
        (MOSAIC, "  dim: {op: exposure, stops: -1}\n" + MOSAIC),
    )  # fmt: skip
    store = built(folder, tmp_path / "s", ("subject", "soft"), *changes)
    with pytest.raises(RecipeError, match=r"'optics' is drawn anew for 'dark', and as recorded in .* plane 'soft'"):
        store.loader(4, ("noise_blur", "dark"), draws="fresh")
    both = store.rendered(("blur", "dark")).read(store.rows)
    assert (both["blur"].data / 2 - both["dark"].data).abs().max() < 2 / 3839
    store.loader(4, ("noise_blur", "blur"), draws="fresh")


def test_joined_stores_whose_planes_would_differ_are_refused(folder: Path, tmp_path: Path) -> None:
    one = built(folder, tmp_path / "one", ("subject",), ("planes:\n", SUBJECT))
    flat = ("clean:      [expose, patches, cfa, adc]", "clean:      [expose, patches, adc]")
    two = built(folder, tmp_path / "two", ("subject",), ("planes:\n", SUBJECT), flat)
    joined = PatchStore.concat([one, two])
    with pytest.raises(StoreError, match=r"from .*one they are clean 4x8x8 uint16 mosaic; from .*two clean 3x16x16"):
        joined.loader(4, ("clean",))
    assert next(iter(joined.loader(24, ("blur",))))["blur"].shape == (24, 4, 8, 8)


def test_what_is_asked_of_the_wrong_thing_is_told_the_right_one(stores: tuple[PatchStore, PatchStore]) -> None:
    small, full = stores
    with pytest.raises(RecipeError, match="plane 'clean' is stored: `read` gives it"):
        full.rendered(["clean"])
    with pytest.raises(ValueError, match="name at least one plane to render"):
        small.rendered([])
    with pytest.raises(IndexError, match=r"no row to render; .* has 12"):
        small.rendered(["noise"]).read([])
    for ask in (lambda: small.read("noise", [0]), lambda: small.dataset(("noise",))):
        with pytest.raises(
            UnknownName, match=r"'noise' is not stored, which are subject: `store.loader` and `store.rend"
        ):
            ask()


def test_a_device_that_is_not_here_is_refused_when_the_loader_is_made(stores: tuple[PatchStore, PatchStore]) -> None:
    small, _ = stores
    with pytest.raises(ValueError, match=r"no device 'gpu': allowed are cpu"):
        small.loader(4, ("noise",), device="gpu")
    missing = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ValueError, match=rf"no device '{missing}': allowed are cpu"):
        small.loader(4, ("noise",), device=missing)
