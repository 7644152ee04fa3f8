"""Frames to try operators on: rough pictures of mixed cameras, with noise and maps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from degrade.core.frame import Frame, Grid, Sensor, Space


def mixed_sensors(b: int) -> Sensor:
    """Cameras of b rows, no two alike in black, white, pitch and ISO.

    >>> mixed_sensors(3).iso.tolist()
    [200.0, 400.0, 600.0]
    """
    one = Sensor.make(
        b, bits=14, pitch=4.0, iso=200.0, k1=0.3, k0=2.0, white_balance=(2.0, 1.0, 1.5), half_diagonal=100.0
    )
    step = torch.arange(b, dtype=torch.float32)
    changed = {"black": 256 + 64 * step, "white": 4095 + 1000 * step, "pitch": 4 + step, "iso": 200 * (1 + step)}
    return Sensor(**{**one.__dict__, **changed, "centre": torch.zeros(b, 2)})


def photo(space: Space = Space.LINEAR, h: int = 160, w: int = 160, seed: int = 2) -> Frame:
    """A whole photo, (1, c, h, w), nothing of it clipped and nothing known of its noise.

    >>> photo(h=40, w=60).data.shape
    torch.Size([1, 3, 40, 60])
    """
    whole = frame(space, 1, (h, w), margin=0, seed=seed)
    return replace(whole, data=whole.data.clamp(0, 1), noise=None, aux={}, origin=torch.zeros(1, 2, dtype=torch.int64))


def frame(space: Space, b: int = 1, size: tuple[int, int] = (36, 36), margin: int = 6, seed: int = 1) -> Frame:
    """Rough pictures from -0.1 to 1.3 of mixed cameras, with a little noise that is known and with maps of every kind.

    Args:
        space: theirs.
        b: how many.
        size: (h, w) with the margin [pixels].
        margin: how many of these pixels lie around each patch.
        seed: of the numbers.

    >>> rough = frame(Space.MOSAIC, 2, (20, 24))
    >>> rough.data.shape, sorted(rough.aux)
    (torch.Size([2, 4, 20, 24]), ['albedo', 'clipped', 'depth', 'height', 'normal'])
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    data = torch.from_numpy(rng.uniform(-0.1, 1.3, (b, space.channels, *size)).astype(np.float32))
    place = torch.from_numpy(rng.integers(0, 1000, (b, 2)) * 2)
    return Frame(
        data=data,
        space=space,
        sensor=mixed_sensors(b),
        grid=Grid(offset=(-float(margin), -float(margin))),
        origin=place,
        field=torch.from_numpy(rng.uniform(-1, 1, (b, 2)).astype(np.float32)),
        noise=torch.full((b, 2, space.channels), 1e-7),
        aux={"clipped": (data[:, :1] > 1.2).float(), **_maps(b, size)},
    )


def _maps(b: int, size: tuple[int, int]) -> dict[str, Tensor]:
    """Rough maps of every kind: surfaces of several depths, normals that face the camera."""
    rng = np.random.Generator(np.random.PCG64(8))
    depth = rng.choice(np.array([0.8, 1.5, 2.5, 40.0], np.float32), (b, 1, *size))
    tilt = rng.uniform(-0.5, 0.5, (b, 2, *size))
    normal = np.concatenate((tilt, np.sqrt(1 - np.square(tilt).sum(1, keepdims=True))), axis=1)
    found = {"depth": depth, "normal": normal, "height": rng.uniform(0, 2, (b, 1, *size))}
    found["albedo"] = rng.uniform(0, 1, (b, 3, *size))
    return {n: torch.from_numpy(v.astype(np.float32)) for n, v in found.items()}
