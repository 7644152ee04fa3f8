"""Ordinary pictures: every kind keeps its numbers, and what is no picture is refused in a sentence."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image

from degrade.core.frame import Space
from degrade.photos import PhotoError, read_photo, read_picture


def picture(dtype: Any, *shape: int) -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def save(path: Path, image: Image.Image, **options: Any) -> None:
    image.save(path, **options)


def codes(path: Path) -> NDArray[np.int64]:
    """(h, w, 3) whole numbers of a picture read as DISPLAY."""
    frame = read_picture(path, space="display")
    assert frame.space is Space.DISPLAY
    assert frame.data.dtype == torch.float32
    assert frame.data.is_contiguous()
    return (frame.data[0].double() * frame.sensor.white.double()).round().long().permute(1, 2, 0).numpy()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [(), (2,), (3,), (4,)])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_all_bits_are_kept_grey_becomes_rgb_and_alpha_is_dropped(
    tmp_path: Path, dtype: Any, channels: tuple[int, ...], suffix: str
) -> None:
    pixels = picture(dtype, 11, 13, *channels)
    path = tmp_path / f"a{suffix}"
    if suffix == ".png":
        path.write_bytes(imagecodecs.png_encode(pixels))
    else:
        grey = len(channels) == 0 or channels[0] == 2
        extra = ["unassalpha"] if channels in ((2,), (4,)) else None
        kind = "minisblack" if grey else "rgb"
        tifffile.imwrite(
            path, pixels, photometric=kind, planarconfig="contig" if channels else None, extrasamples=extra
        )
    colours = pixels[..., None] if not channels else pixels[..., :1] if channels[0] == 2 else pixels[..., :3]
    assert np.array_equal(codes(path), np.broadcast_to(colours, (11, 13, 3)))
    sensor = read_picture(path, space="linear").sensor
    bits = 8 * pixels.itemsize
    assert (sensor.black.item(), sensor.white.item(), sensor.bits.item()) == (0, 2**bits - 1, bits)


@pytest.mark.parametrize(
    "options", [{"compression": "zlib"}, {"compression": "lzw", "predictor": True}, {"tile": (16, 16)}]
)
def test_compressed_tiled_and_planar_tiffs(tmp_path: Path, options: dict[str, Any]) -> None:
    pixels = picture(np.uint16, 20, 30, 3)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", **options)
    tifffile.imwrite(
        tmp_path / "b.tif", np.moveaxis(pixels, 2, 0), photometric="rgb", planarconfig="separate", **options
    )
    assert np.array_equal(codes(tmp_path / "a.tif"), pixels)
    assert np.array_equal(codes(tmp_path / "b.tif"), pixels)


def test_palettes_and_reversed_grey(tmp_path: Path) -> None:
    colour = Image.fromarray(picture(np.uint8, 9, 8, 3)).quantize(16)
    wanted = np.asarray(colour.convert("RGB"))
    save(tmp_path / "a.png", colour)
    assert np.array_equal(codes(tmp_path / "a.png"), wanted)
    save(tmp_path / "a.tif", colour)
    display = read_picture(tmp_path / "a.tif", space="display").data[0].permute(1, 2, 0)
    np.testing.assert_allclose(display, wanted / 255, atol=1 / 255)
    grey = picture(np.uint8, 9, 8)
    tifffile.imwrite(tmp_path / "b.tif", grey, photometric="miniswhite")
    assert np.array_equal(codes(tmp_path / "b.tif")[..., 0], 255 - grey)
    save(tmp_path / "c.png", Image.fromarray(grey > 99))  # one bit a pixel
    assert np.array_equal(codes(tmp_path / "c.png")[..., 0], 255 * (grey > 99))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_agrees_with_pillow(tmp_path: Path, mode: str) -> None:
    save(tmp_path / "a.jpg", Image.fromarray(picture(np.uint8, 40, 50, 3)).convert(mode), quality=90)
    wanted = np.asarray(Image.open(tmp_path / "a.jpg").convert("RGB")).astype(int)
    assert np.abs(codes(tmp_path / "a.jpg") - wanted).max() <= 1


def test_orientation_is_not_applied_and_a_wrong_name_does_no_harm(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "a.png", Image.fromarray(picture(np.uint8, 16, 32, 3)), format="JPEG", exif=exif)
    assert read_photo(tmp_path / "a.png", space="display").size == (16, 32)


def test_linear_light_is_the_standards_and_shrinks_there(tmp_path: Path) -> None:
    pixels = picture(np.uint16, 12, 15, 3)
    pixels[:2] = 100  # the straight piece of the curve
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    y = pixels / 65535
    light = np.where(y <= 0.04045, y / 12.92, ((y + 0.055) / 1.055) ** 2.4)
    linear = read_picture(tmp_path / "a.png", space="linear")
    np.testing.assert_allclose(linear.data[0].permute(1, 2, 0), light, atol=1e-6)
    small = read_picture(tmp_path / "a.png", space="linear", shrink=4)
    np.testing.assert_allclose(
        small.data[0].permute(1, 2, 0), light[:, :12].reshape(3, 4, 3, 4, 3).mean((1, 3)), atol=1e-6
    )
    assert (small.size, small.grid.scale, small.grid.offset) == ((3, 3), (4, 4), (0, 0))
    shown = read_picture(tmp_path / "a.png", space="display", shrink=4)
    np.testing.assert_allclose(shown.data[0].permute(1, 2, 0), y[:, :12].reshape(3, 4, 3, 4, 3).mean((1, 3)), atol=1e-6)
    assert torch.equal(linear.neutral, torch.ones(1, 3, 1, 1))
    assert torch.equal(linear.sensor.matrix, torch.eye(3)[None])
    assert linear.sensor.centre.tolist() == small.sensor.centre.tolist() == [[5.5, 7]]
    assert linear.noise is None


def test_clipped_is_where_any_channel_is_full(tmp_path: Path) -> None:
    pixels = np.full((4, 4, 3), 250, np.uint8)
    pixels[0, 1, 2] = pixels[0, 1, 0] = pixels[3, 3, 1] = 255
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    assert read_picture(tmp_path / "a.png", space="linear").aux["clipped"].nonzero()[:, 2:].tolist() == [[0, 1], [3, 3]]
    small = read_picture(tmp_path / "a.png", space="linear", shrink=2).aux["clipped"]
    assert small.tolist() == [[[[0.25, 0], [0, 0.25]]]]
    assert not read_picture(tmp_path / "a.png", space="display").aux


def test_iso_may_be_stated(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(picture(np.uint8, 4, 4)))
    assert read_photo(tmp_path / "a.png", space="linear").sensor.iso.isnan().all()
    assert read_photo(tmp_path / "a.png", space="linear", iso=800).sensor.iso.tolist() == [800]
    with pytest.raises(ValueError, match="iso must be above 0"):
        read_photo(tmp_path / "a.png", space="linear", iso=-1)


def jpeg(mode: str, **options: Any) -> bytes:
    held = io.BytesIO()
    Image.fromarray(picture(np.uint8, 200, 300, 3)).convert(mode).save(held, "JPEG", **options)
    return held.getvalue()


def tiff(pixels: NDArray[Any], **options: Any) -> bytes:
    held = io.BytesIO()
    tifffile.imwrite(held, pixels, **options)
    return held.getvalue()


PNG = imagecodecs.png_encode(picture(np.uint8, 200, 300, 3))
TIFF = tiff(picture(np.uint8, 200, 300, 3), photometric="rgb")


@pytest.mark.parametrize(
    ("content", "saying"),
    [
        (b"", "neither PNG, JPEG nor TIFF"),
        (b"hello", "neither PNG, JPEG nor TIFF"),
        (PNG[: len(PNG) // 2], "cannot be decoded"),
        (PNG[:20], "cannot be decoded"),
        (jpeg("RGB")[:9000], "is cut short: its JPEG data has no end mark"),
        (jpeg("RGB", exif=b"Exif\0\0" + jpeg("L")[-900:])[:9000], "is cut short"),  # a whole thumbnail before the cut
        (jpeg("RGB")[:3], "is cut short"),
        (jpeg("CMYK"), "CMYK"),
        (TIFF[: len(TIFF) // 2], "is cut short: the picture needs"),
        (TIFF[:100], "cannot be decoded"),
        (tiff(picture(np.uint8, 9, 9).astype(np.float32)), "32 bits a sample"),
        (tiff(picture(np.uint8, 9, 9) > 99), "1 bits a sample"),
        (tiff(picture(np.int16, 9, 9)), "samples of int16"),
        (tiff(picture(np.uint8, 9, 9, 4), photometric="separated"), "not a grey, RGB or palette TIFF"),
        (tiff(picture(np.uint16, 9, 9), photometric=32803), "holds a camera's mosaic"),
    ],
)
def test_what_is_no_whole_picture_is_refused_in_a_sentence(tmp_path: Path, content: bytes, saying: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(PhotoError, match=saying) as caught:
        read_photo(tmp_path / "a.png", space="linear")
    assert str(tmp_path / "a.png") in str(caught.value)


def test_missing_and_too_small(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="cannot be opened"):
        read_picture(tmp_path / "a.png", space="linear")
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(picture(np.uint8, 4, 9)))
    with pytest.raises(PhotoError, match=r"too small for shrink 5 \(4 x 9 pixels\)"):
        read_picture(tmp_path / "a.png", space="linear", shrink=5)


def test_wrong_arguments_are_the_callers_error_not_the_photos(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    for arguments, saying in (
        ({"space": "mosaic"}, "got mosaic"),
        ({"space": "linear", "shrink": 0}, "from 1 up, got 0"),
        ({"space": "linear", "shrink": 1.5}, "from 1 up, got 1.5"),
    ):
        with pytest.raises(ValueError, match=saying) as caught:
            read_photo(tmp_path / "a.png", **arguments)
        assert not isinstance(caught.value, PhotoError)
