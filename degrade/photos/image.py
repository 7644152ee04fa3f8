"""Ordinary pictures: PNG and JPEG (imagecodecs) and TIFF (tifffile), 8 or 16 bits, as DISPLAY or as LINEAR light.

The numbers are taken for sRGB; colour profiles are not applied.  Grey becomes RGB, a palette its colours, alpha is
dropped.  EXIF orientation is *not* applied: depth maps and masks beside a picture lie on its stored rows, RAW is not
turned either, and a lens or a noise pattern knows the sensor's rows only.  Pillow is not used, since it reads 16-bit
RGB as 8 bits.
"""

from __future__ import annotations

import math
import os
from typing import Any, Final

import imagecodecs
import numpy as np
import tifffile
import torch
from numpy.typing import NDArray

from degrade.core.disk import StrPath
from degrade.core.errors import PhotoError, RecipeError
from degrade.core.frame import Frame, Grid, Sensor, Space
from degrade.maths.colour import srgb_decode
from degrade.maths.resample import area
from degrade.photos.tags import DAMAGED, check_whole, silent

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_picture(path: StrPath, *, space: Space | str, shrink: int | None = None) -> Frame:
    """Read a picture as a frame of one row.

    Args:
        path: PNG, JPEG or TIFF; what counts is the content, not the name.
        space: DISPLAY (as stored, 0 to 1) or LINEAR (sRGB decoded: camera RGB *is* linear sRGB, neutral 1).
        shrink: picture pixels an output pixel spans, averaged in the light of ``space``; default 1.

    Returns:
        Frame with data (1, 3, h, w); ``grid`` in picture pixels; black 0, white 2^bits - 1; in LINEAR
        ``aux["clipped"]`` (1, 1, h, w) is the fraction of a pixel where any channel is at full scale.

    Raises:
        RecipeError: if the arguments are not allowed.
        PhotoError: if the file is not a whole picture of 8 or 16 bits, grey or RGB, or smaller than ``shrink``.

    >>> import tempfile, pathlib
    >>> grey = np.full((4, 6), 65535, np.uint16)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pathlib.Path(folder, "a.png").write_bytes(imagecodecs.png_encode(grey))
    ...     frame = read_picture(f"{folder}/a.png", space="linear", shrink=2)
    >>> frame.data.shape, frame.data.max(), frame.sensor.bits
    (torch.Size([1, 3, 2, 3]), tensor(1.), tensor([16.]))
    """
    space = Space(space)
    if space is Space.MOSAIC:
        raise RecipeError(
            "a picture is read as linear or display, got mosaic: read it as linear and add the mosaic operator"
        )
    shrink = 1 if shrink is None else shrink
    if isinstance(shrink, bool) or shrink != int(shrink) or shrink < 1:
        raise RecipeError(f"the shrink of a picture must be a whole number from 1 up, got {shrink}")
    pixels = _channels_first(path, _decoded(path))
    h, w = pixels.shape[1:]
    if min(h, w) < shrink:
        raise PhotoError(f"{path} is too small for shrink {shrink} ({h} x {w} pixels): leave it out")
    bits = 8 * pixels.itemsize
    white = 2**bits - 1
    # One look-up a sample: all 2^bits values are known, and a power for each of 72 million samples is not cheap.
    table = torch.arange(white + 1, dtype=torch.float32) / white
    table = srgb_decode(table) if space is Space.LINEAR else table
    data = torch.from_numpy(_looked_up(pixels, table.numpy()))[None]
    aux = {}
    if space is Space.LINEAR:
        full = torch.from_numpy((pixels == white).any(0)).to(torch.float32)
        aux["clipped"] = area(full[None, None], shrink)
    return Frame(
        data=area(data, shrink).expand(-1, 3, -1, -1).contiguous(),
        space=space,
        sensor=Sensor.make(
            black=0, white=white, bits=bits, centre=((h - 1) / 2, (w - 1) / 2), half_diagonal=math.hypot(h, w) / 2
        ),
        grid=Grid((float(shrink), float(shrink))),
        aux=aux,
    )


