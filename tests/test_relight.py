"""Relighting: a ball under a lamp in closed form, light of the camera's own grey, ratios, shadows, maps, A and B."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import photos
import pytest
import torch
from pydantic import ValidationError
from test_shade import sphere

from degrade import Choice, Frame, PhotoError, Recipe, RecipeError, Sensor, Space, Spec, Uniform
from degrade.core.maps import Aux
from degrade.operators.crop import Crop
from degrade.operators.kernels import AiryKernel
from degrade.operators.noise import SensorNoise
from degrade.operators.optics import PsfBlur
from degrade.operators.relight import AreaLight, DirectionalLight, EnvironmentLight, PointLight, Relight
from degrade.operators.sensor import Mosaic, Quantise
from degrade.pairs.run import build
from degrade.pairs.store import PatchStore
from degrade.photos import read_source
from degrade.recipe.recipe import Plane, Source

N = 65
SUN = DirectionalLight(azimuth=-30.0, elevation=50.0)


def ball(**changes: Any) -> Frame:
    """A ball of rough albedo before a wall, seen by a camera that is not balanced."""
    normal, _ = sphere(N)
    data = torch.from_numpy(np.random.default_rng(3).uniform(0.1, 1.2, (1, 3, N, N)).astype(np.float32))
    sensor = Sensor.make(white_balance=(2.0, 1.0, 1.6))
    return Frame(data, Space.LINEAR, sensor, **{"aux": {"normal": normal}, **changes})


def cosine(frame: Frame, light: DirectionalLight) -> np.ndarray:
    a, e = (math.radians(float(v)) for v in (light.azimuth, light.elevation))
    way = np.array([math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)])
    return np.maximum(np.einsum("bchw,c->bhw", frame.aux["normal"].double().numpy(), way), 0)[:, None]


def test_a_ball_under_a_lamp() -> None:
    frame = ball()
    light = SUN.model_copy(update={"intensity": 1.5, "colour": (1.0, 0.8, 0.5)})
    truth = frame.data.double().numpy() * cosine(frame, light) * 1.5 * np.array([1, 0.8, 0.5])[:, None, None]
    assert np.abs(Relight(lights=(light,)).apply(frame).data.numpy() - truth).max() < 1e-5


def test_the_same_light_again_is_the_same_picture() -> None:
    frame = ball()
    lit = (SUN, EnvironmentLight(intensity=0.2))
    again = Relight(lights=lit, taken=lit).apply(frame).data
    assert torch.allclose(again, frame.data, atol=1e-6)


def test_a_photo_of_a_light_is_brought_under_another() -> None:
    """Shade, then divide by it: as if the albedo had been lit by the other at once."""
    frame, other = ball(), DirectionalLight(azimuth=120.0, elevation=70.0)
    ambient = EnvironmentLight(intensity=0.3)
    first = Relight(lights=(SUN, ambient)).apply(frame)
    moved = Relight(lights=(other, ambient), taken=(SUN, ambient)).apply(first).data
    assert torch.allclose(moved, Relight(lights=(other, ambient)).apply(frame).data, atol=1e-5)


def test_gloss_is_grey_to_the_camera() -> None:
    frame = ball()
    gloss = Relight(lights=(SUN,), f0=0.5, roughness=0.4).apply(frame).data - Relight(lights=(SUN,)).apply(frame).data
    balanced = gloss * torch.tensor([2.0, 1.0, 1.6])[None, :, None, None]
    assert gloss.max() > 0.2
    assert (balanced - balanced[:, 1:2]).abs().max() < 1e-4


def test_an_albedo_map_is_what_the_camera_would_see() -> None:
    matrix = torch.tensor([[1.6, -0.4, -0.2], [-0.3, 1.5, -0.2], [0.0, -0.5, 1.5]])
    frame = ball()
    albedo = torch.rand(1, 3, N, N, generator=torch.Generator().manual_seed(2))
    sensor = Sensor.make(white_balance=(2.0, 1.0, 1.6), matrix=matrix.tolist())
    frame = Frame(frame.data, Space.LINEAR, sensor, aux={**frame.aux, "albedo": albedo}, noise=torch.ones(1, 2, 3))
    done = Relight(lights=(SUN,), albedo="map").apply(frame)
    balanced = done.data * torch.tensor([2.0, 1.0, 1.6])[None, :, None, None]
    srgb = torch.einsum("ij,bjhw->bihw", matrix, balanced)
    assert torch.allclose(srgb.double(), albedo.double() * torch.from_numpy(cosine(frame, SUN)), atol=1e-5)
    assert done.noise is not None
    assert not done.noise.any()


def test_noise_under_an_even_shade_is_exact() -> None:
    flat = torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1).expand(1, 3, N, N)
    frame = ball(aux={"normal": flat}, noise=torch.tensor([0.01, 1e-4])[:, None].expand(1, 2, 3))
    noise = Relight(lights=(DirectionalLight(azimuth=0.0, elevation=30.0),)).apply(frame).noise
    assert noise is not None
    assert torch.allclose(noise[0, :, 0], torch.tensor([0.005, 2.5e-5]), rtol=1e-5)


def test_a_far_lamp_and_a_small_far_window_are_a_sun() -> None:
    frame = ball()
    sun = Relight(lights=(DirectionalLight(azimuth=0.0, elevation=45.0),)).apply(frame).data
    lamp = PointLight(x=1e5, z=1e5)
    window = AreaLight(x=1e5, z=1e5, width=1e3, height=1e3)
    for light in (lamp, window):
        assert (Relight(lights=(light,)).apply(frame).data - sun).abs().max() < 2e-3


def test_a_wall_in_the_height_map_shades_what_is_behind_it() -> None:
    flat = torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1).expand(1, 3, N, N)
    height = torch.zeros(1, 1, N, N)
    height[..., 30] = 0.5
    frame = ball(aux={"normal": flat, "height": height})
    op = Relight(lights=(DirectionalLight(azimuth=180.0, elevation=45.0),), shadow=12, pixel=0.1)
    ratio = (op.apply(frame).data / frame.data)[0, 0, 20] * math.sqrt(2)
    assert ratio[31:35].abs().max() == 0  # five pixels high, so it reaches the fifth
    assert ratio[35].item() == pytest.approx(0.5, abs=1e-4)
    assert torch.allclose(torch.cat((ratio[12:30], ratio[36:53])), torch.tensor(1.0), atol=1e-5)
    assert op.needs(Spec(Space.LINEAR, 3, (32, 32)), 0) == 12


def test_on_a_finer_grid_the_light_stands_in_the_same_place() -> None:
    """Twice as fine, and averaged again, a lamp near the scene lights it alike."""
    lamp = (PointLight(x=6.0, y=-4.0, z=12.0),)
    flat = torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1)
    one, two = (torch.ones(1, 3, 16 * k, 16 * k) for k in (1, 2))
    coarse = Frame(one, Space.LINEAR, Sensor.make(), aux={"normal": flat.expand_as(one)})
    fine = Frame(two, Space.LINEAR, Sensor.make(), aux={"normal": flat.expand_as(two)}, oversample=2)
    op = Relight(lights=lamp)
    again = torch.nn.functional.avg_pool2d(op.apply(fine).data, 2)
    assert (again - op.apply(coarse).data).abs().max() < 5e-3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lights": []}, "at least 1"),
        ({"lights": [{"light": "sun"}]}, "sun"),
        ({"lights": [{"light": "directional", "azimuth": 0, "elevation": -5}]}, "greater than or equal to 0"),
        ({"lights": [{"light": "environment", "harmonics": [1, 2, 3]}]}, "at least 9 items"),
        ({"lights": [SUN], "roughness": 0}, "0.05"),
    ],
)
def test_wrong_fields_are_told(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Relight(**fields)


def test_what_is_missing_is_told() -> None:
    with pytest.raises(PhotoError, match="relight reads the map 'normal', the picture has none"):
        Relight(lights=(SUN,)).apply(ball(aux={}))
    for fields, name in (({"shadow": 3}, "height"), ({"albedo": "map"}, "albedo")):
        with pytest.raises(PhotoError, match=f"reads the map '{name}', the picture has normal"):
            Relight(lights=(SUN,), **fields).apply(ball())
        text = Recipe.load("relight").text().replace('"shadow": 0', '"shadow": 3')
        with pytest.raises(RecipeError, match="unknown map .* that before reads: 'height': there are: normal"):
            Recipe.parse(text)


# -- the shipped pipeline ---------------------------------------------------------------------------------------------


def pipeline() -> Recipe:
    """The shipped pipeline, written in Python."""
    lights = (
        DirectionalLight(azimuth=Uniform(0, 360), elevation=Uniform(20, 80)),
        EnvironmentLight(intensity=Uniform(0.1, 0.5)),
    )
    relight = Relight(lights=lights, f0=0.04, roughness=Uniform(0.3, 0.9), per="photo")
    return Recipe(
        seed=19,
        source=Source(shrink=4, camera="demo-a", aux={"normal": Aux(file="../normal/{stem}.png")}),
        operators={
            "patches": Crop(size=128, margin=32, per_photo=256),
            "before": relight,
            "after": relight,
            "optics": PsfBlur(kernels=(AiryKernel(f_number=Choice(4, 5.6, 8)),)),
            "cfa": Mosaic(),
            "noise": SensorNoise(iso=Choice(100, 200, 400, 800)),
            "adc": Quantise(),
        },
        planes={
            "a": Plane(path=("patches", "before", "optics", "cfa", "noise", "adc")),
            "b": Plane(path=("patches", "after", "optics", "cfa", "adc")),
        },
    )


def test_built_small_and_replayed(tmp_path: Path) -> None:
    folder = photos.write_photos(tmp_path / "photos", 1)
    (tmp_path / "normal").mkdir()
    normal, _ = sphere(N)
    pixels = np.round((normal[0].permute(1, 2, 0).numpy() * [1, -1, 1] + 1) / 2 * 65535).astype(np.uint16)
    h, w = photos.SIZE
    pixels = pixels[np.arange(h) * N // h][:, np.arange(w) * N // w]
    (tmp_path / "normal" / "p000.png").write_bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))
    text = (
        Recipe.load("relight").text().replace('"size": 128', '"size": 8').replace('"per_photo": 256', '"per_photo": 6')
    )
    recipe = Recipe.parse(text.replace('"margin": 32', '"margin": 4').replace('"radius": 15', '"radius": 3'))
    assert build(recipe, folder, tmp_path / "store", workers=1).exit_code == 0
    store = PatchStore(tmp_path / "store")
    a, b = (store.read(n, store.rows) for n in ("a", "b"))
    assert np.isfinite(a).all()
    assert np.abs(a - b).max() > 0.02
    assert all(store.replay(int(r), photos=folder).identical for r in store.rows)


# -- a real brick wall ------------------------------------------------------------------------------------------------


def test_a_brick_wall_is_brighter_on_the_side_of_the_light(tmp_path: Path) -> None:
    """Its joints: pixels that look to the left gain under light from the left, and lose under light from the right."""
    samples = os.environ.get("DEGRADE_SAMPLES")
    folder = Path(samples).parent / "normals" if samples else Path("nowhere")
    if not (folder / "brick_normal.jpg").is_file():
        pytest.skip("no brick_normal.jpg in normals/ beside the folder that DEGRADE_SAMPLES names")
    source = Source(shrink=2, aux={"normal": Aux(file="brick_normal.jpg")})
    frame = read_source(folder / "brick_base_gray.jpg", source)
    left, right = (
        Relight(lights=(DirectionalLight(azimuth=turn, elevation=35.0),)).apply(frame).data for turn in (180.0, 0.0)
    )
    leftward = frame.aux["normal"][:, :1] < -0.3
    assert leftward.any()
    assert left[leftward.expand_as(left)].mean() > 2 * right[leftward.expand_as(right)].mean()
