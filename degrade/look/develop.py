"""RAW developed for the eye, the same way for every plane, so that planes stay comparable.

In order: mosaic to RGB, white balance, clip, colour matrix, exposure, sRGB curve.  After white balance the channels of
a clipped highlight differ (each stopped at 1 before its gain); all are cut at the smallest balanced white, so that it
stays white and does not turn magenta.  Nothing here looks at the picture: an exposure that does (`auto_exposure`) is a
number that the caller applies to all planes of a row alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from degrade.core.errors import RecipeError
from degrade.core.frame import Frame, Space
from degrade.maths import bayer, colour

NEUTRAL = (1.0, 1.0, 1.0)
IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def develop(
    picture: Frame | Tensor | NDArray[Any],
    space: Space | str = Space.LINEAR,
    white_balance: object = NEUTRAL,
    matrix: object = IDENTITY,
    exposure: float = 0.0,
) -> NDArray[np.uint8]:
    """Any plane as sRGB for a screen, ``(b, h, w, 3)`` uint8.

    Args:
        picture: a Frame, which brings the next three along, or ``(b, c, h, w)`` or ``(c, h, w)`` normalised signal.
            One channel is shown grey.
        space: what its numbers mean.
        white_balance: ``(b, 3)`` or ``(3,)`` gains.
        matrix: ``(b, 3, 3)`` or ``(3, 3)``, white-balanced camera RGB to linear sRGB.
        exposure: brightening [stops]; DISPLAY is developed already and keeps its own.

    Raises:
        RecipeError: if the channels do not fit the space.

    >>> develop(torch.full((3, 1, 1), 0.5)).tolist(), develop(torch.full((4, 1, 1), 0.5), "mosaic", exposure=1).tolist()
    ([[[[188, 188, 188]]]], [[[[255, 255, 255]]]])
    """
    if isinstance(picture, Frame):
        frame = picture
        return develop(frame.data, frame.space, frame.sensor.white_balance, frame.sensor.matrix, exposure)
    space = Space(space)
    rgb = to_rgb(picture, space)
    if space is Space.DISPLAY:
        return _bytes(rgb)
    if picture.shape[-3] != 1:
        rgb = colour.apply_matrix(_tensor(matrix), colour.balance(rgb, _tensor(white_balance).reshape(-1, 3)))
    return _bytes(colour.srgb_encode((rgb * 2.0**exposure).clamp(0, 1)))


def to_rgb(picture: Tensor | NDArray[Any], space: Space | str) -> Tensor:
    """``(b, c, h, w)`` or ``(c, h, w)`` to ``(b, 3, h, w)`` float32, values untouched but for a mosaic.

    A mosaic's four planes are brought to the common centre of each 2 x 2 square (`bayer.linear`), so that a grey edge
    shows no coloured fringe; the outermost pixels are repeated, and the size stays.

    >>> to_rgb(torch.tensor([1.0, 2.0, 4.0, 8.0]).reshape(4, 1, 1), "mosaic").flatten()
    tensor([1., 3., 8.])
    """
    space, x = Space(space), _tensor(picture)
    if x.ndim == 3:
        x = x[None]
    if x.ndim != 4 or x.shape[1] not in {1, space.channels}:
        allowed = f"1 or {space.channels}"
        raise RecipeError(f"a picture in space {space.value} has {allowed} channels, got shape {tuple(x.shape)}")
    if x.shape[1] == 1:
        return x.expand(-1, 3, -1, -1)
    if space is Space.MOSAIC:
        return bayer.linear(torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate"), 2)
    return x


def auto_exposure(
    picture: Tensor | NDArray[Any], space: Space | str, white_balance: object = NEUTRAL, *, most: float = 6.0
) -> float:
    """The brightening that puts the 98th percentile of the balanced signal at 80% of white [stops, 0 to ``most``].

    Rounded to tenths, because it is told to the reader. Use one value for all planes that are to be compared.

    >>> auto_exposure(torch.full((3, 4, 4), 0.1), "linear")
    3.0
    """
    if Space(space) is Space.DISPLAY:
        return 0.0
    bright = _quantile(balanced(picture, space, white_balance).amax(1), 0.98)
    if not bright > 0:
        return 0.0
    return round(min(max(math.log2(0.8 / bright), 0.0), most), 1)


def balanced(picture: Tensor | NDArray[Any], space: Space | str, white_balance: object = NEUTRAL) -> Tensor:
    """``(b, 3, h, w)`` signal times white balance, nothing clipped: in it the difference of two greys is grey.

    >>> balanced(torch.ones(3, 1, 1), "linear", (2.0, 1.0, 1.5)).flatten()
    tensor([2.0000, 1.0000, 1.5000])
    """
    rgb = to_rgb(picture, space)
    return rgb if Space(space) is Space.DISPLAY or picture.shape[-3] == 1 else rgb * _rows(white_balance, 3)


def difference(signal: Tensor, gain: float) -> NDArray[np.uint8]:
    """A signed signal ``(b, 3, h, w)`` about mid grey, ``128 + 255 gain x``, as ``(b, h, w, 3)`` uint8.

    >>> difference(torch.tensor([0.0, 0.01, -0.01]).reshape(1, 3, 1, 1), 10).flatten().tolist()
    [128, 154, 103]
    """
    return _bytes(signal * gain + 128 / 255)


def difference_gain(signals: Sequence[Tensor]) -> float:
    """The gain 1, 2, 5, 10, 20 ... that lets 95% of several signed signals fit the range; 1 if all are zero.

    >>> difference_gain([torch.full((1, 3, 2, 2), 0.004)]), difference_gain([torch.zeros(1)])
    (100.0, 1.0)
    """
    largest = max((_quantile(s.abs(), 0.95) for s in signals), default=0.0)
    if not largest > 0:
        return 1.0
    free = 0.5 / largest
    decade = 10.0 ** math.floor(math.log10(free))
    return max(decade * max(step for step in (1, 2, 5) if step * decade <= free * (1 + 1e-6)), 1.0)


def map_picture(values: Tensor | NDArray[Any], name: str) -> NDArray[np.uint8]:
    """A map as a picture (h, w, 3): normals as colours, near depths bright, other maps grey between their ends.

    Args:
        values: (1 or 3, h, w).
        name: of the map, such as ``depth``; its first word says its kind.

    >>> map_picture(torch.tensor([[[1.0, 2.0, float("inf")]]]), "depth")[0, :, 0].tolist()
    [255, 128, 0]
    """
    x, kind = _tensor(values), name.split("_", maxsplit=1)[0]
    if kind == "normal":
        return _bytes((0.5 + 0.5 * x)[None])[0]
    x = 1 / x.clamp(min=1e-6) if kind == "depth" else x
    low, high = x.min(), x.max()
    grey = (x - low) / (high - low) if bool(high > low) else torch.zeros_like(x)
    return _bytes(grey.expand(1, 3, *x.shape[1:]))[0]


def _tensor(x: object) -> Tensor:
    return (x if isinstance(x, Tensor) else torch.from_numpy(np.array(x, np.float32))).float().cpu()


def _quantile(x: Tensor, q: float) -> float:
    return float(np.quantile(x.numpy(), q))  # torch's refuses more than 16 million values


def _rows(gains: object, channels: int) -> Tensor:
    """``(3,)`` or ``(b, 3)`` as ``(1 or b, 3, 1, 1)``."""
    return _tensor(gains).reshape(-1, channels, 1, 1)


def _bytes(rgb: Tensor) -> NDArray[np.uint8]:
    scaled = (torch.nan_to_num(rgb).clamp(0, 1) * 255).round().to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).contiguous().numpy()
