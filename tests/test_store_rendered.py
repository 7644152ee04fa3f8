"""Rendered planes: from a stored subject comes what a build would have stored, and fresh draws that can be repeated."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import photos
import pytest
import torch

from degrade.core.errors import RecipeError, UnknownName
from degrade.pairs.encode import encode
from degrade.pairs.run import build
from degrade.pairs.store import PatchStore
from degrade.recipe.recipe import Recipe

SUBJECT = """planes:
  subject:    {path: [expose, patches], dtype: float32, margin: keep}
"""
SEEN = ("clean", "blur", "noise", "noise_blur")


def both(folder: Path, out: Path, *changes: tuple[str, str], keep: str = "subject") -> tuple[PatchStore, PatchStore]:
    """Two stores of one recipe: one keeps what others are rendered from, the other what is to come out."""
    recipe = photos.recipe(("planes:\n", SUBJECT), *changes)
    rest = tuple(n for n in recipe.planes if n != keep)
    for name, stored in (("small", (keep,)), ("full", rest)):
        assert build(recipe.changed(store=stored), folder, out / name, workers=1).exit_code == 0
    return PatchStore(out / "small"), PatchStore(out / "full")


def agrees(small: PatchStore, full: PatchStore, names: Sequence[str] = ()) -> None:
    """Planes of ``full``, by default all, come out of ``small``: within 1 DN, fewer than 0.01% of samples differ."""
    names = names or tuple(full.planes)
    found = small.rendered(names).read(small.rows)
    different = samples = 0
    for name in names:
        want = full.read(name, full.rows, dn=True).astype(np.float64)
        got = encode(found, full.layout.plane(name)).astype(np.float64)
        assert np.ptp(want) > 100, name
        assert np.abs(got - want).max() <= 1, name
        different, samples = different + int(np.count_nonzero(got != want)), samples + got.size
    assert different < 1e-4 * samples


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos.write_photos(tmp_path_factory.mktemp("home") / "photos", 3)


@pytest.fixture(scope="module")
def stores(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[PatchStore, PatchStore]:
    return both(folder, tmp_path_factory.mktemp("stores"))


def test_recorded_draws_give_what_a_build_stores(stores: tuple[PatchStore, PatchStore]) -> None:
    agrees(*stores)


@pytest.mark.parametrize(
    "changes",
    [
        [("optics:   {op: psf_blur,", "optics:   {op: psf_blur, per: photo,")],
        [
            ("{psf: gaussian, sigma: {uniform: [0.3, 1.0]}}", "{psf: airy, f_number: 8}, {psf: disc, radius: 1.5}"),
            ("optics:   {op: psf_blur,", "optics:   {op: psf_blur, per: photo,"),
        ],
        [("iso: {choice: [100, 400, 1600]}", "iso: photo"), ("reference: noise_blur", "pedestal: false")],
        [("  cfa:      {op", "  half: {op: maybe, p: 0.5, do: {op: exposure, stops: -1}}\n  cfa: {op"),
         ("cfa, adc]", "half, cfa, adc]")],
    ],
    ids=["blur a photo", "kernels a photo", "own iso", "maybe"],
)  # fmt: skip
def test_every_way_of_drawing_comes_out_again(tmp_path: Path, folder: Path, changes: list[tuple[str, str]]) -> None:
    agrees(*both(folder, tmp_path, *changes))


def test_photos_of_different_speed_keep_their_own(tmp_path: Path) -> None:
    for i, iso in enumerate((100, 1600)):
        photos.write_photo(photos.write_photos(tmp_path / "photos", 0) / f"{i}.dng", i, iso=iso)
    agrees(*both(tmp_path / "photos", tmp_path, ("iso: {choice: [100, 400, 1600]}", "iso: photo")))


def test_noise_that_the_photo_has_already_is_not_added_twice(tmp_path: Path) -> None:
    """Without a camera the file's own NoiseProfile is what the photo has: rendering must know it."""
    lines = [[2e-5, 1e-7]] * 4
    folder = photos.write_photos(tmp_path / "photos", 2, noise_profile=lines)
    small, full = both(folder, tmp_path, (", camera: demo-a", ""), ("iso: {choice: [100, 400, 1600]}", "iso: 6400"))
    assert np.all(small.columns["subject.shot[1]"][small.rows] > 0)
    agrees(small, full)


