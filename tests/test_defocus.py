"""Defocus by depth: discs at constant depth, what is sharp stays bit for bit, near covers far and is not bled into."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import photos
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from degrade import Choice, Frame, PhotoError, Recipe, RecipeError, Sensor, Space
from degrade.core.maps import Aux
from degrade.maths.depth import confusion, defocused, radii
from degrade.operators.crop import Crop
from degrade.operators.defocus import DepthDefocus
from degrade.operators.kernels import DiscKernel
from degrade.operators.noise import SensorNoise
from degrade.operators.optics import PsfBlur
from degrade.operators.sensor import Mosaic, Quantise
from degrade.pairs.run import build
from degrade.pairs.store import PatchStore
from degrade.recipe.recipe import Plane, Source

SIZE = 48


def scene(depth: Tensor | float, b: int = 1, **changes: Any) -> Frame:
    rng = np.random.default_rng(6)
    data = torch.from_numpy(rng.uniform(0, 4, (b, 3, SIZE, SIZE)).astype(np.float32))
    found = depth if isinstance(depth, Tensor) else torch.full((b, 1, SIZE, SIZE), depth)
    return Frame(
        data, Space.LINEAR, Sensor.make(b, pitch=4.0), aux={"depth": found.expand(b, 1, SIZE, SIZE)}, **changes
    )


def halves(left: float, right: float) -> Tensor:
    """Depth of two surfaces that meet in the middle."""
    return torch.where(torch.arange(SIZE) < SIZE // 2, left, right).expand(1, 1, SIZE, SIZE)


@pytest.mark.parametrize("radius", radii(8.0, 8)[1:])
@pytest.mark.parametrize("side", [1, -1])
def test_a_constant_depth_is_a_disc(radius: float, side: int) -> None:
    frame = scene(math.inf if side > 0 else 1.0, noise=torch.full((1, 2, 3), 1e-4))
    op = DepthDefocus(focus=2.0, blur=radius * 2, radius=8)
    disc = PsfBlur(kernels=(DiscKernel(radius=radius),), radius=8)
    found, truth = op.apply(frame).trim(8), disc.apply(frame).trim(8)
    assert (found.data - truth.data).abs().max() < 2e-5
    assert found.noise is not None
    assert torch.allclose(found.noise, truth.noise, rtol=1e-4)


@pytest.mark.parametrize("radius", [0.4, 1.3, 2.7, 6.0])
def test_between_two_layers_it_is_nearly_one_and_of_its_variance(radius: float) -> None:
    dot = torch.zeros(1, 1, SIZE, SIZE)
    dot[..., 24, 24] = 1
    found, _ = defocused(dot, torch.full_like(dot, radius), 8, 8)
    y = torch.arange(SIZE).double() - 24
    variance = (found[0, 0].double().sum(1) * y**2).sum().item()
    low = max(r for r in radii(8.0, 8) if r <= radius)
    high = min(r for r in radii(8.0, 8) if r > radius)
    share = (radius**2 - low**2) / (high**2 - low**2)
    ends = [
        (defocused(dot, torch.full_like(dot, r), 8, 8)[0][0, 0].double().sum(1) * y**2).sum().item()
        for r in (low, high)
    ]
    assert variance == pytest.approx((1 - share) * ends[0] + share * ends[1], abs=1e-4)
    assert variance == pytest.approx(radius**2 / 4, abs=0.15)  # and a pixel's own, about 1/12
    assert found.sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("blur", [0.0, 9.0])
def test_no_blur_is_the_picture_itself(blur: float) -> None:
    frame = scene(2.0 if blur else 7.0, noise=torch.full((1, 2, 3), 1e-4))
    done = DepthDefocus(focus=2.0, blur=blur).apply(frame)
    assert torch.equal(done.data, frame.data)
    assert torch.equal(done.noise, frame.noise)


def test_a_sharp_row_stays_beside_blurred_ones() -> None:
    frame = scene(5.0, b=3)
    op = DepthDefocus.model_construct(
        **{**DepthDefocus(focus=2.0, blur=1.0).__dict__, "blur": np.array([0.0, 9.0, 20.0])}
    )
    done = op.apply(frame).data
    assert torch.equal(done[0], frame.data[0])
    assert not torch.equal(done[1], done[2])


def test_a_sharp_subject_before_a_blurred_background_is_untouched() -> None:
    frame = scene(halves(2.0, math.inf))
    done = DepthDefocus(focus=2.0, blur=12.0, radius=8).apply(frame).data
    assert torch.equal(done[..., :24], frame.data[..., :24])
    assert (done - frame.data)[..., 26:].abs().mean() > 0.3


def test_nothing_of_a_sharp_subject_bleeds_into_the_background() -> None:
    """A white subject before black: the background stays black up to the very edge."""
    depth, data = halves(2.0, math.inf), torch.zeros(1, 3, SIZE, SIZE)
    data[..., :24] = 1
    done = DepthDefocus(focus=2.0, blur=12.0, radius=8).apply(scene(depth).with_data(data)).data
    assert done[..., 8:-8, 24:-8].abs().max() < 1e-4


def test_a_blurred_foreground_covers_a_sharp_background() -> None:
    """White before black: the edge is the integral of the disc, half at the edge itself, over what was sharp."""
    depth, data = halves(1.0, 2.0), torch.zeros(1, 3, SIZE, SIZE)
    data[..., :24] = 1
    done = DepthDefocus(focus=2.0, blur=16.0, radius=8).apply(scene(depth).with_data(data)).data[0, 0, 24]
    x = torch.arange(SIZE).double() - 23.5  # of pixels from the edge
    u = (x / 8).clamp(-1, 1)
    truth = (torch.acos(u) - u * (1 - u * u).sqrt()) / math.pi
    assert (done - truth)[24:-8].abs().max() < 2e-3
    assert done[8:24].min() > 0.999  # behind it is taken to be what is seen: itself


def test_a_slanted_surface_of_one_colour_keeps_it() -> None:
    depth = (1 / torch.linspace(0.1, 1.2, SIZE)).expand(1, 1, SIZE, SIZE)
    flat = torch.full((1, 3, SIZE, SIZE), 0.7)
    done = DepthDefocus(focus=2.0, blur=10.0, radius=8).apply(scene(depth).with_data(flat)).data
    assert (done - 0.7)[..., 8:-8, 8:-8].abs().max() < 1e-5


def test_a_thin_lens_by_its_textbook_formula() -> None:
    f, n, s, pitch = 50e-3, 2.0, 2.0, 4e-6
    d = torch.tensor([0.5, 1.0, 5.0, math.inf], dtype=torch.float64)
    blur = torch.tensor(f * f * s / (2 * n * pitch * (s - f)), dtype=torch.float64)
    found = confusion(d, torch.tensor(s), blur)
    image, focused = 1 / (1 / f - 1 / d), 1 / (1 / f - 1 / s)  # where a point and the focus are imaged
    diameter = f / n * (focused - image).abs() / image
    assert torch.allclose(found.abs() * 2 * pitch, diameter, rtol=1e-9)
    frame = scene(3.0)
    lens = DepthDefocus(focus=2.0, focal_length=8.0, f_number=4.0, radius=4)
    plain = DepthDefocus(focus=2.0, blur=8e-3**2 * 2 / (2 * 4 * 4e-6 * (2 - 8e-3)), radius=4)
    assert torch.allclose(lens.apply(frame).data, plain.apply(frame).data, atol=1e-5)


def test_radii_end_where_it_says_and_that_is_noted() -> None:
    done = DepthDefocus(focus=2.0, blur=100.0, radius=3).apply(scene(halves(2.0, 9.0)))
    assert done.notes["limited"].tolist() == [0.5]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"focus": 2.0}, "give either blur, or both focal_length and f_number"),
        ({"focus": 2.0, "blur": 1.0, "f_number": 2.0}, "give either blur, or both"),
        ({"focus": 2.0, "blur": 1.0, "focal_length": 2.0, "f_number": 2.0}, "give either blur, or both"),
        ({"focus": 0.0, "blur": 1.0}, "greater than 0.01"),
    ],
)
def test_wrong_fields_are_told(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DepthDefocus(**fields)


def test_what_is_missing_is_told() -> None:
    frame = scene(2.0)
    lens = DepthDefocus(focus=0.04, focal_length=50.0, f_number=2.0)
    with pytest.raises(RecipeError, match="focuses beyond its focal length"):
        lens.apply(frame)
    with pytest.raises(RecipeError, match="a lens needs the pixel pitch"):
        lens.suits(Sensor.make())
    with pytest.raises(PhotoError, match="depth_defocus reads the map 'depth', the picture has none"):
        lens.apply(frame.with_data(frame.data, aux={}))


# -- the shipped pipeline ---------------------------------------------------------------------------------------------


def pipeline() -> Recipe:
    """The shipped pipeline, written in Python."""
    defocus = DepthDefocus(focus=2, blur=Choice(0, 5, 10, 20, 40), radius=24)
    return Recipe(
        seed=18,
        source=Source(shrink=4, camera="demo-a", aux={"depth": Aux(file="../depth/{stem}.png", scale=0.001)}),
        operators={
            "patches": Crop(size=128, margin=32, per_photo=256),
            "before": defocus,
            "after": defocus,
            "cfa": Mosaic(),
            "noise": SensorNoise(iso=Choice(100, 200, 400, 800)),
            "adc": Quantise(),
        },
        planes={
            "a": Plane(path=("patches", "before", "cfa", "noise", "adc")),
            "b": Plane(path=("patches", "after", "cfa", "adc")),
        },
    )


def test_built_small_and_replayed(tmp_path: Path) -> None:
    """Amounts are drawn, none among them; the subject in focus is the same in both planes."""
    folder = photos.write_photos(tmp_path / "photos", 1)
    (tmp_path / "depth").mkdir()
    depth = np.full(photos.SIZE, 2000, np.uint16)
    depth[:, 68:] = 9000
    (tmp_path / "depth" / "p000.png").write_bytes(imagecodecs.png_encode(depth))
    text = (
        Recipe.load("defocus").text().replace('"size": 128', '"size": 8').replace('"per_photo": 256', '"per_photo": 9')
    )
    text = text.replace('"margin": 32', '"margin": 4').replace('"radius": 24', '"radius": 4')
    recipe = Recipe.parse(text.replace('"before", "cfa", "noise", "adc"', '"before", "cfa", "adc"'))
    assert build(recipe, folder, tmp_path / "store", workers=1).exit_code == 0
    store = PatchStore(tmp_path / "store")
    a, b = (store.read(n, store.rows) for n in ("a", "b"))
    assert all(store.replay(int(r), photos=folder).identical for r in store.rows)
    draws = {store.row(int(r)).draws["before.blur"] for r in store.rows}
    assert len(draws) > 2
    assert not (a == b).all()
    assert (a == b).all(axis=(1, 2, 3)).any()  # patches of the subject alone
