"""Any blur as a lens: its kernels tabulated over states and field, so that computed and measured lenses are one thing.

A pupil whose terms follow the field takes tens of milliseconds a patch; a lens made of it takes an interpolation.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch

from degrade.core.errors import RecipeError
from degrade.core.frame import Sensor
from degrade.core.key import Key
from degrade.core.prior import Prior
from degrade.core.progress import Done, Progress, quiet
from degrade.core.tree import leaves
from degrade.gear.lens import Lens, half_sides
from degrade.operators.kernels import ApertureKernel
from degrade.operators.optics import PsfBlur


def lens_of_blur(
    blur: PsfBlur,
    pitch: float,
    grid: tuple[int, int] = (9, 13),
    *,
    states: int = 1,
    seed: int = 0,
    aspect: float = 1.5,
    about: str = "",
    progress: Progress = quiet,
) -> Lens:
    """The kernels of a blur over a grid of places, as a lens that a recipe may name in its stead.

    Args:
        blur: drawn, or with priors, of which so many states are drawn; what they draw becomes the states' table.
        pitch: of the simulated sensor, and so of the samples [um].
        grid: nodes down and across, evenly from edge to edge of the picture.
        states: how many are drawn.
        seed: of these draws.
        aspect: width over height of the picture.
        about: what it is.
        progress: hears of each row of nodes.

    Raises:
        RecipeError: for a grid without nodes, or states that do not differ.

    >>> blur = PsfBlur.model_validate({"kernels": [{"psf": "airy", "f_number": {"choice": [4, 8]}}], "radius": 7})
    >>> lens = lens_of_blur(blur, 4.0, (1, 1), states=3)
    >>> lens.psf.shape, sorted(lens.states["f_number"])
    ((3, 1, 1, 3, 15, 15), [4.0, 8.0, 8.0])
    """
    if min(grid) < 1 or states < 1:
        raise RecipeError(f"needs nodes down and across, and states, from 1 up, got {grid[0]} x {grid[1]} and {states}")
    drawn = [cast(PsfBlur, blur.draw(Key(seed).at("lens", i))) for i in range(states)]
    if states > 1 and not any(isinstance(v, Prior) for _, v in leaves(blur)):
        raise RecipeError(f"{states} states were asked for, but the blur draws nothing: ask for one")
    y, x = (
        np.linspace(-half, half, n) if n > 1 else np.zeros(1) for half, n in zip(half_sides(aspect), grid, strict=True)
    )
    side = 2 * blur.radius + 1
    psf = np.empty((states, *grid, 3, side, side), np.float32)
    sensor = Sensor.make(grid[1], pitch=pitch)
    for i, (op, row) in enumerate(itertools.product(drawn, range(grid[0]))):
        at = torch.from_numpy(np.stack((np.full(grid[1], y[row]), x), axis=1).astype(np.float32))
        psf[i // grid[0], row] = op.kernel(sensor, at).numpy()
        progress(Done("tabulating", i + 1, states * grid[0], "rows of nodes"))
    aperture = any(isinstance(k, ApertureKernel) for op in drawn for k in op.kernels)
    return Lens(psf, y, x, pitch, aperture, _table(blur, drawn), about)


def _table(blur: PsfBlur, drawn: Sequence[PsfBlur]) -> dict[str, tuple[float, ...]]:
    """The numbers that were drawn, or differ otherwise, by the name of their field; a count where there are none."""
    asked = dict(leaves(blur))
    found = [{p: v for p, v in leaves(op) if type(v) in (int, float)} for op in drawn]
    shared = [p for p in found[0] if all(p in f for f in found)]
    paths = [p for p in shared if isinstance(asked.get(p), Prior) or len({f[p] for f in found}) > 1]
    short = [next(n for n in reversed(p) if isinstance(n, str)) for p in paths]
    names = [n if short.count(n) == 1 else "_".join(map(str, p)) for n, p in zip(short, paths, strict=True)]
    table = {n: tuple(float(f[p]) for f in found) for n, p in zip(names, paths, strict=True)}
    return table or {"index": tuple(map(float, range(len(drawn))))}
