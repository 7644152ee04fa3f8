"""Lenses from files: the format, the lookup, the kernel, what is imported and exported, and everything refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st

from degrade import Camera, Frame, Key, PhotoError, Recipe, RecipeError, Sensor, Space, UnknownName, testing
from degrade.gear.lens import Lens
from degrade.operators.family import GAUSSIAN
from degrade.operators.lens import LensKernel
from degrade.operators.optics import PsfBlur
from degrade.recipe.render import render
from degrade.testing import check_operator

Y, X = np.array([-0.5, 0.1, 0.6]), np.array([-0.8, 0.0, 0.5, 0.9])
TABLE = {"f_number": (2.8, 4.0), "focal_length": (50.0, 50.0)}
PUPIL = {"psf": "pupil", "f_number": 8.0, "coma": 0.5, "astigmatism": 0.3, "vignetting": 0.2}


def rough(*shape: int, k: int = 5, seed: int = 1) -> Any:
    """Kernels that have nothing in common, sum 1."""
    psf = np.random.default_rng(seed).uniform(0.1, 1, (*shape, 3, k, k))
    return psf / psf.sum((-2, -1), keepdims=True)


def lens(**fields: Any) -> Lens:
    return Lens(**{"psf": rough(2, 3, 4), "field_y": Y, "field_x": X, "pitch": 4.0, "states": TABLE, **fields})


def kernel(path: Path | str, **fields: Any) -> dict[str, Any]:
    return {"psf": "lens", "file": str(path), **fields}


def blur(path: Path | str, radius: int = 4, **fields: Any) -> PsfBlur:
    return PsfBlur.model_validate({"kernels": [kernel(path, **fields)], "radius": radius})


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lens().write(tmp_path_factory.mktemp("lens") / "made.npz")


# -- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pitch", [4.0, None])
def test_both_kinds_of_file_give_the_value_back(tmp_path: Path, pitch: float | None) -> None:
    made = lens(pitch=pitch, includes_aperture=True, about="a test, µ")
    for name in ("a.npz", "a.zarr"):
        back = Lens.read(made.write(tmp_path / name))
        for array in ("psf", "field_y", "field_x"):
            np.testing.assert_array_equal(getattr(back, array), getattr(made, array))
        assert (back.pitch, back.includes_aperture, back.states, back.about) == (pitch, True, TABLE, "a test, µ")
        assert back.digest == made.digest
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "a.zarr"]
    assert made.digest not in {lens(pitch=p, includes_aperture=i).digest for p, i in ((pitch, False), (3.9, True))}


def test_the_zarr_file_opens_elsewhere(tmp_path: Path) -> None:
    data = xr.open_zarr(lens().write(tmp_path / "a.zarr"))
    assert data.psf.dims == ("state", "field_y", "field_x", "channel", "y", "x")
    np.testing.assert_array_equal(data.psf.sel(field_y=0.1, field_x=0.9)[1, 2], lens().psf[1, 1, 3, 2])
    assert data.f_number.dims == ("state",)
    assert data.attrs["pitch"] == 4.0


def test_a_lens_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    for name in ("a.npz", "a.zarr"):
        lens().write(tmp_path / name)
        assert Lens.read(lens(pitch=3.0).write(tmp_path / name)).pitch == 3
    zarr.open_group(str(tmp_path / "store.zarr"), mode="w", zarr_format=3)
    with pytest.raises(RecipeError, match=r"store\.zarr: psf is missing; it has nothing"):
        lens().write(tmp_path / "store.zarr")
    with pytest.raises(FileNotFoundError):
        lens().write(tmp_path / "none" / "a.npz")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "a.zarr", "store.zarr"]


def spoilt(value: float, at: tuple[int, ...]) -> Any:
    psf = rough(2, 3, 4)
    psf[at] = value
    return psf


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"psf": spoilt(np.nan, (1, 2, 0, 1, 3, 3))},
            r"state 1, field_y 2, field_x 0, channel G holds values that are",
        ),
        ({"psf": spoilt(np.inf, (0, 0, 3, 2, 0, 0))}, r"state 0, field_y 0, field_x 3, channel B holds .* \(1 of 72"),
        ({"psf": spoilt(3.0, (0, 1, 1, 0, 0, 0))}, r"field_y 1, field_x 1, channel R sums to 3\.\d+, must be 1 within"),
        ({"psf": rough(2, 3, 4, k=4)}, r"psf: must be \(state, .*y = x odd, got shape \(2, 3, 4, 3, 4, 4\)"),
        ({"psf": rough(2, 3, 4)[:, :, :, :1]}, r"3 channels"),
        ({"psf": rough(2, 3, 4)[0]}, r"got shape \(3, 4, 3, 5, 5\)"),
        ({"field_y": Y[::-1]}, r"field_y: places must be finite and rise, got 0\.6, 0\.1, -0\.5"),
        ({"field_x": X[:3]}, r"field_x: must have 4 places as psf has, got shape \(3,\)"),
        ({"field_x": X * np.nan}, r"field_x: places must be finite"),
        ({"states": {}}, r"2 states need a column that tells them apart"),
        ({"states": {"f_number": (2.8,)}}, r"column f_number must have 2 numbers, one a state, got 1"),
        ({"states": {"f_number": (2.8, np.nan)}}, r"column f_number holds a value that is not finite at state 1"),
        ({"states": {"psf": (1, 2)}}, r"a column is .* got 'psf'"),
        ({"pitch": 0.0}, r"pitch: must be above 0 um"),
        ({"pitch": float("nan")}, r"pitch: must be above 0 um"),
    ],
)
def test_lenses_that_cannot_be(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        lens(**fields)


def test_files_that_are_no_lens(tmp_path: Path) -> None:
    whole = lens().write(tmp_path / "a.npz").read_bytes()
    arrays = dict(np.load(tmp_path / "a.npz"))
    cases = {
        "cut.npz": (whole[: len(whole) // 2], r"cut\.npz cannot be read"),
        "text.npz": (b"not a lens", r"text\.npz cannot be read"),
        "flipped.npz": (whole[:4000] + bytes([whole[4000] ^ 255]) + whole[4001:], r"flipped\.npz cannot be read"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(RecipeError, match=message):
            Lens.read(tmp_path / name)
    changed = {
        r"lens file .*x\.npz: field_y is missing; it has": {n: v for n, v in arrays.items() if n != "field_y"},
        r"is of lens_format 2, this version reads 1": arrays | {"lens_format": np.array(2)},
        r"x\.npz: psf: the kernel of state 0": arrays | {"psf": arrays["psf"] * 1.01},
    }
    for message, content in changed.items():
        np.savez(tmp_path / "x.npz", **content)
        with pytest.raises(RecipeError, match=message):
            Lens.read(tmp_path / "x.npz")
    for name, message in (("a.json", r"must end in \.npz or \.zarr, got 'a\.json'"), ("no.zarr", "cannot be read")):
        with pytest.raises(RecipeError, match=message):
            Lens.read(tmp_path / name)


def test_names_and_changed_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEGRADE_LENSES", str(tmp_path))
    with pytest.raises(UnknownName, match=r"unknown lens 'prime': there are: none \(or a \.npz file"):
        Lens.named("prime")
    lens().write(tmp_path / "prime.zarr")
    assert Lens.named("prime") is Lens.named("prime")
    assert Lens.named("prime").pitch == 4
    lens(pitch=5.0).write(tmp_path / "prime.zarr")
    assert Lens.named("prime").pitch == 5
    with pytest.raises(ValueError, match=r"unknown lens 'prim': did you mean 'prime'\?"):
        LensKernel.model_validate(kernel("prim"))


# -- the kernel -------------------------------------------------------------------------------------------------------


def test_nodes_give_their_own_kernels_and_the_rest_is_bilinear(file: Path) -> None:
    made, op = lens(), blur(file, radius=2, state=1)
    nodes = torch.tensor([[y, x] for y in Y for x in X])
    found = op.kernel(Sensor.make(12, pitch=4.0), nodes.float())
    np.testing.assert_allclose(found.reshape(3, 4, 3, 5, 5), made.psf[1], atol=1e-7, rtol=0)
    between = torch.tensor([[-0.5 + 0.25 * 0.6, 0.5 * 0.5], [0.6, 0.7]])
    a, b = op.kernel(Sensor.make(2, pitch=4.0), between)
    p = made.psf[1]
    expected = 0.75 * (p[0, 1] + p[0, 2]) / 2 + 0.25 * (p[1, 1] + p[1, 2]) / 2
    np.testing.assert_allclose(a, expected, atol=1e-7, rtol=0)
    np.testing.assert_allclose(b, (p[2, 2] + p[2, 3]) / 2, atol=1e-7, rtol=0)
    assert found.sum((-2, -1)).tolist() == [[pytest.approx(1, abs=1e-6)] * 3] * 12


@given(st.floats(-0.8, 0.85), st.floats(-1.2, 1.1))
def test_the_rim_is_held_for_half_a_cell(y: float, x: float) -> None:
    at = torch.tensor([[y, x]], dtype=torch.float64)
    row, column = lens().place(at)
    assert row.item() == pytest.approx(np.interp(y, Y, range(3)))
    assert column.item() == pytest.approx(np.interp(x, X, range(4)))


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ((0.9, 0.0), r"a patch lies at y = 0\.9 half diagonals; the lens is known from -0\.5 to 0\.6"),
        ((0.0, -1.25), r"lies at x = -1\.25 half diagonals; the lens is known from -0\.8 to 0\.9"),
        ((float("nan"), 0.0), r"needs the place in it, .*say `field: unknown`"),
    ],
)
def test_places_that_the_lens_does_not_know(file: Path, at: tuple[float, float], message: str) -> None:
    frame = Frame(torch.ones(1, 3, 32, 32), Space.LINEAR, Sensor.make(pitch=4.0), field=torch.tensor([at]))
    with pytest.raises(PhotoError, match=message):
        blur(file).apply(frame)


def test_one_place_stands_for_all_and_pixels_need_no_camera(tmp_path: Path) -> None:
    path = lens(psf=rough(1, 1, 1), field_y=[0], field_x=[0], pitch=None, states={}).write(tmp_path / "a.npz")
    dot = torch.zeros(2, 3, 32, 32)
    dot[..., 16, 12] = 1
    done = blur(path).apply(Frame(dot, Space.LINEAR, Sensor.make(2), field=torch.full((2, 2), float("nan"))))
    expected = torch.from_numpy(Lens.read(path).psf[0, 0, 0]).expand(2, 3, 5, 5)
    torch.testing.assert_close(done.data[..., 14:19, 10:15], expected, atol=1e-6, rtol=0)
    assert done.notes["lost"].tolist() == [0, 0]


def test_a_lone_lens_is_what_its_transfer_says(file: Path) -> None:
    """Beside a factor that does nothing it goes through its transfer function, and comes out the same."""
    idle = {"psf": "gaussian", "sigma": 0.05}
    product = PsfBlur.model_validate({"kernels": [kernel(file, state=0), idle], "radius": 4})
    sensor, field = Sensor.make(1, pitch=4.0), torch.tensor([[0.2, 0.3]])
    torch.testing.assert_close(
        product.kernel(sensor, field), blur(file, state=0).kernel(sensor, field), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("pitch", [1.0, 3.7])
def test_another_pitch_resamples_exactly(tmp_path: Path, pitch: float) -> None:
    """Samples of a Gaussian on any grid finer than it needs give the same transfer, hence the same kernel."""
    p = (np.arange(141) - 70) * pitch
    line = np.exp(-0.5 * (p / 12.0) ** 2)
    psf = (line[:, None] * line / line.sum() ** 2)[None, None, None, None].repeat(3, 3)
    path = Lens(psf, [0], [0], pitch).write(tmp_path / "a.npz")
    found = blur(path, radius=18).kernel(Sensor.make(1, pitch=5.0))[0, 0].double().numpy()
    q = np.arange(37) - 18
    truth = np.exp(-0.5 * (q * 5.0 / 12.0) ** 2)
    np.testing.assert_allclose(found, truth[:, None] * truth / truth.sum() ** 2, atol=1e-6, rtol=0)


def test_nothing_is_invented_beyond_the_samples_own_band(tmp_path: Path) -> None:
    path = lens(psf=np.ones((1, 1, 1, 3, 1, 1)), field_y=[0], field_x=[0], states={}).write(tmp_path / "a.npz")
    made = LensKernel.model_validate(kernel(path))
    values = made.values(Sensor.make(1, pitch=2.0), torch.zeros(1, 2))[0]
    transfer = made.transfer(values, 45)[0]
    f = torch.fft.fftfreq(45)[:, None], torch.fft.rfftfreq(45)[None]
    inside = (f[0].abs() <= 0.25) & (f[1] <= 0.25)
    assert torch.equal(transfer.abs() > 0.5, inside)


def test_states_are_drawn_and_recorded(file: Path) -> None:
    op = blur(file)
    assert op.model_dump()["kernels"][0]["state"] == {"integer": [0, 1]}
    many = op.draw(Key(1).at(np.arange(64)))
    assert isinstance(many, PsfBlur)
    assert set(np.asarray(many.kernels[0].state)) == {0, 1}
    for state, found in (({"f_number": [2, 3]}, 0), ({"f_number": 4, "focal_length": 50}, 1), (1, 1)):
        assert blur(file, state=state).model_dump()["kernels"][0]["state"] == found
    assert blur(file, state={"focal_length": [24, 70]}).model_dump()["kernels"][0]["state"] == {"choice": [0, 1]}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (2, r"has states 0 to 1, got 2"),
        ({"integer": [0, 5]}, r"has states 0 to 1, got 5"),
        (-1, r"greater than or equal to 0"),
        ({"f_numbr": 4}, r"unknown column of the lens' states 'f_numbr': did you mean 'f_number'"),
        ({"f_number": [9, 11]}, r"no state of the lens has .* there are f_number 2\.8, 4"),
        ({"f_number": "wide"}, r"f_number: must be a number or \[low, high\], got 'wide'"),
    ],
)
def test_states_that_the_lens_does_not_have(file: Path, state: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        blur(file, state=state)


@pytest.mark.parametrize("per", ["patch", "photo"])
def test_the_contract(file: Path, tmp_path: Path, per: str) -> None:
    wide = lens(psf=rough(2, 3, 4), field_y=[-1.2, 0, 1.2], field_x=[-1.2, 0, 1, 1.2]).write(tmp_path / "wide.zarr")
    check_operator(PsfBlur, {"radius": 4, "kernels": [kernel(wide)], "per": per}, spaces=[Space.LINEAR])
    mixed = {"choice": [kernel(wide, state=1), GAUSSIAN]}
    check_operator(PsfBlur, {"radius": 4, "kernels": [mixed, {"psf": "olpf"}], "per": per}, spaces=[Space.LINEAR])


# -- in a recipe ------------------------------------------------------------------------------------------------------

RECIPE = """
source: {{camera: demo-a}}
operators:
  patches: {{op: crop, size: 16, margin: 8, per_photo: 4}}
  soft: {{op: maybe, per: photo, p: 0.5, do: {{op: psf_blur, radius: {radius}, kernels: [{kernels}]}}}}
