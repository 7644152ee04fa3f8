"""What an operator states of noise, measured on flat pictures: variance in, variance out, what neighbours share.

Pictures of one signal differ by noise alone, brought along or added: so what happens to the signal cancels.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from degrade.core.frame import Frame, Space
from degrade.core.patches import Patches
from degrade.core.spec import up
from degrade.testing import frames
from degrade.testing.trial import MARGIN, SIZE, apply, example, frame_for, many, margin_for, one, spec_of

SIGNALS: Final = (0.1, 0.25)  #: of the pictures, times `TINT` by channel; nothing of them clips
TINT: Final = (1.0, 0.8, 0.6, 0.9)
LINE: Final = (2e-3, 1e-4)  #: their shot and read noise, times `UNLIKE` by channel
UNLIKE: Final = (1.0, 0.7, 1.5, 0.85)  #: so that no channel is taken for another one
NEAR: Final = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0))  #: steps to the neighbours that are looked at
LOOKS: Final = 16  #: times that many pictures, before an operator is said to be wrong
CLOSE: Final = 0.005  #: share of a variance that it may be off for no more pictures to be taken
MOST_OFF: Final = 0.01  #: share of a variance that it may be off after all
SHARED: Final = 0.03  #: share of the variance up to which the covariance of neighbours is taken for none


def tells_the_truth_about_noise(given: Mapping[str, Any], space: Space) -> None:
    """The noise that it states is there, to 1%; what states nothing passes, as does a crop, which only cuts."""
    op = example({**given, "per": "photo"})  # drawn once for all pictures, but for their seeds
    if isinstance(op, Patches) or one(op, 0, small := frame_for(op, space)).apply(small).noise is None:
        return
    spec = spec_of(op, space)
    flats = Flats(space, SIZE, margin_for(op, space) or MARGIN, op.multiple(spec), op.plan(spec).whole)
    wrong = flats.misstated(lambda frame: apply(many(op, len(frame), frame), frame))
    assert not wrong, f"{op.op} on {space.value}: {wrong}"


@dataclass(frozen=True)
class Flats:
    """Flat pictures and maps, of each of `SIGNALS` as many as there are shifts.

    Their noise is one periodic field of a flat spectrum, shifted from picture to picture and channel to channel: white
    in the picture itself and not on average alone, so that what a filter or a sampler leaves of it has no error. Whole
    pictures, which may be sampled anywhere, have fields of their own.
    """

    space: Space
    size: tuple[int, int]  #: of a patch without its margin [pixels]
    edge: int  #: around a period of noise, for what looks so far [pixels]
    step: int  #: of what samples them [pixels]
    whole: bool  #: whether they are pictures of their own, without a margin

    @property
    def shifts(self) -> int:
        """Shifts of the noise, each way: even in number, and so many that samples of a small step meet every phase."""
        return next((n for n in (6, 4, 8, 10) if n % self.step == 0), 6)

    @property
    def period(self) -> int:
        """Of the noise [pixels]; half of it is more than any filter within the edge brings together."""
        far = -(-(2 * self.edge - 3) // (self.shifts // 2))
        return self.shifts * next(n for n in range(far, 2 * far) if math.gcd(n, self.shifts) == 1)

    @functools.cache  # noqa: B019 there are a few of them, and each is used by many operators
    def frame(self, look: int) -> Frame:
        """The pictures; other ones for each look."""
        margin = 0 if self.whole else up((self.period - self.size[0]) / 2 + self.edge, self.edge)
        flat = frames.frame(self.space, 1, (self.size[0] + 2 * margin, self.size[1] + 2 * margin), margin)
        h, w = (max(n, self.period + 2 * self.edge) for n in flat.size)
        n, period = self.shifts, self.period
        shape = n**2 if self.whole else 1, period, period
        waves = torch.fft.fft2(torch.from_numpy(np.random.Generator(np.random.PCG64(look)).normal(size=shape)))
        field = (torch.fft.ifft2(waves / waves.abs()).real * period).float()
        i, j, c, y, x = np.ogrid[:n, :n, : self.space.channels, :h, :w]
        y, x = y + i * period // n + c * period // 5, x + j * period // n
        noise = field[(i * n + j) % len(field), y % period, x % period].flatten(0, 1)
        tint = torch.tensor(TINT[: self.space.channels])
        line = torch.tensor(LINE)[:, None] * torch.tensor(UNLIKE[: self.space.channels])
        light = [s * tint[:, None, None] for s in SIGNALS]
        shot, read = line[..., None, None]
        data = torch.cat([s + (shot * s + read).sqrt() * noise for s in light])

        def alike(t: Tensor) -> Tensor:
            return t.expand(len(data), *t.shape[1:])

        return replace(
            flat,
            data=data,
            sensor=flat.sensor.map(alike),
            origin=alike(flat.origin),
            field=alike(flat.field),
            noise=line.expand(len(data), 2, self.space.channels),
            aux={n: alike(v[..., :1, :1].expand(*v.shape[:2], h, w)) for n, v in flat.aux.items()},
        )

    def variances(self, done: Frame, ratio: float) -> Tensor:
        """Of noise in what came of them: (3, signals, c) variance stated and found, covariance of neighbours."""
        assert done.noise is not None, "the noise of one picture is stated and that of many is not"
        side = slice(round(self.edge / ratio), round((self.edge + self.period) / ratio))
        if self.whole and ratio != 1:
            side = slice(None)  # what is stated is a mean over samples that lie otherwise everywhere
        half = self.shifts // 2
        signal = done.data[..., side, side].double().unflatten(0, (len(SIGNALS), 2, half, 2, half))
        noise = (signal - signal.mean((1, 3), keepdim=True)) * math.sqrt(4 / 3)  # of four, half a period apart
        line = done.noise.double().unflatten(0, (len(SIGNALS), -1)).mean(1)
        beside = [(noise * noise.roll(step, (-2, -1))).mean((1, 2, 3, 4, 6, 7)).abs() for step in NEAR]
        said = line[:, 0] * signal.mean((1, 2, 3, 4, 6, 7)) + line[:, 1]
        return torch.stack((said, noise.square().mean((1, 2, 3, 4, 6, 7)), torch.stack(beside).amax(0)))

    def misstated(self, apply: Callable[[Frame], Frame]) -> str:
        """What is wrong in the noise that an operator, drawn for as many rows, states; nothing where it is right."""
        looks, near, correlated = list[Tensor](), False, False
        while not near and len(looks) < LOOKS:  # what is drawn, or falls between samples, takes more pictures
            frame = self.frame(len(looks))
            done = apply(frame)
            looks.append(self.variances(done, frame.size[0] / done.size[0]))
            correlated, near = done.correlated, _agree(looks, CLOSE)
        said, found, beside = torch.stack(looks).mean(0).unbind()
        if not _agree(looks, MOST_OFF):
            k, c = divmod(int(((found - said).abs() / (said + 1e-9)).argmax()), found.shape[1])
            return (
                f"channel {c} of a flat picture of {SIGNALS[k]} has noise of a variance of {found[k, c]:.4g}, the "
                f"frame states {said[k, c]:.4g}; say what becomes of it, `frame.with_data(data, noise=...)`, or nothing"
            )
        if not correlated and bool((beside > SHARED * found + 1e-9).any()):
            return (
                f"noise of neighbours has a covariance of {(beside / found).max():.0%} of the variance, and the frame "
                "states none; say `frame.with_data(data, noise=..., correlated=True)`"
            )
        return ""


def _agree(looks: list[Tensor], share: float) -> bool:
    said, found, _ = torch.stack(looks).mean(0).unbind()
    return bool(((found - said).abs() <= share * said + 1e-9).all())
