"""The blur operator: kernels a row and a channel, margins, energy, source noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import signal
from torch import Tensor

from degrade import Frame, Key, Operator, PhotoError, Recipe, RecipeError, Sensor, Space, Spec, testing
from degrade.maths import psf
from degrade.operators.kernels import AiryKernel, ApertureKernel, DiscKernel, GaussianKernel
from degrade.operators.optics import Illumination, LateralChromatic, PsfBlur
from degrade.recipe.render import render

SENSOR = Sensor.make(pitch=4.0)


def kernels(op: PsfBlur, sensor: Sensor = SENSOR) -> Tensor:
    """(b, 3, k, k) of a drawn blur."""
    return op.kernel(sensor)


def dot(b: int, size: int, y: int, x: int) -> Frame:
    data = torch.zeros(b, 3, size, size)
    data[..., y, x] = 1
    return Frame(data, Space.LINEAR, Sensor.make(b, pitch=4.0))


@pytest.mark.parametrize(
    "given",
    [
        [{"psf": "gaussian", "sigma": 1.5}],
        [{"psf": "disc", "radius": 3.2}],
        [{"psf": "airy", "f_number": 11}],
        [{"psf": "pixel_aperture"}],
        [{"psf": "airy", "f_number": 8}, {"psf": "gaussian", "sigma": 0.7}, {"psf": "disc", "radius": 1.1}],
    ],
    ids=lambda k: "+".join(v["psf"] for v in k),
)
def test_a_delta_is_the_kernel(given: list[dict[str, Any]]) -> None:
    op = PsfBlur(kernels=given, radius=9)
    k = kernels(op)
    blurred = op.apply(dot(1, 60, 31, 25)).data
    torch.testing.assert_close(blurred[..., 22:41, 16:35], k, atol=1e-6, rtol=0)
    assert k.sum((-2, -1)).tolist()[0] == pytest.approx([1, 1, 1], abs=1e-6)
    torch.testing.assert_close(k, k.flip(-1), atol=1e-7, rtol=0)
    torch.testing.assert_close(k, k.mT, atol=1e-7, rtol=0)
    assert blurred.sum().item() == pytest.approx(3, abs=1e-5)


def test_kernels_differ_by_channel_and_row() -> None:
    op = PsfBlur(kernels=[{"psf": "gaussian", "sigma": [0.5, {"uniform": [1.0, 1.5]}, 2.0]}], radius=9)
    many = op.draw(Key(3).at(np.arange(4)))
    assert isinstance(many, PsfBlur)
    width = kernels(many, Sensor.make(4, pitch=4.0))
    peaks = width[:, :, 9, 9]
    assert len(peaks[:, 0].unique()) == 1
    assert len(peaks[:, 1].unique()) == 4
    assert (peaks[:, 0] > peaks[:, 1]).all()
    assert (peaks[:, 1] > peaks[:, 2]).all()
    for j in range(4):
        one = op.draw(Key(3).at(j))
        assert isinstance(one, PsfBlur)
        assert torch.equal(kernels(one)[0], width[j])


def test_diffraction_follows_wavelength_f_number_and_each_rows_pitch() -> None:
    sensor = testing.mixed_sensors(2)  # pitch 4 and 5 um
    airy = AiryKernel(f_number=8.0, wavelength=(0.6, 0.5, 0.4))
    cutoff = airy.values(sensor, torch.zeros(2, 2))[..., 0]
    assert cutoff.tolist() == pytest.approx(np.array([[4], [5]]) / (8 * np.array([0.6, 0.5, 0.4])))
    peaks = kernels(PsfBlur(kernels=(airy,)), sensor)[:, :, 15, 15]
    assert (peaks[:, 0] < peaks[:, 1]).all()
    assert (peaks[:, 1] < peaks[:, 2]).all()
    assert (peaks[0] < peaks[1]).all()
    again = kernels(PsfBlur(kernels=[{"psf": "airy", "f_number": 8, "wavelength": [0.48, 0.4, 0.32]}]), SENSOR)
    torch.testing.assert_close(again[0], kernels(PsfBlur(kernels=(airy,)), sensor)[1], atol=1e-7, rtol=0)


def test_kernels_multiply_before_they_are_windowed() -> None:
    """Two blurs in one are not two windows one after the other, but the product of both whole transfer functions."""
    op = PsfBlur(kernels=(DiscKernel(radius=2.0), GaussianKernel(sigma=1.2)), radius=6)
    size = psf.grid_size(6)
    whole = psf.disc_transfer(torch.tensor([2.0]), size) * psf.gaussian_transfer(torch.tensor([1.2]), size)
    expected, lost = psf.kernel_from_transfer(whole, 6)
    torch.testing.assert_close(kernels(op)[0, 0], expected[0], atol=1e-7, rtol=0)
    assert op.apply(dot(1, 40, 20, 20)).notes["lost"].tolist() == pytest.approx(lost.tolist())


def test_the_largest_loss_of_the_channels_is_recorded_for_each_row() -> None:
    op = PsfBlur(kernels=[{"psf": "airy", "f_number": 8.0}])
    blurred = op.apply(dot(3, 64, 32, 32))
    _, _, lost = op.psf(Sensor.make(pitch=4.0))
    assert blurred.notes["lost"].shape == (3,)
    assert blurred.notes["lost"].tolist() == pytest.approx([lost.max().item()] * 3)
    assert 0.010 < lost.max() < 0.016


@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_delta_in_each_corner_with_just_the_margin_of_its_reach(corner: tuple[int, int]) -> None:
    radius, size = 7, 20
    op = PsfBlur(kernels=[{"psf": "gaussian", "sigma": [1.0, 2.0, 3.0]}, {"psf": "pixel_aperture"}], radius=radius)
    assert op.needs(Spec(Space.LINEAR, 3, (64, 64)), 0) == radius
    side = size + 2 * radius
    for inset in (0, radius):  # outside the patch at the margin's corner, and in the patch's own
        y, x = (side - 1 - inset if far else inset for far in corner)
        frame = dot(1, side, y, x)
        found = op.apply(frame).trim(radius).data[0]
        for c in range(3):
            expected = signal.convolve2d(frame.data[0, c].numpy(), kernels(op)[0, c].numpy(), mode="valid")
            np.testing.assert_allclose(found[c].numpy(), expected, atol=1e-6)


def test_source_noise_falls_by_the_sum_of_squared_weights() -> None:
    frame = testing.frame(Space.LINEAR, 2, (64, 64))
    op = PsfBlur(kernels=[{"psf": "gaussian", "sigma": [0.6, 1.2, 2.4]}], radius=12)
    share = kernels(op).square().sum((-2, -1))
    blurred = op.apply(frame)
    assert frame.noise is not None
    assert blurred.noise is not None
    torch.testing.assert_close(blurred.noise, frame.noise * share[:, None], rtol=1e-5, atol=0)
    white = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 3, 512, 512)).astype(np.float32))
    measured = op.apply(frame.with_data(white)).trim(12).data.var((-2, -1))
    torch.testing.assert_close(measured, share, rtol=0.1, atol=0)


def test_a_photosites_aperture_averages() -> None:
    """An aperture of one pixel on a band-limited wave: its amplitude falls by the sinc."""
    wave = torch.cos(2 * torch.pi * torch.arange(64) / 8).expand(1, 3, 64, 64)
    op = PsfBlur(kernels=(ApertureKernel(),))
    blurred = op.apply(Frame(wave.contiguous(), Space.LINEAR, SENSOR)).trim(16).data
    torch.testing.assert_close(blurred, wave[..., 16:48, 16:48] * np.sinc(1 / 8), atol=2e-3, rtol=0)


def test_what_stands_before_the_crop_gives_the_photos_edge_away() -> None:
    """A blurred photo is wrong along its edge; patches keep off it, also when the blur stands in a container."""
    text = """
    operators:
      lens: {op: maybe, p: 1, do: {op: psf_blur, radius: 9, kernels: [{psf: gaussian, sigma: 3}]}}
      patches: {op: grid_crop, size: 8, margin: 0, per_photo: 200}
    planes: {soft: [lens, patches]}
    """
    white = Frame(torch.ones(1, 3, 60, 60), Space.LINEAR, SENSOR)
    soft = render(Recipe.parse(text), white, "a")["soft"]
    assert len(soft) == 25
    assert (soft.data - 1).abs().max() < 1e-6


@pytest.mark.parametrize("given", [{"sigma": -1}, {"sigma": [1, 2]}, {"sigma": 101}, {"sigma": "wide"}])
def test_widths_that_cannot_be(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GaussianKernel(**given)


def test_airy_without_a_pitch() -> None:
    with pytest.raises(RecipeError, match=r"airy kernel needs the pixel pitch: name a camera"):
        PsfBlur(kernels=[{"psf": "airy", "f_number": 8}]).apply(
            Frame(torch.ones(1, 3, 64, 64), Space.LINEAR, Sensor.make())
        )


# -- lenses, motion, shapes -------------------------------------------------------------------------------------------

PLACED = torch.tensor([[0.3, -0.4], [0.6, 0.0]])
LENS = {"psf": "pupil", "f_number": 8.0}
SPATIAL: list[dict[str, Any]] = [
    {"psf": "gaussian", "sigma": 1.5},
    {"psf": "disc", "radius": 3.2},
    {"psf": "annular", "radius": 4.2, "inner": 0.6},
    {"psf": "anisotropic_gaussian", "sigma_x": 2.0, "sigma_y": 0.5, "rotation": 25},
    {"psf": "generalised_gaussian", "sigma_x": 2.0, "sigma_y": 1.0, "beta": 3.0},
    {"psf": "generalised_gaussian", "sigma_x": 2.0, "beta": 0.5, "point": True},
    {"psf": "plateau_gaussian", "sigma_x": 2.0, "sigma_y": 1.0, "rotation": -40, "beta": 2.0},
    {"psf": "linear_motion", "length": 7.3, "angle": 33},
    {"psf": "double_line", "length": 3.0, "separation": 5.0, "angle": 80},
    {"psf": "gp_motion", "extent": 10, "seed": 3},
]
SOFT: list[dict[str, Any]] = [
    LENS | {"f_number": 18.0} | aberration
    for aberration in ({}, {"coma": 1.0, "vignetting": 0.4}, {"blades": 5, "defocus": 1.5}, {"obscuration": 0.4})
]


@pytest.mark.parametrize("given", SPATIAL + SOFT, ids=lambda k: k["psf"])
def test_every_kernel_is_a_spread_of_light(given: dict[str, Any]) -> None:
    """Sum 1, nothing below 0 in space or for cut-offs up to 1/2, lost energy recorded, a delta upright."""
    op = PsfBlur.model_validate({"kernels": [given]})
    sensor = Sensor.make(2, pitch=4.0)
    kernel, index, lost = op.psf(sensor, PLACED)
    assert kernel.sum((-2, -1)).tolist() == pytest.approx([1] * len(kernel), abs=1e-6)
    assert kernel.min() > -1e-6
    assert lost.min() >= 0
    frame = replace(dot(2, 70, 33, 36), field=PLACED)
    blurred = op.apply(frame)
    torch.testing.assert_close(blurred.data[..., 18:49, 21:52], kernel[index].expand(2, 3, 31, 31), atol=1e-6, rtol=0)
    assert blurred.notes["lost"].tolist() == pytest.approx(lost[index].amax(-1).expand(2).tolist())


@pytest.mark.parametrize("given", SPATIAL, ids=lambda k: k["psf"])
def test_kernels_in_space_keep_their_centroid(given: dict[str, Any]) -> None:
    k = PsfBlur.model_validate({"kernels": [given], "radius": 40}).kernel(SENSOR)[0, 0].double()
    p = torch.arange(81) - 40
    assert (k.sum(1) * p).sum().abs() < 1e-4
    assert (k.sum(0) * p).sum().abs() < 1e-4


def test_a_pupil_without_aberration_is_airys() -> None:
    lens, airy = (PsfBlur.model_validate({"kernels": [LENS | {"psf": name}]}) for name in ("pupil", "airy"))
    difference = (lens.kernel(SENSOR) - airy.kernel(SENSOR)).abs().max()
    assert difference < 1e-3 * airy.kernel(SENSOR).max()


def test_several_wavelengths_are_the_mean_of_their_spreads() -> None:
    def kernel(red: Any) -> Tensor:
        lens = LENS | {"wavelength": [red, 0.54, 0.46], "defocus": 0.5, "f_number": 5.6}
        kernel, index, lost = PsfBlur.model_validate({"kernels": [lens]}).psf(SENSOR)
        return kernel[index[0, 0]] * (1 - lost[index[0, 0]])

    expected = (kernel(0.58) + kernel(0.60) + kernel(0.65)) / 3
    torch.testing.assert_close(kernel([0.58, 0.60, 0.65]), expected, atol=1e-6, rtol=0)


def test_a_wave_of_another_colour_counts_as_its_length_says() -> None:
    """0.5 waves at 0.54 um are one path; at 0.27 um it is a whole wave."""
    a = PsfBlur.model_validate({"kernels": [LENS | {"defocus": 0.5, "wavelength": [0.27, 0.54, 0.46]}]})
    b = PsfBlur.model_validate({"kernels": [LENS | {"defocus": 1.0, "wavelength": [0.27] * 3, "reference": 0.27}]})
    torch.testing.assert_close(a.kernel(SENSOR)[0, 0], b.kernel(SENSOR)[0, 0], atol=1e-7, rtol=0)


def test_seidel_terms_follow_the_field() -> None:
    """Height by its powers, azimuth by turning: a quarter turn of the place is a quarter turn of the kernel."""
    lens = LENS | {"spherical": 0.2, "coma": 0.8, "astigmatism": 0.6, "curvature": 0.5, "vignetting": 0.4}
    op = PsfBlur.model_validate({"kernels": [lens]})
    places = torch.tensor([[0.0, 0.5], [0.5, 0.0], [0.0, -0.5], [0.3, 0.4], [0.0, 0.0]])
    k = op.kernel(Sensor.make(5, pitch=4.0), places)
    for turns in (1, 2):  # x to y, downwards: clockwise on the screen
        torch.testing.assert_close(k[turns], torch.rot90(k[0], -turns, (-2, -1)), atol=1e-6, rtol=0)
    assert (k[3] - k[0]).abs().max() > 1e-3
    fixed = LENS | {"spherical": 0.2, "coma": 0.4, "astigmatism": 0.15, "curvature": 0.125, "vignetting": 0.2}
    corner = PsfBlur.model_validate({"kernels": [fixed]}).kernel(SENSOR, torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(k[0], corner[0], atol=1e-6, rtol=0)
    centre = PsfBlur.model_validate({"kernels": [LENS | {"spherical": 0.2}]}).kernel(SENSOR)
    torch.testing.assert_close(k[4], centre[0], atol=1e-6, rtol=0)


def test_equal_numbers_share_a_kernel() -> None:
    lens = LENS | {"spherical": 0.2}
    kernels = [lens, {"psf": "gaussian", "sigma": {"choice": [0.5, 1.0]}}]
    op = PsfBlur.model_validate({"kernels": kernels}).draw(Key(1).at(np.arange(40)))
    assert isinstance(op, PsfBlur)
    kernel, index, _ = op.psf(Sensor.make(40, pitch=4.0), torch.full((40, 2), 0.5))
    assert len(kernel) == 6
    assert index.shape == (40, 3)


@pytest.mark.parametrize(
    ("given", "field", "error", "message"),
    [
        (LENS, (0, 0), RecipeError, r"a pupil kernel needs the pixel pitch: name a camera"),
        (LENS | {"coma": 0.5}, (float("nan"), 0), PhotoError, r"needs the place in the field"),
        (LENS | {"vignetting": 0.5}, (1.2, 1.2), PhotoError, r"lies 1.7 half diagonals from the optical centre"),
        (
            {"psf": "double_line", "length": 0, "separation": 80},
            (0, 0),
            RecipeError,
            r"nothing within its radius",
        ),
        ({"psf": "gaussian", "sigma": float("nan")}, (0, 0), ValidationError, r"sigma"),
    ],
)
def test_lenses_that_cannot_be(given: dict[str, Any], field: Any, error: type[Exception], message: str) -> None:
    pitch = float("nan") if given is LENS else 4.0
    frame = Frame(torch.ones(1, 3, 64, 64), Space.LINEAR, Sensor.make(pitch=pitch), field=torch.tensor([field]))
    with pytest.raises(error, match=message):
        PsfBlur.model_validate({"kernels": [given]}).apply(frame)


def test_a_channel_needs_a_wavelength() -> None:
    with pytest.raises(ValidationError, match="at least one wavelength"):
        PsfBlur.model_validate({"kernels": [LENS | {"wavelength": [[], 0.5, 0.4]}]})


def test_a_transfer_with_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        psf.kernel_from_transfer(torch.full((1, 32, 17), float("nan")), 3)


# -- what follows the field -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cubic", [0.0, 0.7])
def test_lateral_colour_moves_a_wave_by_its_shift(cubic: float) -> None:
    """Red and blue of a smooth wave come out as the same wave, moved outwards; green stays bit for bit."""
    at = torch.arange(80, dtype=torch.float64)

    def wave(dy: float, dx: float) -> Tensor:
        return torch.cos(2 * torch.pi * ((at[:, None] - dy) / 9 + (at - dx) / 5)).float()

    frame = Frame(wave(0, 0).expand(1, 3, 80, 80).contiguous(), Space.LINEAR, SENSOR, field=PLACED[:1])
    op = LateralChromatic(red=1.3, blue=-0.6, cubic=cubic)
    far = op.needs(Spec(Space.LINEAR, 3, frame.size), 0)
    moved = op.apply(frame).trim(far).data[0]
    h = (0.5 + cubic * 0.125) / (1 + cubic)
    inner = slice(far, 80 - far)
    assert torch.equal(moved[1], frame.data[0, 1, inner, inner])
    for c, corner in ((0, 1.3), (2, -0.6)):
        expected = wave(corner * h * 0.6, -corner * h * 0.8)[inner, inner]
        torch.testing.assert_close(moved[c], expected, atol=2e-3, rtol=0)


def test_lateral_colour_keeps_white_white_and_the_centre_sharp() -> None:
    op = LateralChromatic(red=1.0, blue=1.0)
    grey = Frame(torch.full((2, 3, 40, 40), 0.4), Space.LINEAR, Sensor.make(2), field=PLACED)
    assert (op.apply(grey).trim(op.needs(Spec(Space.LINEAR, 3, grey.size), 0)).data - 0.4).abs().max() < 1e-6
    middle = replace(dot(1, 40, 20, 20), field=torch.zeros(1, 2))
    assert torch.equal(op.apply(middle).data, middle.data)


def test_illumination_is_the_fourth_power_of_the_cosine() -> None:
    frame = replace(testing.frame(Space.LINEAR, 2), field=PLACED)
    dim = Illumination(angle=30.0, polynomial=(-0.1, 0.05)).apply(frame)
    assert frame.noise is not None
    assert dim.noise is not None
    for row, h in enumerate((0.5, 0.6)):
        angle = np.arctan(h * np.tan(np.radians(30)))
        gain = np.cos(angle) ** 4 * (1 - 0.1 * h**2 + 0.05 * h**4)
        torch.testing.assert_close(dim.data[row], frame.data[row] * gain, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(dim.noise[row, 0], frame.noise[row, 0] * gain, rtol=1e-6, atol=0)
        torch.testing.assert_close(dim.noise[row, 1], frame.noise[row, 1] * gain**2, rtol=1e-6, atol=0)


@pytest.mark.parametrize("op", [Illumination(angle=20.0), LateralChromatic(red=1.0)])
def test_a_place_is_needed(op: Operator) -> None:
    for field, message in ((float("nan"), "say `field: unknown`"), (2.0, "fields reach from 0 to 1.5")):
        with pytest.raises(PhotoError, match=message):
            op.apply(replace(testing.frame(Space.LINEAR), field=torch.full((1, 2), field)))