def test_cameras_with_tables_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEGRADE_CAMERAS", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    plain = {"black": 64, "white": 4095, "bits": 12, "pitch": 5, "k1": [0.4] * 4, "k0": [3.0] * 4}
    steps = {"iso": [100, 800, 3200], "k1": [[0.3] * 4, [2.4] * 4, [9.6] * 4], "k0": [[2] * 4, [9] * 4, [30] * 4]}
    table = {**{k: v for k, v in plain.items() if k[0] != "k"}, "black": 128, "table": steps}
    for model, camera in (("One", plain), ("Two", table)):
        (tmp_path / "own" / f"{model}.json".lower()).write_text(json.dumps({**camera, "models": [f"ACME {model}"]}))
    for i, model in enumerate(("Two", "One", "Two")):
        photos.write_photo(
            photos.write_photos(tmp_path / "photos", 0) / f"{i}.dng", i, make="ACME", model=f"ACME {model}"
        )
    agrees(*both(tmp_path / "photos", tmp_path, ("camera: demo-a", "camera: auto")))


def test_maps_that_later_operators_read_are_kept(tmp_path: Path) -> None:
    folder = photos.write_photos(tmp_path / "photos", 2)
    (tmp_path / "depth").mkdir()
    rng = np.random.default_rng(2)
    for i in range(2):
        depth = rng.integers(20_000, 60_000, photos.SIZE, np.uint16)
        (tmp_path / "depth" / f"p{i:03d}.png").write_bytes(imagecodecs.png_encode(depth))
    fog = [
        ("camera: demo-a", 'camera: demo-a, aux: {depth: {file: "../depth/{stem}.png", scale: 0.001}}'),
        ("  cfa:      {op: mosaic}", "  fog: {op: fog, beta: {log_uniform: [0.001, 0.05]}}\n  cfa: {op: mosaic}"),
        ("noise:      [expose, patches, cfa", "noise:      [expose, patches, fog, cfa"),
    ]
    small, full = both(folder, tmp_path, *fog, ("reference: noise_blur", "pedestal: false"))
    assert small.planes["subject_depth"].shape == (1, *small.planes["subject"].shape[1:])
    agrees(small, full)
    assert small.replay(0, folder).identical
    assert small.row(0).show().width > 300  # a map is shown as what it is


def test_a_quantised_plane_is_a_root_for_what_follows_it(folder: Path, tmp_path: Path) -> None:
    """`clean` is on the levels of the ADC; what comes after it needs no more."""
    later = [("  adc:      {op", "  dim: {op: exposure, stops: {uniform: [-2, -1]}}\n  adc: {op"),
             ("block: 4", "block: 4\nstore: [clean, dim]"),
             ("  blur:       [expose", "  dim: [expose, patches, cfa, adc, dim]\n  blur:       [expose")]  # fmt: skip
    recipe = photos.recipe(*later)
    for name, stored in (("small", ("clean",)), ("full", ("dim",))):
        build(recipe.changed(store=stored), folder, tmp_path / name, workers=1)
    small, full = PatchStore(tmp_path / "small"), PatchStore(tmp_path / "full")
    found = small.rendered(["dim"]).read(small.rows)["dim"].data.numpy()
    np.testing.assert_allclose(found, full.read("dim", full.rows), atol=1e-6)


# -- fresh draws -------------------------------------------------------------------------------------------------------


def test_fresh_draws_belong_to_epoch_and_row(stores: tuple[PatchStore, PatchStore]) -> None:
    small, _ = stores
    fresh = small.rendered(SEEN, "fresh", seed=3)
    first, again, other = (fresh.read(small.rows, epoch) for epoch in (0, 0, 1))
    few = fresh.read([11, 2, 5], epoch=1)
    for name in SEEN:
        assert torch.equal(first[name].data, again[name].data)
        step = float(1 / first[name].sensor.range[0])
        assert (few[name].data - other[name].data[[11, 2, 5]]).abs().max() < 1.5 * step
        assert torch.equal(first[name].data, other[name].data) == (
            name == "clean"
        )  # which draws nothing behind the crop
    another = small.rendered(SEEN, "fresh", seed=4).read(small.rows)
    assert not torch.equal(first["noise"].data, another["noise"].data)
    # what two planes share is one draw still: the same residual in both
    residual = [first[a].data - first[b].data for a, b in (("noise", "clean"), ("noise_blur", "blur"))]
    assert (residual[0] - residual[1]).abs().max() < 3 * step


