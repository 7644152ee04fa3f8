"""What a RAW file says of itself: its mosaic, levels, exposure, colour and noise.

The file's own tags come first where it has them, for they are exact; else LibRaw's word.  For two things LibRaw is not
asked at all: a DNG's black pattern starts at the active area, whose odd margins LibRaw makes even without turning the
pattern along, and NoiseProfile, which it does not pass on.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
import rawpy
import torch

from degrade.core.errors import PhotoError
from degrade.maths.cfa import BAYER, PHASES
from degrade.maths.colour import camera_to_srgb
from degrade.photos.tags import FRACTIONS, Tags, tag_numbers, text

Matrix = tuple[tuple[float, ...], ...]

_UNKNOWN_ISO: Final = (0.0, 65535.0)  # absent, and what 16 bits hold when the speed is higher
_DAYLIGHT: Final = (21.0, 20.0, 23.0, 1.0, 22.0)  # EXIF codes: D65, D55, D50, daylight, D75


@dataclass(frozen=True)
class RawFacts:
    """What a RAW file says of itself; a fact it does not state is None."""

    make: str | None
    model: str | None
    phase: str  #: colours of the first two rows of the visible area: RGGB, GRBG, GBRG or BGGR
    size: tuple[int, int]  #: height and width of the visible area [photosites]
    black: tuple[float, float, float, float]  #: black level of R G1 G2 B [DN]
    white: float  #: saturation level [DN]
    bits: int  #: bits that white needs
    iso: float | None  #: ISO speed
    exposure: float | None  #: exposure time [s]
    aperture: float | None  #: f-number
    focal_length: float | None  #: [mm]
    white_balance: tuple[float, float, float]  #: gains that make grey equal, green 1
    xyz_to_camera: Matrix | None  #: XYZ to camera RGB, at daylight
    matrix: Matrix  #: white-balanced camera RGB to linear sRGB, rows sum to 1
    noise_profile: tuple[tuple[float, float], ...] | None  #: (S, O) of R G1 G2 B: variance S x + O of normalised signal
    notes: tuple[str, ...] = ()  #: what had to be assumed


def gather(path: str | os.PathLike[str], raw: Any, tags: Tags) -> RawFacts:
    """Facts of an opened file.

    Raises:
        PhotoError: if it has no Bayer mosaic, or levels that make no sense.
    """
    if raw.raw_type != rawpy.RawType.Flat or raw.raw_pattern is None:
        raise PhotoError(f"{path} is already demosaicked: give the camera's own RAW file")
    if raw.raw_pattern.shape != (2, 2):
        kind = {(6, 6): "an X-Trans", (1, 1): "a monochrome"}.get(raw.raw_pattern.shape, "not a Bayer")
        raise PhotoError(f"{path} has {kind} sensor: only Bayer mosaics (2 x 2) can be read, leave it out")
    sizes = raw.sizes
    # `raw_pattern` and `raw_color` count from the corner with margins; LibRaw keeps the margins even for this reason.
    colours = [raw.raw_color(sizes.top_margin + y, sizes.left_margin + x) for y, x in BAYER.sites]
    phase = "".join(chr(raw.color_desc[c]) for c in colours)
    if phase not in PHASES:
        raise PhotoError(f"{path} has a mosaic of {phase}: only {', '.join(PHASES)} can be read, leave it out")
    notes: list[str] = []
    black = _by_channel(_black_of_sites(raw, tags, colours), phase)
    white = float(raw.white_level)
    if not white > max(black):
        raise PhotoError(f"{path} states a white level of {white:g} at or below black {max(black):g}: leave it out")
    camera, matrix = _colour(raw, tags, notes)
    other = raw.other
    shutter, aperture, focal = (
        _positive(tag_numbers(tags, name)[:1] or (value,))
        for name, value in zip(FRACTIONS, (other.shutter_speed, other.aperture, other.focal_length), strict=True)
    )
    return RawFacts(
        make=text(tags, "Make"),
        model=text(tags, "Model") or text(tags, "UniqueCameraModel"),
        phase=phase,
        size=(sizes.height, sizes.width),
        black=black,
        white=white,
        bits=int(white).bit_length(),
        iso=_iso(raw, tags),
        exposure=shutter,
        aperture=aperture,
        focal_length=focal,
        white_balance=_white_balance(raw, tags, notes),
        xyz_to_camera=camera,
        matrix=matrix,
        noise_profile=_noise_profile(tags),
        notes=tuple(notes),
    )


def _black_of_sites(raw: Any, tags: Tags, colours: Sequence[int]) -> list[float]:
    """Black level of the first 2 x 2 visible photosites, rows first."""
    levels = tag_numbers(tags, "BlackLevel")
    repeat = tuple(int(n) for n in tag_numbers(tags, "BlackLevelRepeatDim")) or (1, 1)
    rows, columns = repeat if len(repeat) == 2 else (0, 0)
    even = all(n == 1 or (n > 0 and n % 2 == 0) for n in repeat)
    slanted = "BlackLevelDeltaH" in tags or "BlackLevelDeltaV" in tags
    if not even or len(levels) != rows * columns or slanted or "DNGVersion" not in tags:
        return [float(raw.black_level_per_channel[c]) for c in colours]
    # A DNG's pattern starts at the active area, which LibRaw moves to even margins without turning the pattern along.
    top, left = (int(n) for n in (tag_numbers(tags, "ActiveArea") or (0.0, 0.0))[:2])
    pattern = np.tile(np.asarray(levels).reshape(rows, columns), (1 + (rows == 1), 1 + (columns == 1)))
    dy, dx = raw.sizes.top_margin - top, raw.sizes.left_margin - left
    return [float(pattern[(y + dy) % 2 :: 2, (x + dx) % 2 :: 2].mean()) for y, x in BAYER.sites]


def _by_channel(sites: Sequence[float], phase: str) -> tuple[float, float, float, float]:
    red, one, two, blue = (sites[2 * y + x] for y, x in PHASES[phase].sites)
    return red, one, two, blue


def _positive(values: Sequence[float]) -> float | None:
    """The first number that is finite and above 0."""
    return next((float(v) for v in values if math.isfinite(v) and v > 0), None)


def _iso(raw: Any, tags: Tags) -> float | None:
    stated = [float(raw.other.iso_speed)]
    for name in ("ISOSpeedRatings", "ISOSpeed", "RecommendedExposureIndex"):
        stated += tag_numbers(tags, name)[:1]
    return _positive([v for v in stated if v not in _UNKNOWN_ISO])


def _white_balance(raw: Any, tags: Tags, notes: list[str]) -> tuple[float, float, float]:
    # The neutral is a fraction: turned over as one, 10/21 gives 2.1 and not its neighbour.
    stated = tag_numbers(tags, "AsShotNeutral")
    neutral = [1 / Fraction(v).limit_denominator(10**7) if v >= 1e-6 else Fraction(0) for v in stated]
    for gains in (neutral, raw.camera_whitebalance, raw.daylight_whitebalance):
        if len(gains) >= 3 and all(math.isfinite(g) and g > 0 for g in gains[:3]):
            return float(gains[0] / gains[1]), 1.0, float(gains[2] / gains[1])
        if gains is raw.camera_whitebalance:
            notes.append("no white balance as shot: daylight assumed")
    notes.append("no white balance: 1 assumed")
    return 1.0, 1.0, 1.0


def _colour(raw: Any, tags: Tags, notes: list[str]) -> tuple[Matrix | None, Matrix]:
    """XYZ to camera, and balanced camera RGB to sRGB."""
    stated = {_lamp(tags, n): tag_numbers(tags, f"ColorMatrix{n}") for n in (2, 1)}
    ordered = sorted(stated, key=lambda lamp: _DAYLIGHT.index(lamp) if lamp in _DAYLIGHT else len(_DAYLIGHT))
    table = tuple(float(v) for v in np.asarray(raw.rgb_xyz_matrix)[:3].ravel())
    for values in (*(stated[lamp] for lamp in ordered), table):
        if len(values) == 9 and any(values):
            try:
                matrix = camera_to_srgb(torch.tensor(values, dtype=torch.float64).reshape(3, 3))
            except ValueError:
                continue
            return _rows(values), _rows(matrix.flatten().tolist())
    calculated = np.asarray(raw.color_matrix)[:3, :3].astype(float)
    if np.allclose(calculated.sum(1), 1, atol=1e-3):
        notes.append("no matrix from XYZ: the decoder's own way to sRGB taken")
        return None, _rows(calculated.ravel().tolist())
    notes.append("no colour matrix: camera RGB taken for sRGB")
    return None, _rows((1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


def _lamp(tags: Tags, n: int) -> float:
    """Illuminant of a colour matrix; negative numbers keep unknown ones apart."""
    return (tag_numbers(tags, f"CalibrationIlluminant{n}") or (-float(n),))[0]


def _rows(values: Sequence[float]) -> Matrix:
    return tuple(tuple(float(v) for v in values[i : i + 3]) for i in (0, 3, 6))


def _noise_profile(tags: Tags) -> tuple[tuple[float, float], ...] | None:
    """NoiseProfile has one pair for all colours or one a colour, in the order of CFAPlaneColor."""
    values = tag_numbers(tags, "NoiseProfile")
    pairs = list(zip(values[::2], values[1::2], strict=False))
    order = [int(v) for v in tag_numbers(tags, "CFAPlaneColor")] or [0, 1, 2]
    if not pairs or any(not math.isfinite(v) for v in values) or all(v <= 0 for v in values):
        return None
    if len(pairs) != len(order):
        return (pairs[0],) * 4
    colour = dict(zip(order, pairs, strict=True))
    return tuple(colour.get(c, pairs[0]) for c in BAYER.colours)
