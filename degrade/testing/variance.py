"""What an operator states of noise, measured: variance in, variance out, and what neighbours share."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from degrade.core.frame import Frame, Space
from degrade.core.patches import Patches
from degrade.core.spec import up
from degrade.testing import frames
from degrade.testing.trial import MARGIN, SIZE, apply, example, frame_for, many, margin_for, one, spec_of

SIGNALS: Final = (0.1, 0.25)  #: of the flat pictures that noise is measured on, times `TINT` by channel
TINT: Final = (1.0, 0.8, 0.6, 0.9)
LINE: Final = (2e-3, 1e-4)  #: shot and read noise of those pictures
SHIFTS: Final = 6  #: by which their noise is shifted, each way: samplers whose step divides it meet every phase
LOOKS: Final = 16  #: times that many pictures, before an operator is said to be wrong


def tells_the_truth_about_noise(given: Mapping[str, Any], space: Space) -> None:
    """The noise that it states is there: variance in, variance out, to 1%, on flat pictures that clip nowhere.

    It is drawn once for all pictures, but for seeds, which are each picture's own: so pictures of one signal differ by
    noise alone, brought along or added. What states nothing passes, and so does a crop, whose pixels are the photo's.
    """
    op = example({**given, "per": "photo"})
    if isinstance(op, Patches) or one(op, 0, small := frame_for(op, space)).apply(small).noise is None:
        return
    edge, whole = margin_for(op, space) or MARGIN, op.plan(spec_of(op, space)).whole
    period = SHIFTS * (1 + up(2 * edge / 3 - 2, SHIFTS))  # half of it is beyond what meets in any filter's result
    looks, near, shared = list[Tensor](), False, False
    while not near and len(looks) < LOOKS:  # what is drawn, or falls between samples, takes more pictures
        frame = flats(space, edge, period, whole, len(looks))
        done = apply(many(op, len(frame), frame), frame)
        ratio = frame.size[0] / done.size[0]
        inner = slice(round(edge / ratio), round((edge + period) / ratio))
        looks.append(variances(done, slice(None) if whole and ratio != 1 else inner))  # a mean over all samples' places
        shared, near = done.correlated, _agree(torch.stack(looks).mean(0), 0.005)
    said, found, beside = torch.stack(looks).mean(0).unbind()
    where = f"{op.op} on {space.value}"
    if not _agree(torch.stack(looks).mean(0), 0.01):
        k, c = divmod(int(((found - said).abs() / (said + 1e-9)).argmax()), found.shape[1])
        raise AssertionError(
            f"{where}, channel {c} of a flat picture of {SIGNALS[k]}: its noise has a variance of {found[k, c]:.4g}, "
            f"the frame states {said[k, c]:.4g}; say what becomes of it, `frame.with_data(data, noise=...)`, or nothing"
        )
    assert shared or bool((beside <= 0.03 * found + 1e-9).all()), (
        f"{where}: noise of neighbours has a covariance of {(beside / found).max():.0%} of the variance, and the frame "
        "states none; say `frame.with_data(data, noise=..., correlated=True)`"
    )


def variances(done: Frame, side: slice) -> Tensor:
    """Of noise in what came of `flats`: (3, signals, c) variance stated and found, covariance of neighbours."""
    assert done.noise is not None
    pictures = (len(SIGNALS), 2, SHIFTS // 2, 2, SHIFTS // 2)
    signal = done.data[..., side, side].double().unflatten(0, pictures)
    # four pictures, half a period apart: so far that no filter makes them alike
    noise = (signal - signal.mean((1, 3), keepdim=True)) * math.sqrt(4 / 3)
    line = done.noise.double().unflatten(0, (len(SIGNALS), -1)).mean(1)
    beside = [(noise * noise.roll(1, way)).mean((1, 2, 3, 4, 6, 7)).abs() for way in (-2, -1)]
    said = line[:, 0] * signal.mean((1, 2, 3, 4, 6, 7)) + line[:, 1]
    return torch.stack((said, noise.square().mean((1, 2, 3, 4, 6, 7)), torch.maximum(*beside)))


@functools.cache
def flats(space: Space, edge: int, period: int, whole: bool, seed: int) -> Frame:
    """Flat pictures and maps, of each of `SIGNALS` as many as there are shifts; ``edge`` around a period of noise.

    Their noise is one periodic field of a flat spectrum, shifted from picture to picture and channel to channel: white
    in the picture itself and not on average alone, so that what a filter or a sampler leaves of it has no error. Whole
    pictures, which may be sampled anywhere, have fields of their own.
    """
    margin = 0 if whole else up((period - SIZE[0]) / 2 + edge, MARGIN)
    flat = frames.frame(space, 1, (SIZE[0] + 2 * margin, SIZE[1] + 2 * margin), margin)
    h, w = (max(n, period + 2 * edge) for n in flat.size)
    fields = SHIFTS**2 if whole else 1
    waves = torch.fft.fft2(
        torch.from_numpy(np.random.Generator(np.random.PCG64(seed)).normal(size=(fields, period, period)))
    )
    field = (torch.fft.ifft2(waves / waves.abs()).real * period).float()
    i, j, c, y, x = np.ogrid[:SHIFTS, :SHIFTS, : space.channels, :h, :w]
    step = period // SHIFTS
    place = (y + i * step + c * period // 5) % period, (x + j * step) % period
    noise = field[(i * SHIFTS + j) % fields, *place].flatten(0, 1)
    tint, line = torch.tensor(TINT[: space.channels])[:, None, None], torch.tensor(LINE)
    data = torch.cat([x * tint + (line[0] * x * tint + line[1]).sqrt() * noise for x in SIGNALS])

    def alike(t: Tensor) -> Tensor:
        return t.expand(len(data), *t.shape[1:])

    return replace(
        flat,
        data=data,
        sensor=flat.sensor.map(alike),
        origin=alike(flat.origin),
        field=alike(flat.field),
        noise=line[:, None].expand(len(data), 2, space.channels),
        aux={n: alike(v[..., :1, :1].expand(*v.shape[:2], h, w)) for n, v in flat.aux.items()},
    )


def _agree(looks: Tensor, share: float) -> bool:
    """Whether the variances of `variances`, stated and found, agree."""
    said, found, _ = looks.unbind()
    return bool(((found - said).abs() <= share * said + 1e-9).all())
