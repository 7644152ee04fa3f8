"""Maps beside a photo, on the frame's own pixels: depth, normals, albedo, height, masks, labels.

A map lies on the photo's visible raw area, whatever its own size, and is not turned. PNG and JPEG (imagecodecs), TIFF
(tifffile), EXR (OpenEXR), .npy and .npz (numpy). Whole numbers of masks, normals and albedo count from 0 to their
type's largest, those of depth, height and labels are taken as they are; floating point always is. Normals of whole
numbers n are ``2 n / largest - 1``; albedo of whole numbers is sRGB.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import Any, Final

import imagecodecs
import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from torch import Tensor

from degrade.core.disk import whole
from degrade.core.errors import PhotoError, RecipeError
from degrade.core.frame import Frame
from degrade.core.maps import Aux, how, kind
from degrade.maths.colour import srgb_decode
from degrade.maths.maps import laid, unit
from degrade.photos.exr import read_exr
from degrade.photos.folder import path_of
from degrade.photos.tags import DAMAGED, silent

ASPECT: Final = 0.005  #: by how much width over height may differ from the photo's
COUNTED: Final = ("depth", "height", "label")  #: kinds whose whole numbers are taken as they are


def read_map(photo: str | os.PathLike[str], name: str, aux: Aux, frame: Frame) -> Tensor:
    """Read one map of a photo.

    Args:
        photo: the photo's file.
        name: the map's name, whose first word is its kind.
        aux: where it lies and what its numbers mean.
        frame: the photo as it was read, which tells the grid.

    Returns:
        (1, 1 or 3, h, w) float32 on the frame's pixels.

    Raises:
        PhotoError: if the map is missing, cannot be read, has another aspect than the photo, or impossible numbers.
    """
    path = located(photo, name, aux)
    x = _meaning(path, kind(name), aux, _pixels(path, name))
    area = [round(2 * v + 1) for v in frame.sensor.centre[0].tolist()]
    h, w = x.shape[-2:]
    if abs(w / h * area[0] / area[1] - 1) > ASPECT:
        turned = " (it seems to be turned)" if abs(h / w * area[0] / area[1] - 1) <= ASPECT else ""
        raise PhotoError(
            f"{path} has {h} x {w} pixels, the photo {area[0]} x {area[1]}: a map covers the same area, "
            f"its aspect may differ by {ASPECT:.1%}{turned}"
        )
    ratio = h / area[0], w / area[1]
    scale = frame.grid.scale[0] * ratio[0], frame.grid.scale[1] * ratio[1]
    start = frame.grid.offset[0] * ratio[0], frame.grid.offset[1] * ratio[1]
    return laid(x, frame.size, scale, start, how(name))


def located(photo: str | os.PathLike[str], name: str, aux: Aux) -> Path:
    """The file of a photo's map.

    Raises:
        PhotoError: naming the path looked for, if there is none.
    """
    path = aux.beside(Path(photo).absolute())
    try:
        return path_of(path.parent, path.name)
    except FileNotFoundError as wrong:
        raise PhotoError(f"{photo} has no {name} map: there is no {path}") from wrong


def write_normals(path: str | os.PathLike[str], normal: Tensor) -> Path:
    """Write (3, h, w) unit normals as a 16-bit PNG, green up, whole or not at all.

    Raises:
        RecipeError: if the name does not end in .png.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise RecipeError(f"normals are written as .png, got {path}")
    share = (normal.cpu() * normal.new_tensor([1.0, -1.0, 1.0]).cpu()[:, None, None] + 1) / 2
    pixels = (share.clamp(0, 1) * 65535).round().permute(1, 2, 0).numpy().astype(np.uint16)
    with whole(path) as temporary:
        temporary.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))
    return path


def read_plain(path: str | os.PathLike[str], kind: str, scale: float = 1.0) -> Tensor:
    """A map for itself, on its own pixels: (1, 1 or 3, h, w) float32.

    Raises:
        PhotoError: if it cannot be read, or holds impossible numbers.
    """
    path = Path(path)
    return _meaning(path, kind, Aux(file=path.name, scale=scale), _pixels(path, kind))


def _pixels(path: Path, name: str) -> NDArray[Any]:
    """(h, w) or (h, w, channels) as the file has it."""
    end = path.suffix.lower()
    try:
        if end == ".npy":
            return np.asarray(np.load(path))
        if end == ".npz":
            with np.load(path) as arrays:
                given = name if name in arrays.files else arrays.files[0]
                if given != name and len(arrays.files) != 1:
                    raise PhotoError(f"{path} holds {', '.join(arrays.files)}: call the one to be read {name!r}")
                return np.asarray(arrays[given])
        if end in (".tif", ".tiff"):
            with silent():
                return np.asarray(tifffile.imread(path, key=0))
        if end == ".png":
            return np.asarray(imagecodecs.png_decode(path.read_bytes()))
        if end in (".jpg", ".jpeg"):
            return np.asarray(imagecodecs.jpeg_decode(path.read_bytes()))
        if end == ".exr":
            return read_exr(path, name)
    except PhotoError:
        raise
    except OSError as wrong:
        raise PhotoError(f"{path} cannot be opened ({wrong.strerror or wrong}): check that it may be read") from wrong
    except (*DAMAGED, RuntimeError, MemoryError, TokenError, zipfile.BadZipFile, zlib.error) as wrong:
        raise PhotoError(f"{path} cannot be decoded ({wrong}): write it anew") from wrong
    raise PhotoError(f"{path} is not a map that can be read: save it as .png, .jpg, .tif, .exr, .npy or .npz")


def _meaning(path: Path, kind: str, aux: Aux, pixels: NDArray[Any]) -> Tensor:
    """(1, 1 or 3, h, w) float32: metres, unit vectors, reflectances, shares, numbers of labels."""
    channels = 3 if kind in ("normal", "albedo") else 1
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind not in "uif" or pixels.ndim not in (2, 3) or not pixels.size:
        raise PhotoError(f"{path} is not one picture of numbers, it has shape {pixels.shape} of {pixels.dtype}")
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    if pixels.shape[2] in (2, 4):  # alpha says nothing of a map
        pixels = pixels[..., :-1]
    if pixels.shape[2] == 1 and kind == "albedo":
        pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    if channels == 1 and pixels.shape[2] == 3 and bool((pixels == pixels[..., :1]).all()):
        pixels = pixels[..., :1]  # grey, saved as RGB
    if pixels.shape[2] != channels:
        raise PhotoError(f"{path} has {pixels.shape[2]} channels: a map of kind {kind} has {channels}")
    counts = pixels.dtype.kind in "ui"
    x = torch.from_numpy(np.moveaxis(pixels, 2, 0).astype(np.float32))[None]
    if counts and kind not in COUNTED:
        x = x / float(np.iinfo(pixels.dtype).max)
    if kind == "normal":
        x = 2 * x - 1 if counts else x
        flip = -1.0 if aux.green == "up" else 1.0
        x = x * x.new_tensor([1.0, flip, 1.0]).reshape(1, 3, 1, 1)
    elif kind == "albedo" and counts:
        x = srgb_decode(x)
    if bool(torch.isnan(x).any()) or (kind != "depth" and not bool(torch.isfinite(x).all())):
        raise PhotoError(f"{path} holds values that are not finite: fill them first")
    if kind == "depth" and not bool((x > 0).all()):
        share = (x <= 0).double().mean().item()
        raise PhotoError(f"{path} has depths of 0 or less in {share:.2%} of its pixels, holes perhaps: fill them first")
    return unit(x) if kind == "normal" else x * aux.scale
