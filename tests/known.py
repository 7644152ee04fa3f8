"""Cameras whose noise is known, and series of flats and darks that they take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from degrade.calibrate.noise import Calibration
from degrade.photos import write_dng

LEVELS = (0.01, 0.03, 0.06, 0.1, 0.16, 0.23, 0.31, 0.4, 0.5, 0.6, 0.7, 0.8)


@dataclass(frozen=True)
class Known:
    """A camera whose noise is known."""

    black: int
    white: int
    k1: tuple[float, float, float, float]
    k0: tuple[float, float, float, float]
    name: str = "invented one"

    def expose(self, light: NDArray[np.float64], iso: float, rng: np.random.Generator) -> NDArray[np.uint16]:
        """The mosaic of a light [fraction of white], (h, w) photosites."""
        signal = light * (self.white - self.black)
        k1, k0 = (
            np.tile(np.reshape(k, (2, 2)), (light.shape[0] // 2, light.shape[1] // 2)) for k in (self.k1, self.k0)
        )
        sigma = np.sqrt((k1 * signal + k0) * iso / 100)
        dn = np.rint(signal + sigma * rng.standard_normal(light.shape) + self.black)
        return np.clip(dn, 0, self.white).astype(np.uint16)

    def series(self, folder: Path, iso: int, size: int, levels: tuple[float, ...] = LEVELS, darks: int = 8) -> None:
        """Flats (a pair a level, vignetting, PRNU) and darks, added to ``folder/flats`` and ``folder/darks``."""
        rng = np.random.default_rng([iso, self.black])
        axis = np.linspace(-1, 1, size)
        scene = (1 - 0.2 * (axis[:, None] ** 2 + axis**2)) * (1 + 0.01 * rng.standard_normal((size, size)))
        for kind in ("flats", "darks"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        for i, level in enumerate(levels):
            for j in range(2):
                self.save(folder / f"flats/{iso:05d}-{i:02d}-{j}.dng", scene * level, iso, rng, (i + 1) / 100)
        for i in range(darks):
            self.save(folder / f"darks/{iso:05d}-{i:02d}.dng", 0 * scene, iso, rng, 0.01)

    def save(
        self, path: Path, light: NDArray[np.float64], iso: int | None, rng: np.random.Generator, exposure: float
    ) -> None:
        """One file."""
        mosaic = self.expose(light, iso or 100, rng)
        write_dng(
            path, mosaic, black=self.black, white=self.white, iso=iso, exposure=exposure, make="nobody", model=self.name
        )


A = Known(256, 4095, (0.192, 0.192, 0.2, 0.18), (0.9, 0.95, 1.0, 1.1))
B = Known(1024, 16383, (0.256, 0.25, 0.25, 0.26), (1.05, 1.05, 1.05, 1.2))
CAMERAS = {
    "12 bit": A,
    "14 bit": B,
    "large photosites": Known(512, 16383, (0.0956,) * 4, (1.3,) * 4),
    "noisy": Known(2048, 15000, (2.1, 2.11, 2.12, 2.13), (136.0, 140.0, 144.0, 148.0)),
    "small photosites": Known(64, 1023, (0.12, 0.12, 0.12, 0.12), (0.45, 0.5, 0.5, 0.45)),
}


def worst(found: Calibration, known: Known) -> tuple[float, float]:
    """Largest relative error of k1 and of k0, of the common curve and of every ISO's own."""
    errors = [
        (abs(line.k1 / k1 - 1), abs(line.k0 / k0 - 1))
        for lines in (found.lines, *(s.lines for s in found.speeds))
        for line, k1, k0 in zip(lines, known.k1, known.k0, strict=True)
    ]
    k1, k0 = np.array(errors).max(0)
    return float(k1), float(k0)