def _channels_first(path: StrPath, pixels: NDArray[Any]) -> NDArray[Any]:
    """(h, w) or (h, w, channels) to (1 or 3, h, w), alpha dropped."""
    if pixels.dtype.name not in ("uint8", "uint16"):
        raise PhotoError(f"{path} has samples of {pixels.dtype}: save it with 8 or 16 bits a channel")
    if pixels.ndim == 2:
        return pixels[None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4):
        raise PhotoError(f"{path} is not one grey or RGB picture, its shape is {pixels.shape}: save it as RGB")
    return np.moveaxis(pixels[..., : 3 if pixels.shape[2] > 2 else 1], -1, 0)


def _looked_up(pixels: NDArray[Any], table: NDArray[np.float32]) -> NDArray[np.float32]:
    """``table[pixels]`` by blocks of rows, for numpy makes 8-byte indices of all it is given at once."""
    out = np.empty(pixels.shape, np.float32)
    for top in range(0, pixels.shape[1], 64):
        for channel, to in zip(pixels, out, strict=True):
            np.take(table, channel[top : top + 64], out=to[top : top + 64], mode="clip")
    return out


def _decoded(path: StrPath) -> NDArray[Any]:
    try:
        with open(path, "rb") as file:
            start = file.read(8)
            file.seek(0)
            if start.startswith(_TIFF):
                return _tiff(path, file)
            content = file.read()
        if start == _PNG:
            return np.asarray(imagecodecs.png_decode(content))
        if start.startswith(_JPEG):
            return _jpeg(path, content)
    except PhotoError:
        raise
    except OSError as error:
        raise PhotoError(f"{path} cannot be opened ({error.strerror or error}): check that it may be read") from error
    except (*DAMAGED, RuntimeError, MemoryError) as error:  # a damaged size asks for all there is
        raise PhotoError(f"{path} cannot be decoded ({error}): copy it again, or save it anew") from error
    raise PhotoError(f"{path} is neither PNG, JPEG nor TIFF: remove it, or convert it")


def _jpeg(path: StrPath, content: bytes) -> NDArray[Any]:
    # A JPEG cut short decodes without an error, the rest grey: so look for the end mark behind the first scan.
    at = 2
    while content[at : at + 1] == b"\xff" and content[at + 1 : at + 2] != b"\xda":
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    if content.find(b"\xff\xd9", at) < 0:
        raise PhotoError(f"{path} is cut short: its JPEG data has no end mark, copy it again")
    pixels = np.asarray(imagecodecs.jpeg_decode(content))
    if pixels.dtype != np.uint8 or pixels.shape[2:] not in ((), (3,)):
        raise PhotoError(f"{path} is not an 8-bit grey or RGB JPEG (CMYK, perhaps): save it as RGB")
    return pixels


def _tiff(path: StrPath, file: Any) -> NDArray[Any]:
    """The first page."""
    with silent(), tifffile.TiffFile(file) as tiff:
        page: Any = tiff.pages[0]
        kind = page.photometric
        if kind == tifffile.PHOTOMETRIC.CFA:
            raise PhotoError(f"{path} holds a camera's mosaic, not a picture: name it .dng")
        if kind not in (0, 1, 2, 3, 6) or page.axes not in ("YX", "YXS", "SYX"):
            raise PhotoError(f"{path} is not a grey, RGB or palette TIFF ({kind!r}, {page.axes}): save it as RGB")
        if page.bitspersample not in (8, 16):
            raise PhotoError(f"{path} has {page.bitspersample} bits a sample: save it with 8 or 16")
        check_whole(path, page, os.fstat(file.fileno()).st_size)
        pixels: NDArray[Any] = page.asarray()
        if page.axes == "SYX":
            pixels = np.moveaxis(pixels, 0, -1)
        if kind == 3:
            return np.moveaxis(np.asarray(page.colormap), 0, -1)[pixels]
        return np.iinfo(pixels.dtype).max - pixels if kind == 0 and pixels.dtype.kind == "u" else pixels
