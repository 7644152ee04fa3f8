"""What a store keeps of a photo's camera: all numbers of its sensor but a measured curve, which the recipe names."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from degrade.core.frame import Sensor
from degrade.store.record import CAMERA

_ONE: Final = {n: t[0] for n, t in Sensor.make().__dict__.items() if n != "ladder"}
assert tuple(f"{n}[{i}]" if t.ndim else n for n, t in _ONE.items() for i in range(t.numel())) == CAMERA, "format"


def camera_of(sensor: Sensor) -> tuple[float, ...]:
    """The numbers of a camera (one row), in the order of `CAMERA`.

    >>> dict(zip(CAMERA, camera_of(Sensor.make(black=512, white=16383)), strict=True))["white"]
    16383.0
    """
    return tuple(torch.cat([getattr(sensor, n)[0].reshape(-1) for n in _ONE]).tolist())


def sensors(numbers: NDArray[Any], ladder: Tensor) -> Sensor:
    """The cameras (b rows) of numbers (b, n); ``ladder`` (1, k, 9) is their measured curve."""
    parts = torch.from_numpy(np.asarray(numbers, np.float32)).split([t.numel() for t in _ONE.values()], dim=1)
    fields = {n: p.reshape(-1, *t.shape) for (n, t), p in zip(_ONE.items(), parts, strict=True)}
    return Sensor(**fields, ladder=ladder.expand(len(numbers), *ladder.shape[1:]))
