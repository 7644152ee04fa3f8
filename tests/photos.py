"""Small synthetic RAW photographs, a recipe that suits them, and files that only look like photographs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from degrade.photos import write_dng
from degrade.recipe.recipe import Recipe

BLACK, WHITE = 512, 16383
SIZE = (112, 136)  #: photosites; at shrink 2 it holds patches of 16 with a margin of 16

#: The published method's four planes, with draws of every kind, at a size that renders in milliseconds.
RECIPE = """
seed: 7
source: {space: linear, shrink: 2, camera: demo-a}
operators:
  expose:   {op: exposure, stops: {uniform: [0, 1.5]}}
  patches:  {op: crop, size: 16, margin: 16, per_photo: 6}
  optics:   {op: psf_blur, kernels: [{psf: gaussian, sigma: {uniform: [0.3, 1.0]}}]}
  cfa:      {op: mosaic}
  noise:    {op: sensor_noise, iso: {choice: [100, 400, 1600]}, reference: noise_blur}
  adc:      {op: quantise}
planes:
  clean:      [expose, patches, cfa, adc]
  blur:       [expose, patches, optics, cfa, adc]
  noise:      [expose, patches, cfa, noise, adc]
  noise_blur: [expose, patches, optics, cfa, noise, adc]
block: 4
"""


def recipe(*changes: tuple[str, str]) -> Recipe:
    """The recipe with pieces of its text replaced; each piece must be there."""
    return Recipe.parse(recipe_text(*changes))


def recipe_text(*changes: tuple[str, str]) -> str:
    """The recipe's text with pieces replaced; each piece must be there."""
    text = RECIPE
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def scene(seed: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint16]:
    """A textured Bayer mosaic [DN]: waves of several lengths and grain, nowhere constant, nowhere clipped."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in size), indexing="ij")
    light = rng.random(size, np.float32) * 0.1
    for length in (64, 19, 7):
        angle, phase = rng.uniform(0, 2 * np.pi, 2)
        light += 0.1 * (1 + np.sin((x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / length) + phase))
    light[::2, ::2] *= 0.5
    light[1::2, 1::2] *= 0.7
    return np.round(BLACK + light * (WHITE - BLACK)).astype(np.uint16)


def write_photo(path: Path, seed: int = 0, size: tuple[int, int] = SIZE, **facts: Any) -> Path:
    """One photograph; ``facts`` are those of `write_dng`."""
    write_dng(path, scene(seed, size), **{"black": BLACK, "white": WHITE, "iso": 100, **facts})
    return path


def write_photos(folder: Path, n: int, size: tuple[int, int] = SIZE, **facts: Any) -> Path:
    """A folder with photographs p000.dng, p001.dng, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        write_photo(folder / f"p{i:03d}.dng", i, size, **facts)
    return folder


def write_odd_dng(path: Path, pixels: NDArray[np.uint16], photometric: int, pattern: Iterable[int] = ()) -> Path:
    """A DNG that is no Bayer mosaic: another colour pattern (a square one), or none (LinearRaw is 34892)."""
    colours = tuple(pattern)
    side = round(len(colours) ** 0.5)
    tags: list[Any] = [(50706, 1, 4, (1, 4, 0, 0), True), (50708, 2, 0, "nobody 1", True)]
    if colours:
        tags += [(33421, 3, 2, (side, side), True), (33422, 1, side * side, colours, True)]
    tifffile.imwrite(path, pixels, photometric=photometric, planarconfig=1, metadata=None, extratags=tags)
    return path
