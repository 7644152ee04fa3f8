"""Fog: Koschmieder's law, grey to the camera, thinning with height as the integral along the ray says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import photos
import pytest
import torch
from scipy import integrate

from degrade import Choice, Frame, Grid, PhotoError, Recipe, Sensor, Space, Uniform
from degrade.core.maps import Aux
from degrade.core.prior import LogUniform
from degrade.operators.crop import Crop
from degrade.operators.kernels import AiryKernel
from degrade.operators.noise import SensorNoise
from degrade.operators.optics import PsfBlur
from degrade.operators.sensor import Mosaic, Quantise
from degrade.operators.weather import Fog
from degrade.pairs.run import build
from degrade.pairs.store import PatchStore
from degrade.recipe.recipe import Plane, Source


def scene(b: int = 1, size: int = 16, **changes: Any) -> Frame:
    """A rough scene with depths from 1 to 300 m and the sky."""
    rng = np.random.default_rng(4)
    data = torch.from_numpy(rng.uniform(-0.1, 1.4, (b, 3, size, size)).astype(np.float32))
    depth = torch.from_numpy(rng.uniform(1, 300, (b, 1, size, size)).astype(np.float32))
    depth[..., 0, :] = math.inf
    sensor = Sensor.make(b, white_balance=(2.0, 1.0, 1.6), half_diagonal=100.0, centre=(7.5, 7.5))
    given = {"field": torch.full((1, 2), math.nan), "aux": {"depth": depth}, **changes}
    return Frame(data, Space.LINEAR, sensor, **given)


def test_koschmieder_pixel_by_pixel() -> None:
    frame = scene()
    done = Fog(beta=0.01, airlight=0.7).apply(frame).data.double().numpy()
    t = np.exp(-0.01 * frame.aux["depth"].double().numpy())
    veil = 0.7 / np.array([2.0, 1.0, 1.6])[:, None, None]
    assert np.abs(done - (frame.data.double().numpy() * t + veil * (1 - t))).max() < 1e-6


def test_endless_fog_is_grey_after_white_balance() -> None:
    sky = Fog(beta=1e-3, airlight=0.9).apply(scene()).data[..., 0, :] * torch.tensor([2.0, 1.0, 1.6])[None, :, None]
    assert torch.allclose(sky, torch.full_like(sky, 0.9), atol=1e-6)


@pytest.mark.parametrize("height", [None, 20.0])
def test_no_fog_is_the_picture_itself(height: float | None) -> None:
    frame = scene(noise=torch.full((1, 2, 3), 1e-4))
    done = Fog(beta=0.0, scale_height=height).apply(frame)
    assert torch.equal(done.data, frame.data)
    assert done.noise is not None
    assert torch.equal(done.noise, frame.noise)


@pytest.mark.parametrize("elevation", [-30.0, -1e-4, 0.0, 0.02, 5.0, 60.0])
def test_thinning_fog_is_the_integral_along_the_ray(elevation: float) -> None:
    """At the middle of the field the ray's elevation is the camera's tilt."""
    frame = scene(field=torch.zeros(1, 2))
    depth = torch.full((1, 1, 16, 16), 80.0)
    fog = Fog(beta=0.02, airlight=1.0, scale_height=25.0, camera_height=50.0, tilt=elevation)
    black = Frame(torch.zeros_like(frame.data), Space.LINEAR, Sensor.make(), field=frame.field, aux={"depth": depth})
    t = 1 - fog.apply(black).data[0, 0, 0, 0].item()
    rise = math.sin(math.radians(elevation))
    path, _ = integrate.quad(lambda s: 0.02 * math.exp(-(50 + s * rise) / 25), 0, 80)
    assert t == pytest.approx(math.exp(-path), abs=2e-6)


def test_a_great_scale_height_is_even_fog() -> None:
    even, high = (Fog(beta=0.01, scale_height=h, camera_height=0.0, tilt=3.0) for h in (None, 1e5))
    frame = scene(field=torch.zeros(1, 2))
    assert (even.apply(frame).data - high.apply(frame).data)[..., 1:, :].abs().max() < 5e-3


def test_before_the_crop_a_row_of_pixels_has_the_elevation_of_its_patch() -> None:
    """What a photo's pixel gets is what a patch about it gets, with the place in the field that the crop says."""
    fog = Fog(beta=0.02, scale_height=10.0, tilt=-4.0, angle=35.0)
    frame = scene(grid=Grid((4.0, 4.0), (-20.0, -20.0)))
    whole = fog.apply(frame).data
    crop = Crop(size=1, margin=0).model_copy(update={"top": np.array([3, 11]), "left": np.array([5, 2])})
    patches = crop.apply(frame)
    assert patches.field.abs().max() > 0.1
    found = fog.apply(patches).data
    for i, (y, x) in enumerate(((3, 5), (11, 2))):
        assert torch.allclose(found[i, :, 0, 0], whole[0, :, y, x], atol=1e-6)


