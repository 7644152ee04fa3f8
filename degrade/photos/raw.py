"""RAW photographs: any Bayer camera that LibRaw opens, as packed MOSAIC or as LINEAR at the true sample positions.

Signal is ``(DN - black of the channel) / (white - black of the channel)``, float32, not clipped: noise below black
stays.  DN come from LibRaw; facts from the file's own tags where it has them, else from LibRaw.  Nothing is rotated:
rows and columns are the sensor's, as its noise, its lens and every aux plane are.
"""

from __future__ import annotations

import math
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import rawpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from degrade.core.disk import StrPath
from degrade.core.errors import PhotoError, RecipeError
from degrade.core.frame import Frame, Grid, Sensor, Space
from degrade.maths import bayer, bayer_cpu
from degrade.maths.cfa import BAYER, PHASES
from degrade.photos.facts import RawFacts, gather
from degrade.photos.tags import Tags, is_linear_raw, read_tags

_NAN: Final = float("nan")


def raw_facts(path: StrPath) -> RawFacts:
    """Read what a RAW file says of itself.

    Raises:
        PhotoError: if the file is not a whole RAW photo with a Bayer mosaic.

    >>> import tempfile, numpy
    >>> from degrade.photos.dng import write_dng
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_dng(f"{folder}/a.dng", numpy.arange(1024, dtype="uint16").reshape(32, 32), black=64, white=1023)
    ...     raw_facts(f"{folder}/a.dng").black
    (64.0, 64.0, 64.0, 64.0)
    """
    with _opened(path) as (raw, tags):
        return gather(path, raw, tags)


def read_raw(path: StrPath, *, space: Space | str, shrink: int | None = None, iso: float | None = None) -> Frame:
    """Read a RAW photo as a frame of one row.

    Args:
        path: the file.
        space: MOSAIC (packed, as it is) or LINEAR (camera RGB, resampled at the true sample positions).
        shrink: raw pixels a LINEAR pixel spans, even, default 2 (the superpixel); None for MOSAIC.
        iso: overrides the file's ISO speed.

    Returns:
        Frame with data (1, 4 or 3, h, w); ``grid`` in raw pixels of the visible area (a leading row or column that is
        dropped for RGGB geometry, and for LINEAR the first pixel, shift its offset); ``noise`` from the file's
        NoiseProfile, else None; ``aux["clipped"]`` (1, 1, h, w): 1 where a saturated photosite has a part in a pixel,
        else 0.

    Raises:
        RecipeError: if the arguments are not allowed.
        PhotoError: if the file is not a whole RAW photo with a Bayer mosaic, or too small for ``shrink``.

    >>> import tempfile, numpy
    >>> from degrade.photos.dng import write_dng
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_dng(f"{folder}/a.dng", numpy.arange(1024, dtype="uint16").reshape(32, 32), phase="GBRG", white=1023)
    ...     frame = read_raw(f"{folder}/a.dng", space="linear", shrink=4)
    >>> frame.data.shape, frame.grid.scale, frame.grid.offset
    (torch.Size([1, 3, 6, 6]), (4.0, 4.0), (5.0, 4.0))
    """
    space = Space(space)
    if space is Space.DISPLAY:
        raise RecipeError("a RAW photo is read as mosaic or linear, got display: develop it after reading")
    if space is Space.MOSAIC and shrink is not None:
        raise RecipeError(f"a mosaic is read as it is, got shrink {shrink}: leave it out, or read as linear")
    shrink = 2 if shrink is None else shrink
    if shrink < 2 or shrink % 2:
        raise RecipeError(f"the shrink of a RAW photo counts its pixels and must be even and at least 2, got {shrink}")
    if iso is not None and not (iso > 0 and math.isfinite(iso)):
        raise RecipeError(f"iso must be above 0, got {iso}")
    with _opened(path) as (raw, tags):
        facts = gather(path, raw, tags)
        data, clipped = _pixels(path, bayer_cpu.whole(raw.raw_image_visible, facts.phase), facts, space, shrink)
    top, left = PHASES[facts.phase].phase
    if space is Space.LINEAR:
        grid = Grid((float(shrink), float(shrink)), (float(top + shrink), float(left + shrink)))
    else:
        grid = Grid((2.0, 2.0), (float(top), float(left)))
    iso = facts.iso if iso is None else float(iso)
    return Frame(
        data=data,
        space=space,
        sensor=_sensor(facts, iso),
        grid=grid,
        noise=_noise(facts, space, shrink),
        aux={"clipped": clipped},
        model=_model(facts),
    )


