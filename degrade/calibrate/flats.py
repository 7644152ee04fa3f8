"""Folders of flats and darks: read as DN, put in pairs, and refused with a reason where they would mislead.

A pair is two consecutive files of equal ISO, exposure and aperture.  DN are those of the file, whole numbers: the
signal of `read_raw` times (white - black) plus black.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import rawpy
import torch
from numpy.typing import NDArray

from degrade.core.disk import StrPath
from degrade.core.errors import PhotoError
from degrade.maths import bayer
from degrade.maths.types import Array
from degrade.photos.facts import RawFacts
from degrade.photos.folder import RAW_EXTENSIONS, find_photos, path_of
from degrade.photos.raw import raw_facts, read_raw

PLANES = ("R", "G1", "G2", "B")
_CLIPPED = 0.01  # share of a plane's photosites at saturation that a flat may have: hot pixels, not highlights
_UNLIKE = 0.05  # by how much the two flats of a pair may differ in brightness


@dataclass(frozen=True)
class Shot:
    """One RAW file of a series."""

    path: str
    facts: RawFacts
    iso: float

    @property
    def settings(self) -> tuple[float | None, ...]:
        """What two files of a pair have in common."""
        return self.iso, self.facts.exposure, self.facts.aperture


def find_shots(folder: StrPath, iso: float | None = None) -> list[Shot]:
    """The RAW files of a folder in the order of their names.

    Args:
        folder: where they lie.
        iso: overrides the files' ISO speed.

    Raises:
        PhotoError: if there are none, a file tells no ISO, or is a copy of another.
    """
    photos = [p for p in find_photos(folder) if os.path.splitext(p.key)[1].lower() in RAW_EXTENSIONS]
    if not photos:
        raise PhotoError(f"there is no RAW file in {folder}: calibration needs the sensor's own numbers")
    for photo in photos:
        if photo.duplicate_of is not None:
            raise PhotoError(
                f"{photo.key} in {folder} is a copy of {photo.duplicate_of}: remove it, it has no own noise"
            )
    return [shot(path_of(folder, p.key), iso) for p in photos]


def shot(path: StrPath, iso: float | None = None) -> Shot:
    """One file and what it says.

    Raises:
        PhotoError: if it cannot be used, or tells no ISO and none is given.
    """
    facts = raw_facts(path)
    speed = facts.iso if iso is None else iso
    if speed is None:
        raise PhotoError(f"{path} does not tell its ISO: name it with --iso, one folder an ISO")
    return Shot(os.fspath(path), facts, float(speed))


def same_camera(shots: Sequence[Shot]) -> None:
    """Check that files belong together.

    Raises:
        PhotoError: if one differs from the first in camera, size, mosaic or white level.
    """
    first = shots[0]
    for other in shots[1:]:
        for name, what in (("model", "camera"), ("size", "size"), ("phase", "mosaic"), ("white", "white level")):
            mine, its = getattr(first.facts, name), getattr(other.facts, name)
            if mine != its:
                raise PhotoError(
                    f"{other.path} has {what} {its} where {first.path} has {mine}: calibrate one camera and one "
                    "picture size at a time"
                )


def paired(shots: Sequence[Shot], kind: str) -> tuple[list[tuple[Shot, Shot]], list[str]]:
    """Pairs of consecutive files with equal settings, and the files left over.

    Args:
        shots: in their order.
        kind: what they are, for the message.

    Raises:
        PhotoError: if a file stands alone with its settings.
    """
    pairs: list[tuple[Shot, Shot]] = []
    left: list[str] = []
    for _, run in groupby(shots, key=lambda s: s.settings):
        group = list(run)
        if len(group) < 2:
            only = group[0]
            raise PhotoError(
                f"{only.path} is the only {kind} in a row with ISO {only.iso:g}, exposure {only.facts.exposure}: "
                "take at least 2, one after the other"
            )
        pairs += zip(group[::2], group[1::2], strict=False)
        left += [group[-1].path] if len(group) % 2 else []
    return pairs, left


def mosaic_of(one: Shot) -> Array:
    """(4, h, w) DN of R G1 G2 B."""
    facts = one.facts
    black = np.array(facts.black)[:, None, None]
    signal = read_raw(one.path, space="mosaic").data[0].double().numpy()
    return np.rint(signal * (facts.white - black) + black)


def masked(one: Shot) -> Array:
    """(4, h, w) DN of the photosites that the camera keeps in the dark, at the top or the left of the picture.

    Raises:
        PhotoError: if the file has none, or what lies there is not dark.
    """
    with rawpy.imread(one.path) as raw:
        sizes, whole = raw.sizes, torch.from_numpy(raw.raw_image.copy())
    top, left = sizes.top_margin, sizes.left_margin
    # an even distance keeps the phase of the visible area; the outermost 2 photosites are often unlike the rest
    region = whole[2 + top % 2 : top, left:] if top >= left else whole[top:, 2 + left % 2 : left]
    if min(region.shape) < 10:
        raise PhotoError(f"{one.path} shows no masked pixels ({top} rows, {left} columns): take darks instead")
    dn = bayer.pack(region, one.facts.phase).double().numpy()
    facts = one.facts
    off = np.abs(np.median(dn, axis=(1, 2)) - facts.black).max()
    if off > 0.02 * (facts.white - max(facts.black)):
        raise PhotoError(
            f"{one.path} has a margin that is not masked, {off:.0f} DN off its black level: take darks instead"
        )
    return dn


def step_of(dn: Array) -> float:
    """Distance of two neighbouring levels [DN]: above 1 where a file was shifted to more bits.

    >>> step_of(np.array([4.0, 8.0, 20.0]))
    4.0
    """
    levels = np.unique(dn).astype(np.int64)
    return float(max(np.gcd.reduce(levels - levels[0]), 1))


def saturation(dn: Array, facts: RawFacts) -> Array:
    """(4,) level where each plane clips [DN]: white, or lower where values pile up at their highest."""
    found: list[float] = []
    for plane, black in zip(dn, facts.black, strict=True):
        high = float(plane.max())
        piled = high - black > 0.5 * (facts.white - black) and float((plane == high).mean()) > _CLIPPED
        found.append(high if piled else facts.white)
    return np.array(found)


def check_flat(one: Shot, dn: Array) -> None:
    """Refuse a flat that clips.

    Raises:
        PhotoError: naming the plane and how much of it.
    """
    for name, plane, limit in zip(PLANES, dn, saturation(dn, one.facts), strict=True):
        share = float((plane >= limit).mean())
        if share > _CLIPPED:
            raise PhotoError(
                f"{one.path} clips: {share:.0%} of {name} at {limit:.0f} DN: expose it shorter, or leave it and its "
                "partner out"
            )


def check_pair(pair: tuple[Shot, Shot], a: Array, b: Array) -> None:
    """Refuse two flats of different light.

    Raises:
        PhotoError: naming both and by how much they differ.
    """
    black = np.array(pair[0].facts.black)
    first, second = (x.mean((1, 2)) - black for x in (a, b))
    worst = int(np.argmax(np.abs(first - second) / np.maximum(np.abs(first + second) / 2, 20)))
    ratio = abs(first[worst] - second[worst]) / max(abs(first[worst] + second[worst]) / 2, 20)
    if ratio > _UNLIKE:
        raise PhotoError(
            f"{pair[0].path} and {pair[1].path} have equal settings but differ by {ratio:.0%} in {PLANES[worst]}: "
            "a pair needs the same light, take both at once"
        )


def check_dark(one: Shot, dn: Array) -> None:
    """Refuse a dark that has seen light: too bright, or brighter at one side.

    Raises:
        PhotoError: naming how bright and what to do.
    """
    facts = one.facts
    black, span = np.array(facts.black), facts.white - max(facts.black)
    sigma = np.array([plane[_inner(plane)].std() for plane in dn])
    above = np.median(dn, axis=(1, 2)) - black
    worst = int(np.argmax(above))
    if above[worst] > max(3 * sigma[worst], 0.002 * span, 2.0):
        raise PhotoError(
            f"{one.path} is no dark: {PLANES[worst]} lies {above[worst]:.0f} DN above the black level "
            f"{black[worst]:g}: light leaks in, cover lens and viewfinder, or move it to the flats"
        )
    for name, plane, noise in zip(PLANES, dn, sigma, strict=True):
        blocks = [np.median(b) for rows in np.array_split(plane, 4, 0) for b in np.array_split(rows, 4, 1)]
        uneven, error = float(np.ptp(blocks)), 1.2533 * noise / np.sqrt(plane.size / 16)
        if uneven > max(noise, 0.0002 * span, 1.0, 6 * error):
            raise PhotoError(
                f"{one.path} is uneven: {name} differs by {uneven:.1f} DN across the frame: light leaks in (or the "
                "amplifier glows): cover lens and viewfinder, expose shorter"
            )


def _inner(plane: Array) -> NDArray[np.bool_]:
    """All but the lowest and highest thousandth, among which hot pixels are."""
    low, high = np.quantile(plane, (0.001, 0.999))
    return (plane >= low) & (plane <= high)