def test_noise_over_an_even_depth_is_exact() -> None:
    """Variance a x + b becomes t^2 (a x + b), said of the fogged signal."""
    a, b, t = 0.01, 1e-4, math.exp(-0.5)
    frame = scene(noise=torch.tensor([a, b])[:, None].expand(1, 2, 3))
    frame = frame.changed(aux={"depth": torch.full((1, 1, 16, 16), 50.0)})
    done = Fog(beta=0.01, airlight=0.8).apply(frame)
    assert done.noise is not None
    said = done.noise[0, 0][:, None, None] * done.data[0] + done.noise[0, 1][:, None, None]
    assert torch.allclose(said, t * t * (a * frame.data[0] + b), atol=1e-7)


def test_what_is_missing_is_told() -> None:
    with pytest.raises(PhotoError, match=r"fog reads the map 'depth', the picture has none: .*source: {aux: {depth"):
        Fog(beta=0.1).apply(scene(aux={}))
    lost = scene()
    lost = Frame(lost.data, lost.space, Sensor.make(), aux=lost.aux)
    with pytest.raises(PhotoError, match="needs the place in the field"):
        Fog(beta=0.1, scale_height=3.0).apply(lost)


# -- the shipped pipeline ---------------------------------------------------------------------------------------------


def pipeline() -> Recipe:
    """The shipped pipeline, written in Python."""
    air = Uniform(0.6, 0.95)
    return Recipe(
        seed=21,
        source=Source(shrink=4, camera="demo-a", aux={"depth": Aux(file="../depth/{stem}.png", scale=0.001)}),
        operators={
            "patches": Crop(size=128, margin=32, per_photo=256),
            "haze": Fog(beta=LogUniform(0.001, 0.01), airlight=air),
            "fog": Fog(beta=LogUniform(0.01, 0.1), airlight=air),
            "optics": PsfBlur(kernels=(AiryKernel(f_number=Choice(4, 5.6, 8)),)),
            "cfa": Mosaic(),
            "noise": SensorNoise(iso=Choice(100, 200, 400, 800)),
            "adc": Quantise(),
        },
        planes={
            "clear": Plane(path=("patches", "optics", "cfa", "adc")),
            "hazy": Plane(path=("patches", "haze", "optics", "cfa", "noise", "adc")),
            "foggy": Plane(path=("patches", "fog", "optics", "cfa", "noise", "adc")),
        },
    )


def test_built_small_and_replayed(tmp_path: Path) -> None:
    folder = photos.write_photos(tmp_path / "photos", 2)
    (tmp_path / "depth").mkdir()
    import imagecodecs

    rng = np.random.default_rng(2)
    depth = rng.integers(20_000, 60_000, photos.SIZE, np.uint16)
    (tmp_path / "depth" / "p000.png").write_bytes(imagecodecs.png_encode(depth))
    text = Recipe.load("fog").text().replace('"size": 128', '"size": 8').replace('"per_photo": 256', '"per_photo": 5')
    recipe = Recipe.parse(text.replace('"margin": 32', '"margin": 4').replace('"radius": 15', '"radius": 3'))
    done = build(recipe, folder, tmp_path / "store", workers=1)
    assert done.exit_code == 2  # the second photo has no depth
    store = PatchStore(tmp_path / "store")
    assert store.rows.tolist() == list(range(5))
    clear, foggy = (store.read(n, store.rows).mean() for n in ("clear", "foggy"))
    assert foggy > clear + 0.05
    assert store.replay(3, photos=folder).identical