def test_fresh_draws_cover_the_prior(stores: tuple[PatchStore, PatchStore]) -> None:
    """Noise of many epochs about the stored subject: unbiased, and with the variance of the mixed ISO speeds."""
    small, _ = stores
    fresh = small.rendered(["clean", "noise"], "fresh")
    residual = [f["noise"].data - f["clean"].data for f in (fresh.read(small.rows, e) for e in range(40))]
    speeds = torch.stack([r.flatten(1).std(1) for r in residual])
    slow, fast = speeds.quantile(0.15).item(), speeds.quantile(0.85).item()
    assert fast / slow == pytest.approx(4, rel=0.25)  # sqrt(1600 / 100)
    every = torch.stack(residual)
    assert abs(every.mean().item()) < 5 * every.std().item() / every.numel() ** 0.5


def test_a_draw_a_photo_is_shared_by_its_rows_when_fresh(folder: Path, tmp_path: Path) -> None:
    changed = ("noise:    {op: sensor_noise, iso: {choice: [100, 400, 1600]}, reference: noise_blur}",
               "noise:    {op: exposure, per: photo, stops: {uniform: [-3, 0]}}")  # fmt: skip
    small, _ = both(folder, tmp_path, changed)
    found = small.rendered(["clean", "noise"], "fresh").read(small.rows)
    gain = (found["noise"].data.mean((1, 2, 3)) / found["clean"].data.mean((1, 2, 3))).reshape(3, 6)
    assert (gain.amax(1) - gain.amin(1)).max() < 0.01
    assert np.ptp(gain.mean(1).numpy()) > 0.05


# -- in a loader -------------------------------------------------------------------------------------------------------


def test_a_loader_renders_what_is_not_stored(stores: tuple[PatchStore, PatchStore]) -> None:
    small, full = stores
    given: dict[str, Any] = {"shuffle": False, "threads": 2}
    for mine, theirs in zip(small.loader(5, SEEN, **given), full.loader(5, SEEN, **given), strict=True):
        assert set(mine) == {*SEEN, "row"}
        assert torch.equal(mine["row"], theirs["row"])
        for name in SEEN:
            assert mine[name].dtype == torch.float32
            assert (mine[name] - theirs[name]).abs().max() < 1.5 / 3839  # white less black of demo-a


def test_a_loader_gives_dn_of_rendered_planes(stores: tuple[PatchStore, PatchStore]) -> None:
    small, full = stores
    for mine in small.loader(7, ("subject", "noise"), dn=True):
        want = full.read("noise", mine["row"].tolist(), dn=True).astype(np.int64)
        assert mine["noise"].dtype == torch.uint16
        assert np.abs(mine["noise"].numpy().astype(np.int64) - want).max() <= 1
        assert mine["subject"].dtype == torch.float32


def test_fresh_epochs_of_a_loader_differ_and_resume(stores: tuple[PatchStore, PatchStore]) -> None:
    small, _ = stores
    loader = small.loader(6, ("noise",), draws="fresh", seed=5, threads=0)
    epochs = [{int(r): x for b in loader for r, x in zip(b["row"], b["noise"], strict=True)} for _ in range(2)]
    assert not torch.equal(epochs[0][3], epochs[1][3])
    again = small.loader(6, ("noise",), draws="fresh", seed=5, threads=3)
    again.load_state_dict({**loader.state_dict(), "epoch": 1, "delivered": 1})
    rest = list(again)
    assert len(rest) == 2
    for batch in rest:
        for row, picture in zip(batch["row"].tolist(), batch["noise"], strict=True):
            assert (picture - epochs[1][row]).abs().max() < 1.5 / 3839


