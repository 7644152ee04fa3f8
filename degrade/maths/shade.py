"""Shading of surfaces with known normals, seen along z by a camera far away.

Vectors are (x, y, z): x right, y down, z towards the camera. A light of strength 1 that a surface faces gives it the
shade 1, so that what a matt surface sends is its albedo: Lambert ``max(0, n l)``, and for gloss pi times the
microfacet model ``D V F (n l)``.

Sources: Lambert, Photometria (1760); Walter et al., EGSR 2007 (GGX); Heitz, JCGT 3 (2014) 2 (height-correlated
masking); Schlick, CGF 13 (1994) 233; Ramamoorthi & Hanrahan, SIGGRAPH 2001 (light from all around).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

BANDS = (math.pi, 2 * math.pi / 3, math.pi / 4)  #: transfer of the clamped cosine, by order


def direction(azimuth: Tensor, elevation: Tensor) -> Tensor:
    """Unit vectors to a light: (b,) angles [radian] to (b, 3, 1, 1); azimuth atan2(y, x), elevation above the picture.

    >>> direction(torch.tensor([0.0]), torch.tensor([math.pi / 2])).flatten().abs().round().tolist()
    [0.0, 0.0, 1.0]
    """
    flat = torch.cos(elevation)
    way = torch.stack((flat * torch.cos(azimuth), flat * torch.sin(azimuth), torch.sin(elevation)), dim=-1)
    return way[..., None, None]


def lambert(normal: Tensor, light: Tensor) -> Tensor:
    """Shade of a matt surface: (b, 3, h, w) unit normals and unit vectors to the light, to (b, 1, h, w)."""
    return (normal * light).sum(1, keepdim=True).clamp(min=0)


def ggx(normal: Tensor, light: Tensor, roughness: Tensor, f0: Tensor) -> Tensor:
    """Shade of a glossy surface, its cosine counted in: pi D V F (n l), and 0 where light or camera is behind it.

    Args:
        normal: (b, 3, h, w) unit normals.
        light: (b, 3, h or 1, w or 1) unit vectors to the light.
        roughness: (b, 1, 1, 1), above 0; the microfacets' width alpha is its square.
        f0: (b, 1, 1, 1) reflectance at normal incidence.

    Returns:
        (b, 1, h, w).

    >>> up = torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1)
    >>> round(ggx(up, up, torch.tensor(1.0), torch.tensor(0.04)).item(), 6)        # F0 / 4 of a wholly rough one
    0.01
    """
    alpha2 = roughness**4
    half = light + light.new_tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1)
    half = half / torch.linalg.vector_norm(half, dim=1, keepdim=True).clamp(min=1e-6)
    to_light, to_eye = lambert(normal, light), normal[:, 2:].clamp(min=0)
    across = lambert(normal, half)
    facets = alpha2 / ((across * across * (alpha2 - 1) + 1) ** 2)
    masked = to_light * torch.sqrt(to_eye**2 * (1 - alpha2) + alpha2)
    masked = masked + to_eye * torch.sqrt(to_light**2 * (1 - alpha2) + alpha2)
    fresnel = f0 + (1 - f0) * (1 - half[:, 2:].clamp(min=0)) ** 5
    shade = facets * fresnel * to_light * 0.5 / masked.clamp(min=1e-6)
    return torch.where((to_light > 0) & (to_eye > 0), shade, shade.new_zeros(()))


def surface(like: Tensor, height: Tensor | None = None) -> Tensor:
    """(b or 1, 3, h, w) where each pixel of a picture lies, counted from its centre [pixels]; z is the height."""
    h, w = like.shape[-2:]
    y, x = ((torch.arange(n, dtype=like.dtype, device=like.device) - (n - 1) / 2) for n in (h, w))
    z = like.new_zeros(1, 1, h, w) if height is None else height
    return torch.cat((x.expand(len(z), 1, h, w), y[:, None].expand(len(z), 1, h, w), z), dim=1)


def towards(points: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors from points to a source, and its strength there: 1 at the picture's centre, with distance squared.

    Args:
        points: (b or 1, 3, h, w).
        source: (b or 1, 3, 1, 1).

    Returns:
        (b, 3, h, w) and (b, 1, h, w).
    """
    way = source - points
    far = way.square().sum(1, keepdim=True).clamp(min=1e-12)
    return way / far.sqrt(), source.square().sum(1, keepdim=True) / far


