"""Write a Bayer DNG: a mosaic and what is known about it, exactly as it will be read back.

One uncompressed strip, or tiles of lossless JPEG, and the tags of DNG 1.4, written by tifffile.  Real numbers become
the nearest fractions of 32 bits, so that decimals such as 2.1 or 1/125 return unchanged.  Source: Adobe DNG
specification 1.7, TIFF/EP.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from tifffile import COMPRESSION, DATATYPE, PHOTOMETRIC, PLANARCONFIG, TIFF

from degrade.core.disk import whole
from degrade.core.errors import RecipeError, find
from degrade.maths.cfa import BAYER, PHASES

TAGS: Any = TIFF.TAGS  #: a tag's code by its name
_D65 = 21
_TILE = 512


def write_dng(
    path: str | os.PathLike[str],
    mosaic: NDArray[np.uint16],
    *,
    phase: str = "RGGB",
    black: float | Sequence[float] = 0,
    white: float = 65535,
    iso: float | None = None,
    exposure: float | None = None,
    white_balance: Sequence[float] = (1.0, 1.0, 1.0),
    matrix: Sequence[Sequence[float]] | None = None,
    noise_profile: Sequence[Sequence[float]] | None = None,
    make: str = "degrade",
    model: str = "degrade demo-a",
    active_area: tuple[int, int, int, int] | None = None,
    compressed: bool = False,
) -> None:
    """Write a mosaic as DNG, whole or not at all (temporary name in the same folder, fsync, rename).

    Args:
        path: the file; an existing one is replaced.
        mosaic: (h, w) uint16 photosites [DN], at least 22 x 22: LibRaw opens nothing smaller.
        phase: colours of the first two rows (of the active area), ``RGGB``, ``GRBG``, ``GBRG`` or ``BGGR``.
        black: black level, one whole number or four for R G1 G2 B [DN, 0 to 65535].
        white: saturation level, a whole number above black [DN, up to 65535].
        iso: ISO speed; written in the main directory, where LibRaw does not look but `raw_facts` does.
        exposure: exposure time [s].
        white_balance: gains for R G B that make grey equal, above 0.
        matrix: XYZ (D65) to camera RGB, 3 x 3; left out if None.
        noise_profile: shot and read (S, O) for R G1 G2 B, variance ``S x + O`` of the normalised signal.
        make, model: ASCII names; invent one, or LibRaw replaces facts by its own table of known cameras.
        active_area: top, left, bottom, right of the visible photosites; default all.
        compressed: keep the photosites as lossless JPEG, as most cameras and converters do.

    Raises:
        RecipeError: if something cannot be written exactly.

    >>> import tempfile
    >>> from degrade.photos.raw import raw_facts
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mosaic = np.arange(1024, dtype=np.uint16).reshape(32, 32)
    ...     write_dng(f"{folder}/a.dng", mosaic, phase="BGGR", iso=200, white=4095)
    ...     facts = raw_facts(f"{folder}/a.dng")
    >>> facts.phase, facts.white, facts.bits, facts.iso
    ('BGGR', 4095.0, 12, 200.0)
    """
    if mosaic.ndim != 2 or mosaic.dtype != np.uint16 or min(mosaic.shape) < 22:
        raise RecipeError(f"a DNG takes a uint16 mosaic of 22 x 22 or more, got {mosaic.shape} of {mosaic.dtype}")
    tags: list[tuple[int, int, int, Any, bool]] = []

    def tag(name: str, kind: int, *values: Any) -> None:
        count = len(values) // 2 if kind in (DATATYPE.RATIONAL, DATATYPE.SRATIONAL) else len(values)
        tags.append((TAGS[name], kind, count, values[0] if len(values) == 1 else values, True))

    for name, text in (("Make", make), ("Model", model), ("UniqueCameraModel", model)):
        if not text.isascii():
            raise RecipeError(f"make and model must be ASCII in a DNG, got {text!r}")
        tags.append((TAGS[name], DATATYPE.ASCII, 0, text, True))
    tag("CFARepeatPatternDim", DATATYPE.SHORT, 2, 2)
    tag("CFAPattern", DATATYPE.BYTE, *_pattern(phase, BAYER.colours))
    tag("DNGVersion", DATATYPE.BYTE, 1, 4, 0, 0)
    tag("DNGBackwardVersion", DATATYPE.BYTE, 1, 1, 0, 0)
    tag("CFAPlaneColor", DATATYPE.BYTE, 0, 1, 2)
    tag("CFALayout", DATATYPE.SHORT, 1)
    blacks = list(black) if isinstance(black, Sequence) else [black] * 4
    if len(blacks) != 4 or any(b != int(b) or not 0 <= b < 65536 for b in blacks):
        raise RecipeError(f"black must be a whole number or four of them for R G1 G2 B, 0 to 65535, got {black}")
    if white != int(white) or not max(blacks) < white < 65536:
        raise RecipeError(f"white must be a whole number above black and at most 65535, got {white} (black {black})")
    tag("BlackLevelRepeatDim", DATATYPE.SHORT, 2, 2)
    tag("BlackLevel", DATATYPE.SHORT, *_pattern(phase, [int(b) for b in blacks]))
    tag("WhiteLevel", DATATYPE.LONG, int(white))
    if len(white_balance) != 3 or min(white_balance) <= 0:
        raise RecipeError(f"white_balance must be three gains above 0, got {list(white_balance)}")
    neutral = (1 / Fraction(gain).limit_denominator(10**6) for gain in white_balance)
    tag("AsShotNeutral", DATATYPE.RATIONAL, *_fractions(neutral))
    if matrix is not None:
        if [len(row) for row in matrix] != [3, 3, 3]:
            raise RecipeError(f"matrix must be 3 x 3, XYZ to camera RGB, got {matrix}")
        entries = (Fraction(v).limit_denominator(10**6) for row in matrix for v in row)
        tag("ColorMatrix1", DATATYPE.SRATIONAL, *_fractions(entries))
        tag("CalibrationIlluminant1", DATATYPE.SHORT, _D65)
    if noise_profile is not None:
        if [len(pair) for pair in noise_profile] != [2, 2, 2, 2]:
            raise RecipeError(f"noise_profile must be four pairs (S, O) for R G1 G2 B, got {noise_profile}")
        # The tag has one pair a colour; both greens are one colour to DNG unless they truly differ.
        pairs = [tuple(pair) for pair in noise_profile]
        if pairs[1] != pairs[2]:
            raise RecipeError(f"a DNG has one noise line a colour, so G1 and G2 must agree, got {pairs[1]}, {pairs[2]}")
        tag("NoiseProfile", DATATYPE.DOUBLE, *(float(v) for k in (0, 1, 3) for v in pairs[k]))
    if iso is not None:
        if iso != int(iso) or not 1 <= iso < 2**32:
            raise RecipeError(f"iso must be a whole number from 1 up, got {iso}")
        tag("ISOSpeedRatings", DATATYPE.SHORT, min(int(iso), 65535))
        tag("ISOSpeed", DATATYPE.LONG, int(iso))
    if exposure is not None:
        if not exposure > 0:
            raise RecipeError(f"exposure must be above 0 seconds, got {exposure}")
        tag("ExposureTime", DATATYPE.RATIONAL, *_fractions([Fraction(exposure).limit_denominator(10**6)]))
    if active_area is not None:
        tag("ActiveArea", DATATYPE.LONG, *active_area)
    _write(Path(path), mosaic, tags, compressed)


def _pattern(phase: str, values: Sequence[int]) -> list[int]:
    """Values of R G1 G2 B in the order of the phase's 2 x 2 photosites, rows first."""
    return [value for _, value in sorted(zip(find(phase, PHASES, "Bayer phase").sites, values, strict=True))]