@pytest.mark.parametrize("joined", [False, True])
def test_a_loader_of_fresh_draws_goes_on_in_another_process_with_the_seed_of_the_state(
    stores: tuple[PatchStore, PatchStore], joined: bool
) -> None:
    store = PatchStore.concat(stores[:1] * 2) if joined else stores[0]
    loader = store.loader(9, ("noise",), draws="fresh", seed=5)
    first, *rest = loader
    again = pickle.loads(pickle.dumps(store.loader(9, ("noise",), draws="fresh", seed=6)))
    again.load_state_dict({**loader.state_dict(), "epoch": 0, "delivered": 1})
    for mine, other in zip(again, rest, strict=True):
        assert torch.equal(mine["noise"], other["noise"])
        assert not torch.equal(mine["noise"][:2], first["noise"][:2])


@pytest.mark.parametrize("dn", [False, True])
@pytest.mark.parametrize("joined", [False, True])
def test_a_batch_of_no_rows_is_rendered(stores: tuple[PatchStore, PatchStore], joined: bool, dn: bool) -> None:
    """Of ranks that share a short last step some have no row of it."""
    small, full = stores
    store = PatchStore.concat([small]) if joined else small
    loader = store.loader(5, ("noise", "subject"), rows=[1, 2, 3], rank=3, ranks=4, dn=dn)
    (batch,) = loader
    assert [tuple(batch[n].shape) for n in ("row", "noise", "subject")] == [
        (0,), (0, *full.planes["noise"].shape), (0, *small.planes["subject"].shape)
    ]  # fmt: skip
    assert batch["noise"].dtype == (torch.uint16 if dn else torch.float32)


def test_joined_stores_render_each_row_from_its_own(stores: tuple[PatchStore, PatchStore]) -> None:
    small, _ = stores
    both = PatchStore.concat([small, small])
    alone = small.rendered(["blur"]).read(small.rows)["blur"].data
    for batch in both.loader(12, ("blur",)):
        at = batch["row"] % small.layout.rows
        assert (batch["blur"] - alone[at]).abs().max() < 1.5 / 3839


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_what_cannot_be_rendered_is_refused_with_the_reason(
    stores: tuple[PatchStore, PatchStore], folder: Path, tmp_path: Path
) -> None:
    small, full = stores
    with pytest.raises(
        RecipeError, match=r"'subject' cannot be rendered from what is stored \(clean, blur, noise, noise"
    ):
        full.rendered(["subject"])
    with pytest.raises(UnknownName, match=r"unknown plane 'blurr': did you mean 'blur'\?"):
        small.rendered(["blurr"])
    with pytest.raises(ValueError, match=r"draws are `recorded` or `fresh`, got 'new'"):
        small.rendered(["blur"], "new")
    recipe = photos.recipe(("planes:\n", SUBJECT.replace(", margin: keep", "")))
    build(recipe.changed(store=("subject",)), folder, tmp_path / "s", workers=1)
    narrow = PatchStore(tmp_path / "s")
    agreeing = narrow.rendered(["clean"]).read([0])["clean"].data
    assert torch.equal(agreeing, small.rendered(["clean"]).read([0])["clean"].data)
    with pytest.raises(RecipeError, match=r"'blur' cannot be rendered from 'subject': .* look 1\d pixels .*it keeps 0"):
        narrow.rendered(["blur"])


def test_fresh_and_recorded_draws_of_one_operator_are_not_mixed(folder: Path, tmp_path: Path) -> None:
    recipe = photos.recipe(("planes:\n", SUBJECT)).changed(store=("subject", "noise"))
    build(recipe, folder, tmp_path / "s", workers=1)
    store = PatchStore(tmp_path / "s")
    with pytest.raises(
        RecipeError, match=r"operator 'noise' is drawn anew for 'noise_blur', and as recorded in .*'noise'"
    ):
        store.rendered(["noise_blur"], "fresh").refuse(["noise"])
    with pytest.raises(RecipeError, match="operator 'noise' is drawn anew"):
        store.loader(4, ("noise", "noise_blur"), draws="fresh")
    store.rendered(["noise_blur"], "recorded").refuse(["noise"])
    store.rendered(["blur"], "fresh").refuse(["noise", "subject"])


def test_what_can_be_rendered_is_told(stores: tuple[PatchStore, PatchStore]) -> None:
    small, full = stores
    assert small.info()["renders"] == list(SEEN)
    assert full.renders == ()  # the subject is no beginning that they hold


def test_stores_that_hold_all_planes_stay_as_they_were() -> None:
    assert Recipe.load("residual-maps").roots == {}
    assert not any("origin" in n for n in Recipe.load("residual-maps").notes())
