"""A crop that oversamples: the subject finer than the simulated sensor, until `downsample` leads back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from degrade import Frame, Recipe, RecipeError, Sensor, Space, testing
from degrade.maths.psf import airy_transfer
from degrade.operators.optics import PsfBlur
from degrade.recipe.render import render

LAMPS = {"op": "psf_blur", "kernels": [{"psf": "airy", "f_number": 4.0}]}


def recipe(camera: str = "demo-a", q: int = 2, **changes: Any) -> Recipe:
    """Sharp and blurred LINEAR planes of 16 pixels, the crop ``q`` times finer."""
    operators: dict[str, Any] = {
        "patches": {"op": "grid_crop", "size": 16, "margin": 16, "per_photo": 4, "oversample": q, "max_clipped": 1},
        "optics": LAMPS,
        **({"back": {"op": "downsample", "factor": q}} if q > 1 else {}),
        **changes,
    }
    back = ["back"] if q > 1 else []
    planes = {"sharp": ["patches", *back], "blur": ["patches", "optics", *back]}
    return Recipe.model_validate({"source": {"camera": camera}, "operators": operators, "planes": planes})


@pytest.fixture
def camera(tmp_path: Path) -> str:
    """A camera with photosites of 4 um."""
    file = tmp_path / "four.json"
    curve = [0.2] * 4
    file.write_text(json.dumps({"black": 256, "white": 4095, "bits": 12, "pitch": 4.0, "k1": curve, "k0": curve}))
    return str(file)


def photo(q: int, side: int = 48) -> Frame:
    """Black, with one pixel of the sensor at 100 times white in the middle of the first patch."""
    found = testing.photo(h=side * q, w=side * q)
    data = torch.zeros_like(found.data)
    data[..., 24 * q : 25 * q, 24 * q : 25 * q] = 100.0
    return found.with_data(data)


def test_a_highlight_of_one_pixel_has_no_dark_ring(camera: str) -> None:
    darkest = {
        q: render(recipe(camera, q), photo(q), "p.dng", rows=[0])["blur"].data.amin().item() for q in (1, 2, 3, 4)
    }
    assert darkest[1] < -0.4  # f/4 at 4 um rings when it is cut at the sensor's own Nyquist
    assert darkest[2] > -1e-6 * 100  # the rounding of float32 beside 100
    assert min(darkest[3], darkest[4]) > -1e-6 * 100


def test_a_highlight_finer_than_a_pixel_has_none_either() -> None:
    frame = Frame(torch.zeros(1, 3, 124, 124), Space.LINEAR, Sensor.make(pitch=4.0), oversample=2)
    frame.data[..., 61, 62] = 400.0
    blurred = PsfBlur(kernels=LAMPS["kernels"]).apply(frame)
    assert torch.nn.functional.avg_pool2d(blurred.data, 2).min() > -1e-6 * 400
    assert blurred.data.sum().item() == pytest.approx(1200, rel=1e-5)


def test_it_keeps_the_transfer_function_of_the_lens() -> None:
    op = PsfBlur(kernels=[{"psf": "airy", "f_number": 4.0}], radius=40)
    sensor = Sensor.make(pitch=4.0)
    kernel, index, _ = op.psf(sensor, oversample=2)
    size = 960
    found = torch.fft.rfft2(kernel[index[0]].double(), s=(size, size)).abs()[:, 0, : size // 4 + 1]
    true = airy_transfer(2.0 / (torch.tensor([0.60, 0.54, 0.46]) * 4.0), size)[:, 0, : size // 4 + 1]
    # the window at 40 pixels takes 0.5% of the light, what the ring lacks is 0.1%
    assert (found - true).abs().max() < 5e-3


@pytest.mark.parametrize(
    "kernel",
    [
        {"psf": "gaussian", "sigma": 2.0},
        {"psf": "disc", "radius": 3.0},
        {"psf": "airy", "f_number": 16.0},
        {"psf": "pupil", "f_number": 16.0, "defocus": 0.5},
        {"psf": "pixel_aperture", "fill": 3.0},
        {"psf": "olpf", "separation": 1.5},
        {"psf": "annular", "radius": 4.0, "inner": 0.6},
        {"psf": "anisotropic_gaussian", "sigma_x": 3.0, "sigma_y": 1.5, "rotation": 30.0},
        {"psf": "generalised_gaussian", "sigma_x": 2.0, "beta": 2.0},
        {"psf": "plateau_gaussian", "sigma_x": 1.0, "beta": 3.0},
        {"psf": "sinc", "cutoff": 1.0},
        {"psf": "linear_motion", "length": 6.0, "angle": 20.0},
        {"psf": "double_line", "length": 3.0, "separation": 4.0, "angle": 20.0},
        {"psf": "gp_motion", "extent": 10.0, "seed": 3},
    ],
    ids=lambda k: k["psf"],
)
def test_lengths_count_pixels_of_the_sensor(kernel: dict[str, Any]) -> None:
    """At low frequencies, where sampling matters little, the finer kernel has the same transfer function."""
    op = PsfBlur(kernels=[kernel], radius=20)
    sensor = Sensor.make(pitch=4.0)
    waves = torch.fft.fftfreq(128)[:, None], torch.fft.fftfreq(128)[None]
    low = torch.hypot(*waves) < 0.08
    found: list[torch.Tensor] = []
    for q in (1, 2):
        kernels, index, _ = op.psf(sensor, torch.zeros(1, 2), oversample=q)
        size = 128 * q
        wide = torch.zeros(size, size)
        k = kernels.shape[-1]
        wide[:k, :k] = kernels[index[0, 1]]
        transfer = torch.fft.fft2(torch.roll(wide, (-(k // 2), -(k // 2)), (0, 1)))
        near = torch.cat((torch.arange(64), torch.arange(-64, 0))) % size
        found.append(transfer[near][:, near][low])
    assert (found[0] - found[1]).abs().max() < (0.02 if kernel["psf"] != "sinc" else 0.04)
    if kernel["psf"] != "sinc":  # which passes all of these, but for its window
        assert found[0].abs().min() < 0.98  # the kernel does something there


def test_planes_end_on_the_sensors_pixels() -> None:
    whole = recipe()
    assert whole.specs["blur"].size == (16, 16)
    assert whole.specs["blur"].oversample == 1
    assert whole.specs["blur"].grid.at(0) == (0.0, 0.0)
    frames = render(whole, photo(2), "p.dng", rows=[0])
    assert frames["sharp"].data.shape == (1, 3, 16, 16)
    at = (frames["sharp"].data[0, 1] == 100).nonzero().tolist()
    assert at == [[8, 8]]  # the photo's pixel 24, less the margin of 16
    for frame in frames.values():
        weight = frame.data[0, 1, 1:, 1:].double().clamp(min=0)  # as much on either side
        place = torch.arange(1, 16, dtype=torch.float64)
        centroid = ((weight.sum(1) * place).sum() / weight.sum()).item()
        assert centroid == pytest.approx(8, abs=1e-3)


def test_origin_counts_the_sensors_pixels() -> None:
    fine = recipe(patches={"op": "crop", "size": 16, "margin": 16, "per_photo": 9, "oversample": 2})
    rendering = render(fine, testing.photo(h=160, w=200), "p.dng", planes=["sharp"])
    assert bool((rendering["sharp"].origin % 2 == 0).all())
    assert rendering["sharp"].origin.max() <= 100 - 32


def test_a_subject_may_stay_fine() -> None:
    data = recipe().model_dump(mode="json")
    data["planes"]["subject"] = {"path": ["patches"], "dtype": "float32", "margin": "keep"}
    fine = Recipe.model_validate(data)
    frame = render(fine, photo(2), "p.dng", rows=[0], planes=["subject"])["subject"]
    assert frame.data.shape[-1] == 2 * (16 + 2 * 16)
    assert frame.oversample == 2
    assert frame.grid.at(0) == (-16.25, -16.25)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"back": {"op": "downsample", "factor": 3}, "patches": {"op": "crop", "size": 24, "oversample": 2}},
            "a factor of 3 does not lead back to them, 2 does",
        ),
        ({"back": {"op": "mosaic"}}, "mosaic works on the sensor's own pixels, which the crop made 2 times finer"),
        (
            {"back": {"op": "sensor_noise", "iso": 100}},
            "sensor_noise works on the sensor's own pixels, which the crop made 2 times finer: put a downsample",
        ),
        (
            {"patches": {"op": "crop", "size": 16, "margin": 4, "oversample": 2}},
            "the planes look 15 pixels beyond a patch, margin is 4: set margin: 16",
        ),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((RecipeError, ValueError), match=message.replace("(", r"\(")):
        recipe(**changes)


def test_a_mosaic_cannot_be_finer_than_its_sensor() -> None:
    data = {
        "source": {"space": "mosaic"},
        "operators": {"patches": {"op": "crop", "size": 16, "oversample": 2}},
        "planes": {"raw": ["patches"]},
    }
    with pytest.raises((RecipeError, ValueError), match="a mosaic cannot be finer than its own sensor"):
        Recipe.model_validate(data)


def test_source_noise_falls_as_it_is_brought_back() -> None:
    whole = recipe()
    line = torch.tensor([[[0.01] * 3, [0.001] * 3]])
    noisy = replace(testing.photo(h=128, w=128), noise=line)
    noise = render(whole, noisy, "p.dng", rows=[0])["sharp"].noise
    assert noise is not None
    np.testing.assert_allclose(noise[0].numpy(), line[0].numpy() / 4, rtol=1e-6)