def _fractions(values: Any) -> list[int]:
    """Numerators and denominators, checked to fit 32 bits."""
    parts = [part for value in values for part in (value.numerator, value.denominator)]
    if any(abs(part) >= 2**31 for part in parts):
        raise RecipeError(f"numbers too large or too small for a DNG fraction: {parts}")
    return parts


def _tiles(mosaic: NDArray[np.uint16], side: int) -> Iterator[bytes]:
    """Lossless JPEGs of squares, rows first; what hangs over the edge repeats it."""
    height, width = (-n % side for n in mosaic.shape)
    padded = np.pad(mosaic, ((0, height), (0, width)), mode="edge")
    for y in range(0, len(padded), side):
        for x in range(0, padded.shape[1], side):
            square = np.ascontiguousarray(padded[y : y + side, x : x + side])
            yield bytes(imagecodecs.ljpeg_encode(square, bitspersample=16))


def _write(path: Path, mosaic: NDArray[np.uint16], tags: list[tuple[int, int, int, Any, bool]], tiled: bool) -> None:
    kept: dict[str, Any] = {"data": mosaic, "rowsperstrip": mosaic.shape[0]}
    if tiled:
        side = min(_TILE, min(mosaic.shape) // 16 * 16)  # LibRaw misreads a tile that is wider than the picture
        kept = {"data": _tiles(mosaic, side), "shape": mosaic.shape, "dtype": mosaic.dtype}
        kept |= {"tile": (side, side), "compression": COMPRESSION.JPEG}
    with whole(path) as temporary:
        tifffile.imwrite(
            temporary,
            photometric=PHOTOMETRIC.CFA,
            planarconfig=PLANARCONFIG.CONTIG,
            metadata=None,
            software="degrade",
            subfiletype=0,
            extratags=tags,
            **kept,
        )
