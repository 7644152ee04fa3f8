"""The blur operator: kernels a row and a channel, margins, energy, source noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import signal
from torch import Tensor

from degrade import Frame, Key, Recipe, RecipeError, Sensor, Space
from degrade.maths import psf
from degrade.operators.optics import AiryKernel, ApertureKernel, DiscKernel, GaussianKernel, PsfBlur
from tests import strategies

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
    sensor = strategies.sensors(2)  # pitch 4 and 5 um
    airy = AiryKernel(f_number=8.0, wavelength=(0.6, 0.5, 0.4))
    assert airy.values(sensor).tolist() == pytest.approx(np.array([[4], [5]]) / (8 * np.array([0.6, 0.5, 0.4])))
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


def test_a_constant_stays_constant_inside_the_margin() -> None:
    op = PsfBlur(kernels=[{"psf": "disc", "radius": 5.5}, {"psf": "airy", "f_number": 16}])
    grey = Frame(torch.full((1, 3, 70, 62), 0.37), Space.LINEAR, SENSOR)
    assert (op.apply(grey).trim(15).data - 0.37).abs().max() < 1e-6


@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_delta_in_each_corner_with_just_the_margin_of_its_reach(corner: tuple[int, int]) -> None:
    radius, size = 7, 20
    op = PsfBlur(kernels=[{"psf": "gaussian", "sigma": [1.0, 2.0, 3.0]}, {"psf": "pixel_aperture"}], radius=radius)
    assert op.reach == (radius, 1)
    side = size + 2 * radius
    for inset in (0, radius):  # outside the patch at the margin's corner, and in the patch's own
        y, x = (side - 1 - inset if far else inset for far in corner)
        frame = dot(1, side, y, x)
        found = op.apply(frame).trim(radius).data[0]
        for c in range(3):
            expected = signal.convolve2d(frame.data[0, c].numpy(), kernels(op)[0, c].numpy(), mode="valid")
            np.testing.assert_allclose(found[c].numpy(), expected, atol=1e-6)


def test_source_noise_falls_by_the_sum_of_squared_weights() -> None:
    frame = strategies.frame(Space.LINEAR, 2, (64, 64))
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
    soft = Recipe.parse(text).render(white, "a")["soft"]
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