planes: {{a: [patches, soft]}}
"""


def recipe(path: Path, radius: int = 4, more: str = "") -> Recipe:
    kernels = f"{{choice: [{json.dumps(kernel(path))}, {{psf: gaussian, sigma: 1}}]}}{more}"
    return Recipe.parse(RECIPE.format(radius=radius, kernels=kernels))


def test_the_content_of_the_file_is_part_of_the_identity(tmp_path: Path) -> None:
    path = lens().write(tmp_path / "a.npz")
    first = recipe(path).hash
    assert Recipe.parse(recipe(path).text()).hash == first
    lens(psf=rough(2, 3, 4, seed=2)).write(path)
    assert recipe(path).hash != first
    lens(about="the same, told otherwise").write(path)
    assert recipe(path).hash == first


def test_a_photo_renders_with_a_lens(file: Path) -> None:
    photo = testing.photo(h=120, w=160)
    photo = Frame(**{**photo.__dict__, "sensor": Sensor.make(centre=(60, 80), half_diagonal=100)})
    text = recipe(file).text().replace('"p": 0.5', '"p": 1.0')
    done = render(Recipe.parse(text), photo, "a")["a"]
    assert done.data.isfinite().all()
    assert done.data.shape == (4, 3, 16, 16)


def test_lenses_that_do_not_fit_are_found_at_load(tmp_path: Path) -> None:
    wide = lens(psf=rough(2, 3, 4, k=21), includes_aperture=True)
    assert Camera.named("demo-a").pitch == 4
    path = wide.write(tmp_path / "wide.npz")
    with pytest.raises(
        RecipeError, match=r"lens '.*wide\.npz' are 21 x 21 samples of 4 um.*they need radius: 10, got 4"
    ):
        recipe(path)
    finer = lens(psf=rough(2, 3, 4, k=21), pitch=1.0).write(tmp_path / "finer.npz")
    assert recipe(finer, radius=3)
    with pytest.raises(RecipeError, match=r"they need radius: 3, got 2"):
        recipe(finer, radius=2)
    pixels = lens(psf=rough(2, 3, 4, k=21), pitch=None).write(tmp_path / "pixels.npz")
    with pytest.raises(ValueError, match=r"are 21 x 21 pixels: they need radius: 10, got 9"):
        blur(pixels, radius=9)
    with pytest.raises(RecipeError, match=r"includes the photosite's aperture.*twice: leave it out"):
        recipe(path, radius=10, more=", {psf: pixel_aperture}")
    with pytest.raises(RecipeError, match=r"is sampled every 1 um, so it needs the pixel pitch: name a camera"):
        blur(finer).apply(testing.frame(Space.LINEAR).with_data(torch.ones(1, 3, 36, 36), sensor=Sensor.make()))
    with pytest.raises(RecipeError, match=r"reaches 40 pixels each way.*give a larger radius"):
        blur(path, radius=4, state=0).kernel(Sensor.make(1, pitch=1.0), torch.zeros(1, 2))