@contextmanager
def _opened(path: StrPath) -> Generator[tuple[Any, Tags], None, None]:
    """The decoded file and its tags; whatever is wrong with it becomes a PhotoError."""
    tags = read_tags(path)
    if is_linear_raw(tags):
        raise PhotoError(f"{path} is a linear or monochrome DNG, it has no mosaic: give the camera's own RAW file")
    try:
        with rawpy.imread(os.fspath(path)) as raw:
            yield raw, tags
    except rawpy.LibRawFileUnsupportedError as error:
        raise PhotoError(f"{path} is not a RAW photo that LibRaw knows: remove it, or convert it to DNG") from error
    except (rawpy.LibRawError, NotImplementedError) as error:  # of a mosaic that rawpy cannot tell the colours of
        reason = str(error).removeprefix("b'").rstrip("'")
        raise PhotoError(f"{path} cannot be decoded ({reason}): copy it again from the card, or remove it") from error


def _pixels(
    path: StrPath, mosaic: NDArray[np.uint16], facts: RawFacts, space: Space, shrink: int
) -> tuple[Tensor, Tensor]:
    """Signal (1, c, h, w) and where it is clipped (1, 1, h, w), both their own memory: LibRaw frees the mosaic."""
    low, high = bayer_cpu.extremes(mosaic)
    if low == high:
        raise PhotoError(f"{path} holds no picture, all photosites read {low} DN: copy it again from the card")
    if space is Space.LINEAR:
        if min(BAYER.resampled(n, shrink) for n in mosaic.shape) < 1:
            h, w = facts.size
            raise PhotoError(f"{path} is too small for shrink {shrink} ({h} x {w} photosites): leave it out")
        data = torch.from_numpy(bayer_cpu.linear(mosaic, shrink, facts.black, facts.white))[None]
        full = bayer_cpu.touched(mosaic, shrink, facts.white) if high >= facts.white else None
    else:
        dn = bayer.pack(torch.from_numpy(mosaic))[None]
        black = torch.tensor(facts.black, dtype=torch.float32)[:, None, None]
        data = dn.to(torch.float32).sub_(black).div_(facts.white - black)
        full = np.any(dn.numpy()[0] >= facts.white, axis=0) if high >= facts.white else None
    if full is None:
        return data, torch.zeros(1, 1, *data.shape[2:])
    return data, torch.from_numpy(full)[None, None].to(torch.float32)


def _noise(facts: RawFacts, space: Space, shrink: int) -> Tensor | None:
    """(1, 2, c) shot and read variance left in the data, normalised."""
    if facts.noise_profile is None:
        return None
    line = torch.tensor(facts.noise_profile, dtype=torch.float64).T
    if space is Space.LINEAR:
        line = BAYER.merge(line) * torch.tensor(BAYER.variance_gain(shrink)).double()
    return line[None].to(torch.float32)


def _model(facts: RawFacts) -> str:
    """Maker and model; many makers write their own name into the model too."""
    make, model = facts.make or "", facts.model or ""
    doubled = make and model.casefold().startswith(make.split()[0].casefold())
    return model if doubled else f"{make} {model}".strip()


def _sensor(facts: RawFacts, iso: float | None) -> Sensor:
    speed = _NAN if iso is None else iso
    profile = facts.noise_profile or ((_NAN, _NAN),) * 4
    spans = [facts.white - black for black in facts.black]
    h, w = facts.size
    return Sensor.make(
        black=round(sum(facts.black) / 4),
        white=facts.white,
        bits=facts.bits,
        iso=speed,
        exposure=_NAN if facts.exposure is None else facts.exposure,
        k1=[shot * span * 100 / speed for (shot, _), span in zip(profile, spans, strict=True)],
        k0=[read * span**2 * 100 / speed for (_, read), span in zip(profile, spans, strict=True)],
        white_balance=facts.white_balance,
        matrix=facts.matrix,
        centre=((h - 1) / 2, (w - 1) / 2),
        half_diagonal=math.hypot(h, w) / 2,
    )
