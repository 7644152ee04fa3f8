"""The modulation transfer function (MTF) across a slanted edge, with its standard error.

The line of the edge is found first: a change point a row (or column), a robust line through them, then least squares,
with a bend of up to a pixel for a lens's distortion.  Samples at distance d from it are the edge spread function (ESF);
its derivative is the line spread function (LSF), and the MTF is ``|sum w(d) LSF(d) exp(-2 pi i f d)|``, 1 at f = 0.

The ESF is a cubic spline with knots every 1 / bins pixel, fitted by least squares, where the standard takes means in
bins: its derivative is exact, so neither a bin's aperture nor a finite difference has to be divided out, and uneven
phases do no harm.  The window w is Tukey's, flat over the inner three quarters.  Its half width W is as far as the
samples reach on both sides, at most 64 pixels, unless noise, which grows with sqrt(W), would exceed the tail of a
diffraction-limited lens beyond W, about 0.1 / W; but at least 16 pixels and four rises of the ESF.  Errors come from
the residuals themselves (White's), so noise may follow the signal; its own share of ``|H|^2`` is subtracted.

Sources: ISO 12233:2023, Annex D; Burns, Slanted-edge MTF for digital camera and scanner analysis (PICS 2000); White,
Econometrica 48 (1980).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_REACH = 64.0  # half width of the window [pixels], where the samples reach as far
_LEAST = 6.0  # narrower than this on a side is no measurement [pixels]
_CONTRAST = 8.0  # least contrast, in standard deviations of the noise
_BEND = 1.0  # most sag between the ends of the edge [pixels]
_STEPS = 256  # frequencies a cycle a pixel


@dataclass(frozen=True)
class Edge:
    """One edge and what it tells of the optics; all tensors float64."""

    frequency: Tensor  #: (n,) across the edge, 0 to 1 [cycles a pixel]
    mtf: Tensor  #: (n,) 1 at frequency 0
    error: Tensor  #: (n,) standard error of ``mtf``
    angle: float  #: of the edge from the nearer axis [degrees], positive where x grows with y
    upright: bool  #: whether that axis is y
    position: tuple[float, float]  #: (y, x) of the middle of the edge [pixels]
    bend: float  #: sag between the ends [pixels]
    contrast: float  #: difference of the two sides
    noise: float  #: standard deviation of the samples about the ESF
    distance: Tensor  #: (m,) from the edge, rising to the bright side [pixels]
    esf: Tensor  #: (m,) signal there
    lsf: Tensor  #: (m,) its derivative over the contrast [1 / pixel]
    width: float  #: half width of the window [pixels]
    place: Tensor  #: (p,) distances of some of the samples [pixels]
    residual: Tensor  #: (p,) what they have beyond the ESF, over the contrast
    count: int  #: samples used


def slanted_edge(y: Tensor, x: Tensor, value: Tensor, *, bins: int = 4) -> Edge:
    """Measure one straight edge, in samples at any places: a picture, or the photosites of one colour.

    Args:
        y, x: places [pixels], any shape.
        value: linear signal there, the same shape.
        bins: knots of the ESF a pixel.

    Raises:
        ValueError: if there is no single straight edge, too little contrast, too few samples, or an angle that puts
            the samples on too few places across the edge (near 0, 45 and 90 degrees), with what was found.

    >>> y, x = torch.meshgrid(*[torch.arange(64.0, dtype=torch.float64)] * 2, indexing="ij")
    >>> d = (x - 30.2 - math.tan(math.radians(5)) * (y - 31)) * math.cos(math.radians(5))
    >>> edge = slanted_edge(y, x, 0.2 + 0.5 * torch.special.ndtr(d / 0.8))       # blurred by a Gaussian of 0.8 px
    >>> round(edge.angle, 2), round(edge.mtf[64].item(), 3), round(math.exp(-2 * (math.pi * 0.8 * 0.25) ** 2), 3)
    (5.0, 0.454, 0.454)
    """
    y, x, value = (t.detach().reshape(-1).to(torch.float64) for t in (y, x, value))
    if not y.shape == x.shape == value.shape or bins < 1:
        raise ValueError(f"places and values need one shape and bins 1 or more, got {y.shape}, {value.shape}, {bins}")
    if len(value) < 100 or not bool(torch.isfinite(value).all()):
        raise ValueError(f"too few samples: {len(value)}, or some not finite; an edge needs 100 at the very least")
    low, high = _two_levels(value)
    upright = _slope(x, value) > _slope(y, value)
    along, across = (y, x) if upright else (x, y)
    t0 = float(along.mean())
    t = along - t0
    line, sign, noise = _first_line(along, across, value, (low + high) / 2)
    if high - low < _CONTRAST * noise:
        raise ValueError(
            f"too little contrast: {high - low:.3g} between the two sides, {(high - low) / noise:.1f} times the noise, "
            f"needs {_CONTRAST:g} times"
        )
    line[0] += line[1] * t0
    spline = _Spline(t, across, value, line, sign, bins)
    span = float(t.abs().max())
    for _ in range(8):
        step = spline.step()
        line = line + step
        spline = _Spline(t, across, value, line, sign, bins)
        if abs(float(step[1])) * span + abs(float(step[2])) * span**2 < 1e-4:
            break
    return _found(spline, noise, upright, t0)


class _Spline:
    """Least-squares ESF along a given line: the samples, the coefficients, and the operators of both."""

    def __init__(self, t: Tensor, across: Tensor, value: Tensor, line: Tensor, sign: float, bins: int) -> None:
        self.line, self.sign, self.bins = line, sign, bins
        d = sign * (across - line[0] - line[1] * t - line[2] * t * t) / math.sqrt(1 + float(line[1]) ** 2)
        ends = torch.quantile(d[:: max(1, len(d) // 10**6)], d.new_tensor([0.02, 0.98]))
        self.reach = math.floor(min(_REACH, -float(ends[0]), float(ends[1])))
        angle = math.degrees(math.atan(float(line[1])))
        if self.reach < _LEAST:
            raise ValueError(
                f"the edge has {max(self.reach, 0):.0f} pixels on its narrower side, needs {_LEAST:g}: place it in the "
                "middle"
            )
        inside = d.abs() < self.reach
        self.t, self.d, self.value = t[inside], d[inside], value[inside]
        core = self.d[self.d.abs() < _LEAST].sort().values
        gap = float(core.diff().max()) if len(core) > 1 else 1.0
        if gap > 1.5 / bins:
            raise ValueError(
                f"an edge at {abs(angle):.2f} degrees to the rows or columns puts its samples on too few places, "
                f"{gap:.2f} pixels apart where 1/{bins} is needed: turn it to about 5 degrees, or take a longer piece"
            )
        size = 2 * self.reach * bins + 3
        if len(self.d) < 2 * size:
            raise ValueError(f"too few samples: {len(self.d)} about the edge, needs {2 * size}: take a longer piece")
        self.index, self.weights = self._basis(self.d)
        self.gram = self._products(torch.ones_like(self.d), size)
        third = torch.eye(size, dtype=torch.float64).diff(n=3, dim=0)
        # where a knot has no sample its neighbours decide; 1e-4 changes no MTF by more than 1e-4
        self.inverse = torch.linalg.inv(self.gram + 1e-4 * self.gram.diagonal().mean() * third.T @ third)
        right = torch.zeros(size, dtype=torch.float64)
        right.index_add_(0, self.index.reshape(-1), (self.weights * self.value[:, None]).reshape(-1))
        self.c = self.inverse @ right
        self.residual = self.value - (self.weights * self.c[self.index]).sum(1)

    def _basis(self, d: Tensor, slope: bool = False) -> tuple[Tensor, Tensor]:
        """The four cubic B-splines at each place: their numbers and values, or derivatives."""
        u = (d + self.reach) * self.bins
        i = u.floor().clamp(0, 2 * self.reach * self.bins - 1)
        s = u - i
        if slope:
            parts = (-((1 - s) ** 2), 3 * s * s - 4 * s, -3 * s * s + 2 * s + 1, s * s)
            weights = torch.stack(parts, 1) * (self.bins / 2)
        else:
            parts = ((1 - s) ** 3, 3 * s**3 - 6 * s * s + 4, -3 * s**3 + 3 * s * s + 3 * s + 1, s**3)
            weights = torch.stack(parts, 1) / 6
        return i.long()[:, None] + torch.arange(4), weights

    def _products(self, weight: Tensor, size: int) -> Tensor:
        """``A^T diag(weight) A`` of the design matrix, which has four values a row."""
        done = torch.zeros(size * size, dtype=torch.float64)
        for a in range(4):
            for b in range(4):
                place = self.index[:, a] * size + self.index[:, b]
                done.index_add_(0, place, weight * self.weights[:, a] * self.weights[:, b])
        return done.view(size, size)

    def matrix(self, d: Tensor, slope: bool = False) -> Tensor:
        """(len(d), size): what turns the coefficients into the ESF at these distances, or its derivative."""
        index, weights = self._basis(d, slope)
        return torch.zeros(len(d), len(self.c), dtype=torch.float64).scatter_add_(1, index, weights)

    def covariance(self) -> Tensor:
        """Of the coefficients, from each sample's own residual."""
        share = len(self.d) / (len(self.d) - len(self.c))
        return self.inverse @ self._products(self.residual**2, len(self.c)) @ self.inverse * share

    def step(self) -> Tensor:
        """Change of the line (place, slope, bend) that the residuals ask for, by Gauss and Newton."""
        index, weights = self._basis(self.d, slope=True)
        lean = -(weights * self.c[index]).sum(1) * self.sign / math.sqrt(1 + float(self.line[1]) ** 2)
        span = float(self.t.abs().max())
        moves = lean[:, None] * torch.stack([self.t / span, (self.t / span) ** 2 - 1 / 3], 1)
        # the ESF follows any change of the line, and only what it cannot follow is evidence
        lost = torch.zeros(len(self.c), 2, dtype=torch.float64)
        for a in range(4):
            lost.index_add_(0, self.index[:, a], self.weights[:, a, None] * moves)
        own = moves - (self.weights[:, :, None] * (self.inverse @ lost)[self.index]).sum(1)
        slope, bend = torch.linalg.solve(own.T @ own, own.T @ self.residual).tolist()
        middle = self._middle() * math.sqrt(1 + float(self.line[1]) ** 2) * self.sign
        return self.line.new_tensor([middle - bend / 3, slope / span, bend / span**2])

    def _middle(self) -> float:
        """Where the ESF crosses half its height [pixels]."""
        d = torch.arange(-self.reach + 1, self.reach - 1, 1 / 16, dtype=torch.float64)
        esf = self.matrix(d) @ self.c
        over = esf - (esf[: len(d) // 8].mean() + esf[-(len(d) // 8) :].mean()) / 2
        # the middle of all crossings, where noise makes several
        i = min(max(len(d) - int((over > 0).sum()), 1), len(d) - 1)
        before, after = float(over[i - 1]), float(over[i])
        part = before / (before - after) if before < 0 < after else 0.5
        return float(d[i - 1]) + part / 16


def _found(spline: _Spline, noise: float, upright: bool, t0: float) -> Edge:
    reach, bins = spline.reach, spline.bins
    d = torch.arange(-reach, reach + 1e-9, 1 / (4 * bins), dtype=torch.float64)
    esf = spline.matrix(d) @ spline.c
    quarter = len(d) // 4
    levels = esf[:quarter].mean(), esf[-quarter:].mean()
    contrast = float(levels[1] - levels[0])
    spread = float(spline.residual.std())
    bend = float(spline.line[2]) * (float(spline.t.max() - spline.t.min()) / 2) ** 2
    smooth = torch.nn.functional.avg_pool1d(esf[None], 4 * bins + 1, 1)[0]
    apart = max(float((smooth[:quarter] - levels[0]).abs().max()), float((smooth[-quarter:] - levels[1]).abs().max()))
    if contrast < _CONTRAST * noise or apart > 0.05 * contrast + noise or spread > 2 * noise + 0.05 * contrast:
        raise ValueError(
            f"no single straight edge: the two sides differ by {contrast:.3g}, are uneven by {apart:.2g}, and a "
            f"straight edge leaves residuals of {spread:.2g} where the noise is {noise:.2g}"
        )
    if abs(bend) > _BEND:
        raise ValueError(f"the edge is not straight: it bends by {abs(bend):.1f} pixels, take a shorter piece")
    slopes, covariance = spline.matrix(d, slope=True), spline.covariance()
    frequency = torch.arange(_STEPS + 1, dtype=torch.float64) / _STEPS
    _, error = _transfer(spline.c, covariance, slopes, d, frequency[[_STEPS // 4]], reach)
    part = ((smooth - levels[0]) / contrast - 0.5).abs() < 0.4
    best = (0.02 * reach / max(float(error) ** 2, 1e-12)) ** (1 / 3)
    width = min(reach, max(best, 16.0, 4 * float(part.sum()) / (4 * bins)))
    mtf, error = _transfer(spline.c, covariance, slopes, d, frequency, width)
    few = torch.arange(0, len(spline.d), max(1, len(spline.d) // 1500))
    middle, angle = (t0, float(spline.line[0])), math.degrees(math.atan(float(spline.line[1])))
    return Edge(
        frequency=frequency,
        mtf=mtf,
        error=error,
        angle=angle,
        upright=upright,
        position=middle if upright else (middle[1], middle[0]),
        bend=bend,
        contrast=contrast,
        noise=spread,
        distance=d,
        esf=esf,
        lsf=slopes @ spline.c / contrast,
        width=width,
        place=spline.d[few],
        residual=spline.residual[few] / contrast,
        count=len(spline.d),
    )


def _transfer(
    c: Tensor, covariance: Tensor, slopes: Tensor, d: Tensor, frequency: Tensor, width: float
) -> tuple[Tensor, Tensor]:
    """MTF of the windowed LSF and its standard error, by the gradient of ``|H(f)| / H(0)`` to the coefficients."""
    taper = ((1 - d.abs() / width) * 4).clamp(0, 1)
    lsf = (0.5 - 0.5 * torch.cos(math.pi * taper))[:, None] * slopes
    turns = 2 * math.pi * frequency[:, None] * d
    real, imaginary, whole = torch.cos(turns) @ lsf, torch.sin(turns) @ lsf, lsf.sum(0)
    total = whole @ c
    a, b = real @ c / total, imaginary @ c / total
    mtf = torch.hypot(a, b)
    gradient = (a[:, None] * real + b[:, None] * imaginary) / (mtf[:, None] * total).clamp(min=1e-30)
    gradient = gradient - mtf[:, None] * whole / total
    variance = ((gradient @ covariance) * gradient).sum(1).clamp(min=0)
    return (mtf**2 - variance).clamp(min=0).sqrt(), variance.sqrt()


def _two_levels(value: Tensor) -> tuple[float, float]:
    """The two brightnesses that the samples gather about."""
    few = value[:: max(1, len(value) // 10**5)]
    low, high = torch.quantile(few, few.new_tensor([0.02, 0.98])).tolist()
    for _ in range(20):
        upper = few > (low + high) / 2
        if not bool(upper.any()) or bool(upper.all()):
            break
        low, high = float(few[~upper].mean()), float(few[upper].mean())
    return low, high


def _slope(place: Tensor, value: Tensor) -> float:
    off = place - place.mean()
    return abs(float((off * value).sum() / (off * off).sum().clamp(min=1e-30)))


def _first_line(along: Tensor, across: Tensor, value: Tensor, half: float) -> tuple[Tensor, float, float]:
    """A line through the change points of the rows, the side that is brighter, and the noise between neighbours.

    In a row the running sum of (value - half) turns where the edge is, whatever the noise.
    """
    order = torch.argsort(across, stable=True)
    order = order[torch.argsort(along[order], stable=True)]
    row, place, v = along[order], across[order], value[order]
    _, number, counts = torch.unique_consecutive(row, return_inverse=True, return_counts=True)
    second = v[2:] - 2 * v[1:-1] + v[:-2]
    inner = number[2:] == number[:-2]
    noise = 1.4826 * float(second[inner].abs().median()) / math.sqrt(6) if bool(inner.any()) else 0.0
    sign = 1.0 if float(((place - place.mean()) * v).sum() - (place - place.mean()).sum() * v.mean()) > 0 else -1.0
    run = torch.cumsum((half - v) * sign, 0)
    first = torch.cumsum(counts, 0) - counts
    run = run - (run[first] - (half - v[first]) * sign)[number]
    top = torch.full((len(counts),), -math.inf, dtype=torch.float64).scatter_reduce_(0, number, run, "amax")
    turn = torch.zeros(len(counts), dtype=torch.long)
    hit = torch.nonzero(run == top[number])[:, 0]
    turn[number[hit]] = hit
    whole = (turn - first >= 2) & (first + counts - turn > 3)
    if int(whole.sum()) < 8:
        raise ValueError(f"no single straight edge: it is seen in {int(whole.sum())} rows or columns, needs 8")
    turn = turn[whole]
    t, p = row[turn], (place[turn] + place[turn + 1]) / 2
    line = _robust(t, p)
    off = (p - line[0] - line[1] * t).abs()
    stray = float((off > 3 + 0.02 * float(t[-1] - t[0])).double().mean())
    if stray > 0.3:
        raise ValueError(f"no single straight edge: {stray:.0%} of the rows or columns have it elsewhere than one line")
    return torch.tensor([line[0], line[1], 0.0], dtype=torch.float64), sign, noise


def _robust(t: Tensor, p: Tensor) -> tuple[float, float]:
    """Place at 0 and slope: medians of thirds first, then least absolute deviations."""
    third = max(len(t) // 3, 1)
    slope = float((p[-third:].median() - p[:third].median()) / (t[-third:].median() - t[:third].median()))
    place = float((p - slope * t).median())
    design = torch.stack([torch.ones_like(t), t], 1)
    for _ in range(30):
        weight = 1 / (p - place - slope * t).abs().clamp(min=0.25)
        place, slope = torch.linalg.solve(design.T @ (design * weight[:, None]), design.T @ (weight * p)).tolist()
    return place, slope