def rectangle(centre: Tensor, width: Tensor, height: Tensor, samples: int) -> Iterator[tuple[Tensor, float]]:
    """Points of a rectangle that faces the picture's centre, and their weights (sum 1): Gauss-Legendre quadrature.

    Its width lies level, across the x axis of the picture where it can.

    Args:
        centre: (b or 1, 3, 1, 1), not 0.
        width: (b, 1, 1, 1), as ``centre`` counts.
        height: (b, 1, 1, 1).
        samples: points each way.

    Yields:
        (b, 3, 1, 1) and a number, samples^2 times.
    """
    axis = centre / torch.linalg.vector_norm(centre, dim=1, keepdim=True)
    x, _, z = axis.unbind(1)
    level = torch.stack((z, torch.zeros_like(x), -x), dim=1)
    length = torch.linalg.vector_norm(level, dim=1, keepdim=True)
    along = torch.zeros_like(level)
    along[:, :1] = 1.0
    level = torch.where(length > 1e-6, level / length.clamp(min=1e-6), along)
    upright = torch.linalg.cross(axis, level, dim=1)
    at, weight = np.polynomial.legendre.leggauss(samples)
    for u, a in zip(at.tolist(), weight.tolist(), strict=True):
        for v, b in zip(at.tolist(), weight.tolist(), strict=True):
            yield centre + level * (width * u / 2) + upright * (height * v / 2), a * b / 4


def surrounding(normal: Tensor, coefficients: Tensor) -> Tensor:
    """Shade under light from all around: irradiance over pi, to the second order of spherical harmonics.

    Args:
        normal: (b, 3, h, w) unit normals.
        coefficients: (b or 1, 9) of the radiance: L00, L1-1, L10, L11, L2-2, L2-1, L20, L21, L22, in x, y, z as here.

    Returns:
        (b, 1, h, w).

    >>> even = torch.tensor([[math.sqrt(4 * math.pi), 0, 0, 0, 0, 0, 0, 0, 0]])    # radiance 1 from everywhere
    >>> up = torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1)
    >>> round(surrounding(up, even).item(), 6)
    1.0
    """
    x, y, z = normal.unbind(1)
    one = torch.ones_like(x)
    harmonics = (  # order, four pi times the squared factor, and the polynomial
        (0, 1.0, one),
        (1, 3.0, y),
        (1, 3.0, z),
        (1, 3.0, x),
        (2, 15.0, x * y),
        (2, 15.0, y * z),
        (2, 1.25, 3 * z * z - 1),
        (2, 15.0, x * z),
        (2, 3.75, x * x - y * y),
    )
    total = torch.zeros_like(one)
    for i, (order, square, value) in enumerate(harmonics):
        factor = BANDS[order] / math.pi * math.sqrt(square / (4 * math.pi))
        total = total + coefficients[:, i, None, None] * factor * value
    return total[:, None].clamp(min=0)


def unshadowed(height: Tensor, light: Tensor, steps: int) -> Tensor:
    """How much of a light is seen from each pixel over a height map: 1 all, 0 none; edges are a pixel wide.

    The ray is marched pixel by pixel along the axis in which it moves faster, the height interpolated across it.

    Args:
        height: (b, 1, h, w) [pixels].
        light: (b or 1, 3, h or 1, w or 1) unit vectors to the light.
        steps: how far is looked [pixels].

    Returns:
        (b, 1, h, w).

    >>> wall = torch.zeros(1, 1, 1, 8); wall[..., 0] = 3.0
    >>> unshadowed(wall, torch.tensor([-1.0, 0, 1]).reshape(1, 3, 1, 1), 7)[0, 0, 0].tolist()
    [1.0, 0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 1.0]
    """
    b, _, h, w = height.shape
    x, y, z = light.unbind(1)
    major = torch.maximum(x.abs(), y.abs()).clamp(min=1e-6)
    dx, dy, rise = x / major, y / major, z / major
    rows = torch.arange(h, device=height.device)[:, None]
    columns = torch.arange(w, device=height.device)
    flat, here = height.reshape(b, -1), height[:, 0]

    def at(down: Tensor, right: Tensor) -> Tensor:
        index = (rows + down).clamp(0, h - 1) * w + (columns + right).clamp(0, w - 1)
        return flat.gather(1, index.expand(b, h, w).reshape(b, -1)).reshape(b, h, w)

    above = -rise.expand_as(here)
    for step in range(1, steps + 1):
        oy, ox = dy * step, dx * step
        iy, ix = oy.floor(), ox.floor()
        fy, fx = oy - iy, ox - ix  # one of them is 0
        share = torch.maximum(fy, fx)
        near = at(iy.long(), ix.long())
        far = at((iy + (fy > 0)).long(), (ix + (fx > 0)).long())
        above = torch.maximum(above, near + share * (far - near) - here - rise * step)
    return (0.5 - above / rise.clamp(min=1e-6)).clamp(0, 1)[:, None]
