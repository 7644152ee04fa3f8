"""A camera's noise from its own files: ``variance = (k1 S + k0) ISO / 100``, for R G1 G2 B, in DN at ISO 100.

Best first: pairs of flats and darks; flats with the masked margin in place of darks; the DNG's own NoiseProfile; one
picture.  Each gives a `Calibration`, whose `camera` a recipe can name once it is written.  S counts from the measured
black level; the variance of rounding, step^2 / 12, is not part of k0.

Source: Janesick, Photon Transfer (SPIE 2007); DNG specification (NoiseProfile: ``S x + O`` of the normalised signal).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from degrade.calibrate import flats as series
from degrade.calibrate.flats import PLANES, Shot
from degrade.core.disk import StrPath, whole
from degrade.core.errors import PhotoError, speaking
from degrade.core.explain import in_one_sentence
from degrade.gear.cameras import Camera, Ladder
from degrade.maths.transfer import Line, Points, fit, pair_points, picture_points
from degrade.maths.types import Array
from degrade.photos.raw import read_raw

_TILE = 32  # packed pixels: 1,024 samples, 4.4% of error a variance
_LEVELS = 8  # fewer distinct brightnesses than this are worth a warning
_FLAT = 2.0  # a tile of a picture holds texture if its structure exceeds the noise so many times


@dataclass(frozen=True)
class Speed:
    """What was measured at one ISO."""

    iso: float
    points: Points  #: (4, n) signal above black and variance less rounding [DN, DN^2], as measured at this ISO
    rounding: float  #: variance of rounding, which was subtracted [DN^2]
    black: tuple[float, ...]  #: measured black level of R G1 G2 B [DN]
    levels: int  #: distinct brightnesses among the pairs
    lines: tuple[Line, ...]  #: of R G1 G2 B, in DN at ISO 100


@dataclass(frozen=True)
class Calibration:
    """A camera and how well it is known."""

    camera: Camera
    name: str
    method: str
    lines: tuple[Line, ...]  #: of R G1 G2 B, all ISOs together, in DN at ISO 100
    speeds: tuple[Speed, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    def write(self, path: StrPath) -> Path:
        """Write the camera as JSON, whole or not at all; a recipe then says ``camera: path``."""
        out = Path(path)
        with whole(out) as temporary:
            temporary.write_text(self.camera.model_dump_json(indent=1, exclude_defaults=True) + "\n", "utf-8")
        return out


def from_flats(
    flats: StrPath, darks: StrPath | None, *, pitch: float, iso: float | None = None, name: str | None = None
) -> Calibration:
    """Photon transfer from pairs of flats, with darks or, where ``darks`` is None, the masked margin of the flats.

    Args:
        flats, darks: folders of RAW files, two or more a setting; flats of about 12 brightnesses.
        pitch: photosite pitch [um], which no file tells.
        iso: overrides the files' ISO speed.
        name: of the camera; default what the files say.

    Raises:
        PhotoError: for files that would mislead: clipped flats, leaking darks, other cameras, single files.
    """
    bright = series.find_shots(flats, iso)
    dark = [] if darks is None else series.find_shots(darks, iso)
    series.same_camera([*bright, *dark])
    bright_pairs, left = series.paired(bright, "flat")
    dark_pairs, more = series.paired(dark, "dark")
    warnings = [f"{path} has no partner and was left out" for path in (*left, *more)]
    speeds: list[Speed] = []
    for speed in sorted({a.iso for a, _ in bright_pairs}):
        at_dark = [pair for pair in dark_pairs if pair[0].iso == speed]
        if darks is not None and not at_dark:
            raise PhotoError(f"there are no darks at ISO {speed:g} in {darks}: take at least 2 with the lens covered")
        with speaking(PhotoError, f"{flats}, ISO {speed:g}: "):
            speeds.append(_speed(speed, [pair for pair in bright_pairs if pair[0].iso == speed], at_dark, warnings))
    method = "pairs of flats and darks" if darks is not None else "pairs of flats and masked pixels"
    return _calibration(bright[0], speeds, pitch, name, method, warnings)


def from_picture(path: StrPath, *, pitch: float, iso: float | None = None, name: str | None = None) -> Calibration:
    """Photon transfer from the even places of one picture, black as the file states it: a makeshift that says so.

    Tiles of 8 x 8 pixels that hold coarser structure than their noise explains are left out; noise is what differs
    between neighbours. What texture is left raises k1, and a camera's own denoising lowers it.

    Raises:
        PhotoError: if the picture has too few even places.
    """
    one = series.shot(path, iso)
    dn = series.mosaic_of(one)
    rounding = series.step_of(dn) ** 2 / 12
    with speaking(PhotoError, f"{path}: "):
        raw, structure = picture_points(dn)
        black, limit = np.array(one.facts.black)[:, None], series.saturation(dn, one.facts)[:, None]
        usable = (raw.mean + 4 * np.sqrt(raw.variance) < limit).all(0) & (raw.variance > 0).all(0)
        even, signal = np.asarray(usable, np.bool_), raw.mean - black
        for _ in range(4):
            own = _lines(_chosen(raw, even, signal, rounding, path), rounding)
            expected = np.stack([line.at(m) for line, m in zip(own, signal, strict=True)]) + rounding
            even = np.asarray(usable & ((structure / np.maximum(expected, rounding)).mean(0) < _FLAT), np.bool_)
        points = _chosen(raw, even, signal, rounding, path)
        only = Speed(one.iso, points, rounding, one.facts.black, 1, _lines(points, rounding, one.iso))
    warning = (
        "one picture cannot tell noise from fine texture or PRNU and has no dark: where flat pairs gave k1 = 2.10, a "
        "naive fit of one picture gave 2.73; take flats and darks where it matters"
    )
    return _calibration(one, [only], pitch, name, f"even places of one picture, {Path(path).name}", [warning])


def _chosen(raw: Points, even: NDArray[np.bool_], signal: Array, rounding: float, path: StrPath) -> Points:
    if even.sum() < 50:
        raise PhotoError(f"{path} has {even.sum()} even places, too few for a noise curve: take flats and darks")
    return Points(signal[:, even], raw.variance[:, even] - rounding, raw.dof[:, even])


def from_profile(path: StrPath, *, pitch: float, iso: float | None = None, name: str | None = None) -> Calibration:
    """The maker's own curve, from a DNG's NoiseProfile: ``k1 = S W 100 / ISO``, ``k0 = O W^2 100 / ISO``.

    Raises:
        PhotoError: if the file has none.
    """
    one = series.shot(path, iso)
    if one.facts.noise_profile is None:
        raise PhotoError(f"{path} has no NoiseProfile (only some DNGs do): take flats and darks instead")
    span = [one.facts.white - black for black in one.facts.black]
    lines = tuple(
        Line(max(s, 0.0) * w * 100 / one.iso, max(o, 0.0) * w * w * 100 / one.iso, 0.0, 0.0)
        for (s, o), w in zip(one.facts.noise_profile, span, strict=True)
    )
    return _built(one, lines, pitch, name, f"NoiseProfile of {Path(path).name} at ISO {one.iso:g}", one.facts.black)


def _speed(
    iso: float, flats: Sequence[tuple[Shot, Shot]], darks: Sequence[tuple[Shot, Shot]], warnings: list[str]
) -> Speed:
    """All pairs of one ISO; without darks, the margin of the flats is the dark."""
    found: list[Points] = []
    blacks: list[Array] = []
    steps: list[float] = []
    margins: list[tuple[Array, Array]] = []
    for a, b in darks:
        x, y = series.mosaic_of(a), series.mosaic_of(b)
        series.check_dark(a, x)
        series.check_dark(b, y)
        margins.append((x, y))
        if float((x == 0).mean()) > 0.01:
            warnings.append(f"{a.path} clips at 0 DN: its camera removes black, and k0 comes out too low")
    margins += [(series.masked(a), series.masked(b)) for a, b in flats if not darks]
    for x, y in margins:
        points = pair_points(x, y, min(_TILE, *x.shape[1:]))
        blacks.append(np.median(points.mean, axis=1))
        steps.append(series.step_of(x))
        found.append(points)
    black = np.mean(blacks, axis=0)
    brightness: list[float] = []
    for a, b in flats:
        x, y = series.mosaic_of(a), series.mosaic_of(b)
        series.check_flat(a, x)
        series.check_flat(b, y)
        series.check_pair((a, b), x, y)
        points = pair_points(x, y, min(_TILE, *x.shape[1:]))
        limit = np.minimum(series.saturation(x, a.facts), series.saturation(y, b.facts))[:, None]
        # a tile near saturation would lack the upper tail of its noise; all planes keep the same tiles
        inside = (points.mean + 4 * np.sqrt(points.variance) < limit).all(0)
        found.append(Points(*(values[:, inside] for values in points)))
        brightness.append(float((x.mean((1, 2)) - black).mean()))
    step = min(steps)
    mean, variance, dof = (np.concatenate([getattr(p, n) for p in found], 1) for n in ("mean", "variance", "dof"))
    points = Points(mean - black[:, None], variance - step**2 / 12, dof)
    levels = _distinct(brightness)
    if levels < 3:
        raise PhotoError(f"ISO {iso:g} has {levels} brightnesses of flats, a line needs at least 3, better 12")
    if levels < _LEVELS:
        warnings.append(f"ISO {iso:g} has only {levels} brightnesses of flats: about 12 make a sound curve")
    return Speed(iso, points, step**2 / 12, tuple(map(float, black)), levels, _lines(points, step**2 / 12, iso))


def _distinct(brightness: Sequence[float]) -> int:
    """How many levels differ by more than 5%."""
    count, last = 0, -np.inf
    for level in sorted(brightness):
        if level > 1.05 * last + 1 or not count:
            count, last = count + 1, level
    return count


def _lines(points: Points, rounding: float, iso: float = 100.0) -> tuple[Line, ...]:
    gain = 100 / iso
    return tuple(fit(points.mean[c], points.variance[c] * gain, points.dof[c], rounding * gain) for c in range(4))


def _calibration(
    one: Shot, speeds: Sequence[Speed], pitch: float, name: str | None, method: str, warnings: list[str]
) -> Calibration:
    """The curve that all speeds share, and how far each of them is from it."""
    gains = [100 / s.iso for s in speeds]
    lines = tuple(
        fit(
            np.concatenate([s.points.mean[c] for s in speeds]),
            np.concatenate([s.points.variance[c] * g for s, g in zip(speeds, gains, strict=True)]),
            np.concatenate([s.points.dof[c] for s in speeds]),
            np.concatenate(
                [np.full(len(s.points.mean[c]), s.rounding * g) for s, g in zip(speeds, gains, strict=True)]
            ),
        )
        for c in range(4)
    )
    apart = _departures(speeds, lines) if len(speeds) > 1 else []
    black = [float(np.mean([s.black[c] for s in speeds])) for c in range(4)]
    how = f"{method} at ISO {', '.join(f'{s.iso:g}' for s in speeds)}"
    # one curve for all where the formula holds, else what was measured, ISO by ISO
    ladder = None
    if apart:
        ladder = Ladder(
            iso=tuple(s.iso for s in speeds),
            k1=tuple(_four(s.lines, "k1") for s in speeds),
            k0=tuple(_four(s.lines, "k0") for s in speeds),
        )
    return _built(one, lines, pitch, name, how, black, speeds, [*warnings, *apart], ladder)


def _four(lines: Sequence[Line], what: str) -> tuple[float, float, float, float]:
    """A coefficient of R G1 G2 B, six digits, not below 0."""
    r, g1, g2, b = (float(f"{max(getattr(line, what), 0.0):.6g}") for line in lines)
    return r, g1, g2, b


def _departures(speeds: Sequence[Speed], lines: Sequence[Line]) -> list[str]:
    found: list[str] = []
    for s in speeds:
        for what in ("k1", "k0"):
            pairs = [
                (getattr(own, what), getattr(own, f"{what}_error"), getattr(line, what))
                for own, line in zip(s.lines, lines, strict=True)
            ]
            plane = int(np.argmax([abs(v - common) for v, _, common in pairs]))
            value, error, common = pairs[plane]
            if abs(value - common) > max(0.05 * abs(common), 3 * error):
                found.append(
                    f"at ISO {s.iso:g} {what} of {PLANES[plane]} is {value:.4g}, {value / common - 1:+.0%} from the "
                    "common curve: the camera file gets a table over ISO"
                )
    return found


def _built(
    one: Shot,
    lines: tuple[Line, ...],
    pitch: float,
    name: str | None,
    method: str,
    black: Sequence[float],
    speeds: Sequence[Speed] = (),
    warnings: Sequence[str] = (),
    table: Ladder | None = None,
) -> Calibration:
    facts = one.facts
    model = read_raw(one.path, space="mosaic").model
    called = name or model or "unnamed camera"
    low = [
        f"{n} of {plane}"
        for plane, line in zip(PLANES, lines, strict=True)
        for n in ("k1", "k0")
        if getattr(line, n) < 0
    ]
    if low:
        warnings = [*warnings, f"below 0 and set to 0: {', '.join(low)}"]
    blacks = ", ".join(f"{b:.6g}" for b in black)
    with in_one_sentence(where=f"{one.path}: the camera as measured: "):
        camera = Camera.model_validate(
            {
                "about": f"{called}: noise from {method}; black of R G1 G2 B {blacks} DN.",
                "models": (model,) if model else (),
                "black": round(sum(black) / 4),
                "white": facts.white,
                "bits": facts.bits,
                "pitch": pitch,
                "k1": _four(lines, "k1"),
                "k0": _four(lines, "k0"),
                "table": table,
            }
        )
    return Calibration(camera, called, method, lines, tuple(speeds), tuple(warnings))
