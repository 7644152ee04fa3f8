"""Codec operators: where blocks lie, what margins they need, and codecs of other libraries against these."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from degrade import Frame, Grid, Recipe, RecipeError, Sensor, Space, Spec
from degrade.core.operator import Operator
from degrade.maths.jpeg import compress
from degrade.operators.codec import Jpeg, VideoFrame, WebP
from degrade.recipe.render import render


def frame(b: int = 1, size: int = 64, margin: int = 0) -> Frame:
    cat = torch.from_numpy(skimage.data.chelsea().copy()).permute(2, 0, 1).float() / 255
    n = size + 2 * margin
    data = torch.stack([cat[:, 20 + 30 * i : 20 + 30 * i + n, 100 : 100 + n] for i in range(b)])
    return Frame(data, Space.DISPLAY, Sensor.make(b), grid=Grid(offset=(-float(margin), -float(margin))))


def recipe(*operators: dict[str, Any], margin: int = 32, size: int = 48) -> Recipe:
    named = {f"step{i}": op for i, op in enumerate(operators)}
    return Recipe.model_validate(
        {
            "source": {"space": "display"},
            "operators": {
                "patches": {"op": "grid_crop", "size": size, "margin": margin, "per_photo": 4},
                **named,
            },
            "planes": {"clean": ["patches"], "poor": ["patches", *named]},
        }
    )


def psnr(a: Frame, b: Frame) -> float:
    return -10 * (a.data - b.data).square().mean().log10().item()


JPEG = {"op": "jpeg", "quality": 30}
BLUR = {"op": "psf_blur", "radius": 3, "kernels": [{"psf": "gaussian", "sigma": 0.8}]}


# -- jpeg -------------------------------------------------------------------------------------------------------------


def test_blocks_start_at_the_patchs_own_corner() -> None:
    for margin in (0, 3, 8, 12):
        done = Jpeg(quality=20, sampling="4:4:4").apply(frame(margin=margin))
        inside = frame(margin=margin).trim(margin).data if margin else frame().data
        assert torch.equal(done.trim(margin).data, compress(inside, 20, "4:4:4"))


@pytest.mark.parametrize(("sampling", "size", "after", "need"), [
    ("4:4:4", (64, 64), 0, 0),
    ("4:4:4", (64, 64), 3, 8),
    ("4:4:4", (60, 64), 0, 8),
    ("4:4:4", (64, 60), 9, 16),
    ("4:2:0", (64, 64), 0, 16),
    ("4:2:2", (64, 64), 15, 32),
])  # fmt: skip
def test_margins_hold_whole_blocks(sampling: Any, size: tuple[int, int], after: int, need: int) -> None:
    assert Jpeg(quality=50, sampling=sampling).needs(Spec(Space.DISPLAY, 3, size), after) == need


def test_a_patch_is_part_of_a_larger_jpeg() -> None:
    """Rendered with more planes, thus more margin, a patch is the same; a whole picture compressed holds it."""
    photo = frame(size=192)
    alone = render(recipe(JPEG), photo, "p.png")["poor"]
    blurred = recipe(JPEG, {**BLUR}, margin=32)
    more = blurred.changed(planes={**{n: p.path for n, p in blurred.planes.items()}, "mid": ["patches", "step0"]})
    assert torch.equal(render(more, photo, "p.png", planes=["mid"])["mid"].data, alone.data)
    assert alone.origin[0].tolist() == [32, 32]  # whole blocks from the photo's own corner
    whole = Jpeg(quality=30).apply(photo)
    assert torch.equal(whole.data[0, :, 32:80, 32:80], alone.data[0])


def test_rows_have_their_own_quality() -> None:
    many = Jpeg.model_construct(per="patch", quality=np.array([10, 90]), sampling="4:2:0").apply(frame(2))
    clean = frame(2)
    errors = (many.data - clean.data).square().mean((1, 2, 3))
    assert errors[0] > 4 * errors[1]


def test_jpeg_ends_in_levels_that_a_store_keeps_as_bytes() -> None:
    found = recipe(JPEG)
    assert found.specs["poor"].digital
    assert not found.specs["clean"].digital


# -- the other libraries' ---------------------------------------------------------------------------------------------


def test_webp_is_libwebps() -> None:
    given = frame(2)
    done = WebP(quality=40).apply(given)
    for row in range(2):
        image = (given.data[row] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        file = io.BytesIO()
        Image.fromarray(image).save(file, "WEBP", quality=40, method=4)
        wanted = np.asarray(Image.open(file).convert("RGB"))
        error = np.abs((done.data[row] * 255).round().permute(1, 2, 0).numpy() - wanted)
        assert error.mean() < 0.5  # Pillow has a libwebp of its own


@pytest.mark.parametrize(("strong", "weak"), [
    (WebP(quality=5), WebP(quality=95)),
    (VideoFrame(crf=45), VideoFrame(crf=15)),
    (VideoFrame(crf=45, frame="inter", shift_x=2), VideoFrame(crf=15, frame="inter", shift_x=2)),
])  # fmt: skip
def test_strength_takes_away_and_leaves_the_picture(strong: Operator, weak: Operator) -> None:
    given = frame()
    poor, good = (psnr(op.apply(given), given) for op in (strong, weak))
    assert 18 < poor < good - 5
    assert good > 33


def test_lossless_video_loses_only_chroma() -> None:
    given = frame(size=62)
    lossless = VideoFrame(crf=0).apply(given)
    luma = (torch.tensor([0.299, 0.587, 0.114]).reshape(3, 1, 1) * (lossless.data - given.data)).sum(1)
    assert luma.abs().mean() < 2.5 / 255
    assert torch.equal(lossless.data, VideoFrame(crf=0, frame="inter", shift_y=3).apply(given).data)


def test_a_predicted_frame_differs_from_one_by_itself_and_follows_its_motion() -> None:
    given = frame()
    done = [VideoFrame(crf=32, frame="inter", shift_x=d).apply(given).data for d in (0, 5)]
    alone = VideoFrame(crf=32).apply(given).data
    assert not torch.equal(done[0], alone)
    assert not torch.equal(done[0], done[1])


@pytest.mark.parametrize("op", [WebP(quality=20, margin=6), VideoFrame(crf=35, margin=6)])
def test_what_they_compress_does_not_depend_on_what_else_is_there(op: Operator) -> None:
    wide, tight = op.apply(frame(margin=20)), op.apply(frame(margin=20).trim(14))
    assert torch.equal(wide.trim(14).data, tight.data)


def test_odd_sizes_are_coded() -> None:
    odd = frame(size=33)
    assert VideoFrame(crf=20).apply(odd).data.shape == odd.data.shape
    assert psnr(VideoFrame(crf=20).apply(odd), odd) > 28


# -- what cannot be ---------------------------------------------------------------------------------------------------


def test_what_follows_must_not_look_beyond_what_was_compressed() -> None:
    with pytest.raises(ValueError, match=r"webp: what follows looks 3 pixels beyond the patch, margin is 0: set "):
        recipe({"op": "webp", "quality": 50}, BLUR)
    assert recipe({"op": "webp", "quality": 50, "margin": 3}, BLUR).specs["poor"].size == (48, 48)


def test_a_jpeg_needs_margin_for_whole_blocks() -> None:
    with pytest.raises(ValueError, match=r"look 16 pixels beyond a patch, margin is 8: set margin: 16"):
        recipe(JPEG, margin=8)


def test_raw_is_no_picture() -> None:
    with pytest.raises(RecipeError, match="jpeg works on DISPLAY, but stands where the picture is LINEAR"):
        Jpeg(quality=50).plan(Spec(Space.LINEAR, 3, (64, 64)))


@pytest.mark.parametrize(("op", "said"), [
    ({"op": "jpeg", "quality": 0}, "greater than or equal to 1"),
    ({"op": "jpeg", "quality": {"integer": [50, 101]}}, "less than or equal to 100"),
    ({"op": "jpeg", "quality": 50, "sampling": "4:1:1"}, "4:4:4"),
    ({"op": "video_frame", "crf": 52}, "less than or equal to 51"),
    ({"op": "webp", "quality": 50, "effort": 7}, "less than or equal to 6"),
])  # fmt: skip
def test_bounds_are_checked_when_the_recipe_is_read(op: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Operator.model_validate(op)


def test_video_without_its_library_is_refused_before_any_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)  # as where it is not installed
    with pytest.raises(RecipeError, match=r"needs PyAV, which is not installed: pip install 'degrade\[video\]'"):
        VideoFrame(crf=30).plan(Spec(Space.DISPLAY, 3, (64, 64)))
