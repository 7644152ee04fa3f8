"""Every shipped pipeline: it loads, its twin in Python is equal, a small store of it replays bit for bit."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import photos
import pytest
import test_defocus
import test_fog
import test_relight
import torch
from PIL import Image
from scipy import stats
from skimage import data
from skimage.io import imsave

from degrade import Camera, Choice, Frame, Integer, Key, Recipe, Space, Uniform
from degrade.operators.codec import Jpeg
from degrade.operators.crop import Crop, EdgeCrop
from degrade.operators.display_noise import GaussianNoise
from degrade.operators.light import Exposure
from degrade.operators.noise import SensorNoise
from degrade.operators.optics import PsfBlur
from degrade.operators.sampling import Downsample, Resize
from degrade.operators.sensor import Mosaic, Quantise
from degrade.operators.spatial import AnisotropicKernel, LinearMotionKernel, WanderingMotionKernel
from degrade.operators.style import DarkenEdges, Edges, ReduceColours, Smooth
from degrade.pairs.run import build
from degrade.pairs.store import PatchStore
from degrade.photos.read import read_source
from degrade.recipe.files import shipped
from degrade.recipe.recipe import Plane, Source
from degrade.recipe.render import render

RAW = Source(shrink=4, camera="demo-a")
DISPLAY = Source(space=Space.DISPLAY)

# -- the same in Python -----------------------------------------------------------------------------------------------


def planes(**paths: str) -> dict[str, Plane]:
    """Planes by name, each a path of names with blanks between them."""
    return {name: Plane(path=tuple(path.split())) for name, path in paths.items()}


def denoise() -> Recipe:
    return Recipe(
        seed=7,
        source=RAW,
        operators={
            "expose": Exposure(stops=Uniform(-2, 1.5)),
            "patches": Crop(size=128, margin=0, per_photo=256),
            "cfa": Mosaic(),
            "noise": SensorNoise(iso=Choice(*(100 * 2**stop for stop in range(9)))),
            "adc": Quantise(),
        },
        planes=planes(clean="expose patches cfa adc", noisy="expose patches cfa noise adc"),
    )


def deblur() -> Recipe:
    shake = WanderingMotionKernel(extent=Uniform(5, 20), length_scale=Uniform(0.2, 0.5))
    pan = LinearMotionKernel(length=Uniform(3, 25), angle=Uniform(-90, 90))
    return Recipe(
        seed=7,
        source=RAW,
        operators={
            "expose": Exposure(stops=Uniform(0, 1.5)),
            "patches": Crop(size=128, margin=32, per_photo=256),
            "motion": PsfBlur(kernels=(Choice(shake, pan),)),
            "cfa": Mosaic(),
            "noise": SensorNoise(iso=Choice(100, 200, 400, 800, 1600), reference="blurred"),
            "adc": Quantise(),
        },
        planes=planes(sharp="expose patches cfa noise adc", blurred="expose patches motion cfa noise adc"),
    )


def gradient_sr() -> Recipe:
    return Recipe(
        seed=7,
        source=DISPLAY,
        operators={
            "patches": Crop(size=96, margin=16, per_photo=64),
            "half": Resize(factor=2),
            "quarter": Resize(factor=4),
            "eighth": Resize(factor=8),
            "levels": Quantise(),
        },
        planes=planes(
            hr="patches levels", lr2="patches half levels", lr4="patches quarter levels", lr8="patches eighth levels"
        ),
    )


def perception_sr() -> Recipe:
    return Recipe(
        seed=7,
        source=DISPLAY,
        operators={
            "patches": Crop(size=128, margin=16, per_photo=64),
            "half": Resize(factor=2),
            "quarter": Resize(factor=4),
            "levels": Quantise(),
        },
        planes=planes(hr="patches levels", middle="patches half levels", lr="patches quarter levels"),
    )


def face_sr() -> Recipe:
    wide = Uniform(0.1, 10)
    even = AnisotropicKernel(point=True, sigma_x=wide)
    long = AnisotropicKernel(point=True, sigma_x=wide, sigma_y=wide, rotation=Uniform(-180, 180))
    return Recipe(
        seed=7,
        source=DISPLAY,
        operators={
            "patches": Crop(size=512, margin=0, per_photo=4),
            "blur": PsfBlur(border="reflect", radius=20, kernels=(Choice(even, long),)),
            "smaller": Resize(factor=Uniform(0.8, 8), filter="bilinear", antialias=False),
            "noise": GaussianNoise(sigma=Uniform(0, 20)),
            "jpeg": Jpeg(quality=Integer(60, 100)),
            "size": Resize(size=512, filter="bilinear", antialias=False),
            "levels": Quantise(),
        },
        planes=planes(hq="patches levels", lq="patches blur smaller noise jpeg size levels"),
    )


def painting() -> dict[str, Any]:
    return {
        "lines": Edges(gradient="sobel", threshold=0.12),
        "soft": Smooth(method="gaussian", sigma=Uniform(1, 3), radius=9),
        "few": ReduceColours(colours=Integer(24, 128)),
        "ink": DarkenEdges(factor=Uniform(0.2, 0.6)),
        "levels": Quantise(),
    }


def stylise() -> Recipe:
    patches = EdgeCrop(size=500, margin=0, per_photo=64, share=0.05, rich=0.3, poor=0.6)
    return Recipe(
        seed=7,
        source=DISPLAY,
        operators={**painting(), "patches": patches},
        planes=planes(original="lines patches levels", painted="lines soft few ink patches levels"),
        store=("original", "painted"),
    )


def stylise_whole() -> Recipe:
    return Recipe(
        seed=7,
        source=DISPLAY,
        operators={**painting(), "shrink": Downsample(factor=4), "whole": Crop(size=500, margin=0, per_photo=1)},
        planes=planes(
            original="shrink whole levels",
            painted="shrink lines soft few ink whole levels",
            painted_late="lines soft few ink shrink whole levels",
        ),
        store=("original", "painted"),
    )


#: The twins of this file, and the files of the others.
TWINS: dict[str, Callable[[], Recipe]] = {
    "deblur": deblur,
    "defocus": test_defocus.pipeline,
    "denoise": denoise,
    "face_sr": face_sr,
    "fog": test_fog.pipeline,
    "gradient_sr": gradient_sr,
    "perception_sr": perception_sr,
    "relight": test_relight.pipeline,
    "stylise": stylise,
    "stylise_whole": stylise_whole,
}
ELSEWHERE = {
    "bsrgan": "test_classical",
    "real_esrgan": "test_classical",
    "residual_maps": "test_recipe",
    "unprocess": "test_develop",
}
PIPELINES = sorted(name.replace("-", "_") for name in shipped())


@pytest.mark.parametrize("name", TWINS)
def test_yaml_is_python(name: str) -> None:
    assert TWINS[name]() == Recipe.load(name)
    assert TWINS[name]().hash == Recipe.load(name).hash


def test_every_pipeline_has_a_twin(root: Path) -> None:
    assert sorted([*TWINS, *ELSEWHERE]) == PIPELINES
    for name, where in ELSEWHERE.items():
        text = (root / "tests" / f"{where}.py").read_text("utf-8").replace("-", "_")
        assert f'Recipe.load("{name}")' in text


def test_every_pipeline_is_told(root: Path) -> None:
    """In the table; a sheet below it shows one once somebody has built it."""
    text = (root / "docs" / "pipelines.md").read_text("utf-8")
    assert [name for name in PIPELINES if not re.search(rf"^\|.*`{name}`", text, re.MULTILINE)] == []


# -- stores -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a RAW photograph, maps beside it, and a picture."""
    folder, size = tmp_path_factory.mktemp("pipelines"), (800, 816)
    photos.write_photos(folder / "raw", 1, size)
    y, x = np.meshgrid(*(np.linspace(-1, 1, n // 4) for n in size), indexing="ij")
    depth = np.where(x > np.sin(4 * y), 1500, 4000) * (1.5 - y / 2)  # two surfaces, farther at the top [mm]
    up = np.stack((x / 2, -y / 2, np.sqrt(1 - (x**2 + y**2) / 4)), axis=-1)
    for kind, whole in (("depth", depth), ("normal", np.round((up + 1) / 2 * 65535))):
        (folder / kind).mkdir()
        (folder / kind / "p000.png").write_bytes(imagecodecs.png_encode(whole.astype(np.uint16)))
    (folder / "pictures").mkdir()
    picture = np.pad(data.astronaut(), ((0, 64), (0, 64), (0, 0)), mode="reflect")
    imsave(folder / "pictures" / "p000.png", picture)
    return folder


def small(recipe: Recipe) -> Recipe:
    """Three rows a photo, no larger than a photograph of this file."""
    name, whole = recipe.paths.crop_name, "shrink" in recipe.operators
    changes = {"per_photo": min(3, recipe.crop.per_photo), **({"size": 128} if whole else {})}
    return recipe.changed(operators={**recipe.operators, name: recipe.crop.model_copy(update=changes)})


@pytest.mark.parametrize("name", PIPELINES)
def test_built_small_and_replayed(name: str, home: Path, tmp_path: Path) -> None:
    recipe = small(Recipe.load(name))
    folder = home / ("pictures" if recipe.source.space is Space.DISPLAY else "raw")
    assert build(recipe, folder, tmp_path / "store", workers=1).exit_code == 0
    store = PatchStore(tmp_path / "store")
    assert len(store.rows) == recipe.crop.per_photo
    first, *others = (store.read(plane, store.rows) for plane in recipe.stored)
    assert first.std() > 0.02
    assert not any(first.shape == other.shape and np.array_equal(first, other) for other in others)
    assert store.replay(int(store.rows[-1]), photos=folder).identical


# -- what they promise ------------------------------------------------------------------------------------------------


def rendered(recipe: Recipe, home: Path, **paths: str) -> dict[str, Frame]:
    """Three rows of the photograph, of planes of its own where some are named."""
    recipe = small(recipe).changed(**({"planes": planes(**paths)} if paths else {}))
    folder = "pictures/p000.png" if recipe.source.space is Space.DISPLAY else "raw/p000.dng"
    return render(recipe, read_source(home / folder, recipe.source), "p000")


def test_noise_for_denoising_has_the_variance_it_says(home: Path) -> None:
    found = rendered(denoise(), home, clean="expose patches cfa", noisy="expose patches cfa noise")
    clean, noisy = found["clean"], found["noisy"]
    camera, iso = Camera.named("demo-a"), noisy.sensor.iso.reshape(-1, 1, 1, 1) / 100
    k1, k0 = (torch.tensor(k).reshape(1, 4, 1, 1) for k in (camera.k1, camera.k0))
    well = camera.white - camera.black
    sigma = ((k1 * well * clean.data.clamp(0, 1) + k0) * iso).sqrt() / well
    unit = (noisy.data - clean.data) / sigma
    assert abs(unit.std().item() - 1) < 0.02
    assert abs(unit.mean().item()) < 0.02


def test_planes_for_deblurring_differ_by_the_blur_alone(home: Path) -> None:
    ends = {"sharp": "expose patches cfa", "blurred": "expose patches motion cfa"}
    noisy = {name: f"{path} noise" for name, path in ends.items()}
    found = rendered(deblur(), home, **noisy, **{f"{name}_still": path for name, path in ends.items()})
    sharp, blurred = (found[name].data - found[f"{name}_still"].data for name in ends)
    assert sharp.std() > 1e-3
    assert torch.allclose(sharp, blurred, atol=1e-6)
    assert (found["sharp_still"].data - found["blurred_still"].data).std() > 1e-3


@pytest.mark.parametrize("recipe", [gradient_sr(), perception_sr()], ids=["gradient_sr", "perception_sr"])
def test_low_resolution_is_high_resolution_by_pillow(recipe: Recipe, home: Path) -> None:
    high, *lower = rendered(recipe, home).values()
    for low in lower:
        factor, (h, w) = int(low.grid.scale[0]), low.size
        assert (low.grid.offset, h * factor) == ((0.0, 0.0), high.size[0])
        for a, b in zip(high.data.flatten(0, 1), low.data.flatten(0, 1), strict=True):
            peer = np.asarray(Image.fromarray(a.numpy()).resize((w, h), Image.Resampling.BICUBIC))
            assert np.abs(peer.clip(0, 1) - b.numpy())[2:-2, 2:-2].max() < 1.5 / 255  # both are on levels


def test_faces_have_the_published_ranges() -> None:
    draws = face_sr().columns(Key(5).at("a.png").at(np.arange(2000)), Key(5)).values
    ranges = {
        "blur.kernels.0.sigma_x": (0.1, 10),
        "blur.kernels.0.rotation": (-180, 180),
        "smaller.factor": (0.8, 8),
        "noise.sigma": (0, 20),
    }
    for name, (low, high) in ranges.items():
        values = draws[name][np.isfinite(draws[name])]
        assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 0.01
    assert abs(np.isfinite(draws["blur.kernels.0.rotation"]).mean() - 0.5) < 0.05
    assert set(draws["jpeg.quality"]) == set(range(60, 101))


#: Pixels that the planes of a pipeline look beyond a patch, and that operators before the crop lose at the border.
MARGINS = {
    **dict.fromkeys(("deblur", "fog", "relight", "residual-maps"), (15, 0)),
    "defocus": (24, 0),
    "gradient-sr": (16, 0),
    "perception-sr": (8, 0),
    "real-esrgan": (0, 50),
}


@pytest.mark.parametrize("name", shipped())
def test_margins_stay_what_they_are(name: str) -> None:
    paths = Recipe.load(name).paths
    need = max(pixels for path, pixels in paths.margins.items() if path[-1] == paths.crop_name)
    assert (need, paths.border) == MARGINS.get(name, (0, 0))
