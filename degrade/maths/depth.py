"""What depth tells: normals, how large a point is out of focus, and how such points cover one another.

Normals of a depth map follow from its inverse, which is linear over a plane in perspective, so that planes are exact.
Out of focus, thin layers of depth are laid from front to back, each blurred by its own disc; their shares of a pixel
add up to 1 inside a surface, for each pixel of a picture belongs to one of them.

Sources: Woodham, Opt. Eng. 19 (1980) 139 (normals from lights); Potmesil & Chakravarty, SIGGRAPH 1981 (circle of
confusion); Porter & Duff, SIGGRAPH 1984 (premultiplied coverage).
"""

from __future__ import annotations

import torch
from torch import Tensor

from degrade.maths.fourier import filtered, spectrum
from degrade.maths.maps import unit
from degrade.maths.psf import disc_transfer, kernel_from_transfer

JUMP = 0.05  #: share of the depth by which two sides of a pixel differ where a surface ends
DUST = 1e-6  #: coverage that transforms leave where there is none
ROWS = 128  #: rows of a picture worked on at once


def normals_from_depth(depth: Tensor, focal: float | None = None, pixel: float = 1.0) -> Tensor:
    """Unit normals of a depth map; at the edge of a surface from its own side alone.

    Args:
        depth: (b, 1, h, w) along the axis, above 0 [m].
        focal: focal length [pixels], the axis at the picture's centre; none for a camera far away.
        pixel: what a pixel spans, for a camera far away [m].

    Returns:
        (b, 3, h, w): x right, y down, z towards the camera.

    Raises:
        ValueError: if a depth is not above 0, or there are fewer than 2 x 2.

    >>> normals_from_depth(torch.full((1, 1, 4, 4), 2.0), focal=100.0)[0, :, 1, 1].abs().tolist()
    [0.0, 0.0, 1.0]
    """
    h, w = depth.shape[-2:]
    if min(h, w) < 2:
        raise ValueError(f"normals need 2 x 2 depths or more, got {h} x {w}")
    if not bool((depth > 0).all()):
        raise ValueError("depths must be above 0: fill the holes first")
    if focal is None:
        slope = [_slope(depth.double(), axis, JUMP) / pixel for axis in (3, 2)]
        return unit(torch.cat((*slope, torch.ones_like(slope[0])), dim=1)).float()
    inverse = 1 / depth.double()
    x, y = (torch.arange(n, dtype=torch.float64, device=depth.device) - (n - 1) / 2 for n in (w, h))
    across, down = (_slope(inverse, axis, JUMP) for axis in (3, 2))
    # with w = (n . ray) / c over a plane, its slopes are n_x / (c f) and n_y / (c f); z points away from the camera
    away = inverse - x * across - y[:, None] * down
    return unit(torch.cat((-focal * across, -focal * down, away), dim=1) / inverse).float()


def _slope(x: Tensor, axis: int, jump: float) -> Tensor:
    """Central differences; where the two sides disagree by a jump, the smaller of them."""
    n = x.shape[axis]
    step = x.diff(dim=axis)
    before = torch.cat((step.narrow(axis, 0, 1), step), dim=axis)
    after = torch.cat((step, step.narrow(axis, n - 2, 1)), dim=axis)
    smaller = torch.where(before.abs() < after.abs(), before, after)
    return torch.where((before - after).abs() > jump * x.abs(), smaller, (before + after) / 2)


def normals_from_lights(pictures: Tensor, lights: Tensor, drop: int = 0) -> tuple[Tensor, Tensor]:
    """Normals and albedo of a matt surface seen under several lights, by least squares (photometric stereo).

    Args:
        pictures: (k, h, w) linear light, dark 0, from one camera position, k at least 3.
        lights: (k, 3) vectors to the lights, as long as these are strong.
        drop: how many of a pixel's pictures, the darkest, are left out: they may lie in shadow.

    Returns:
        (3, h, w) unit normals and (h, w) albedo.

    Raises:
        ValueError: if fewer than 3 pictures are left, or the lights lie in one plane.

    >>> lights = torch.eye(3)
    >>> normal, albedo = normals_from_lights(torch.tensor([0.0, 0.3, 0.4]).reshape(3, 1, 1), lights)
    >>> [round(v, 4) for v in normal.flatten().tolist()], round(albedo.item(), 4)
    ([0.0, 0.6, 0.8], 0.5)
    """
    k = len(pictures)
    if tuple(lights.shape) != (k, 3):
        raise ValueError(f"each of {k} pictures needs a light of 3 components, got {tuple(lights.shape)}")
    if drop < 0 or k - drop < 3:
        raise ValueError(f"at least 3 pictures must be left, got {k} less {drop}")
    lights = lights.double().to(pictures.device)
    if not float(torch.linalg.svdvals(lights)[-1]) > 1e-3 * float(torch.linalg.matrix_norm(lights, 2)):
        raise ValueError("the lights lie in one plane: give one that stands out of it")
    parts = [_solved(pictures[:, y : y + ROWS].double(), lights, drop) for y in range(0, pictures.shape[1], ROWS)]
    scaled = torch.cat(parts, dim=1)
    return unit(scaled[None])[0].float(), torch.linalg.vector_norm(scaled, dim=0).float()


def _solved(pictures: Tensor, lights: Tensor, drop: int) -> Tensor:
    """(3, h, w) normals times albedo."""
    if not drop:
        return torch.einsum("ck,khw->chw", torch.linalg.pinv(lights), pictures)
    weight = torch.ones_like(pictures).scatter(0, torch.argsort(pictures, dim=0)[:drop], 0.0)
    normal = torch.einsum("khw,kc,kd->hwcd", weight, lights, lights)
    normal = normal + 1e-9 * torch.eye(3, dtype=normal.dtype, device=normal.device)
    right = torch.einsum("khw,kc,khw->hwc", weight, lights, pictures)
    return torch.linalg.solve(normal, right).movedim(-1, 0)


def confusion(depth: Tensor, focus: Tensor, blur: Tensor) -> Tensor:
    """Radius of the circle of confusion, ``blur (1 / focus - 1 / depth)``: above 0 beyond the focus, below 0 before it.

    With a thin lens ``blur = f^2 focus / (2 N pitch (focus - f))``: half the diameter ``f^2 |d - s| / (N d (s - f))``.

    Args:
        depth: (b, 1, h, w) [m], above 0 and perhaps infinite.
        focus: (b, 1, 1, 1) [m].
        blur: (b, 1, 1, 1) [pixels a dioptre].

    Returns:
        (b, 1, h, w) [pixels].

    >>> confusion(torch.tensor([1.0, 2.0, float("inf")]), torch.tensor(2.0), torch.tensor(4.0)).tolist()
    [-2.0, 0.0, 2.0]
    """
    return blur * (1 / focus - 1 / depth)


def radii(radius: float, layers: int) -> list[float]:
    """Radii of discs from sharp to ``radius`` [pixels], denser near 0.

    >>> radii(8.0, 4)
    [0.0, 0.5, 2.0, 4.5, 8.0]
    """
    return [radius * (i / layers) ** 2 for i in range(layers + 1)]


def defocused(data: Tensor, spread: Tensor, radius: int, layers: int) -> tuple[Tensor, Tensor]:
    """A picture out of focus by depth, near things over far ones.

    A pixel between two layers belongs to both, in shares that keep its disc's variance. What a near surface hides is
    not known: what shows through its blurred edge is taken from what is seen around it.

    Args:
        data: (b, c, h, w).
        spread: (b, 1, h, w) signed radius of the circle of confusion [pixels], within +-radius, below 0 in front.
        radius: largest radius [pixels]; pixels nearer than that to the border are not valid.
        layers: layers on each side of the focus.

    Returns:
        (b, c, h, w), and (b, 1, h, w) by how much each pixel's noise variance is reduced.

    >>> sharp = torch.rand(1, 1, 9, 9, generator=torch.Generator().manual_seed(1))
    >>> torch.equal(defocused(sharp, torch.zeros(1, 1, 9, 9), 2, 2)[0], sharp)
    True
    """
    nodes, (h, w) = radii(float(radius), layers), data.shape[-2:]
    size = 2 * radius + 1
    discs, _ = kernel_from_transfer(disc_transfer(torch.tensor(nodes, device=data.device), size), radius)
    energy = discs.square().sum((-2, -1)).tolist()
    left = torch.ones_like(spread)
    total, gain = torch.zeros_like(data), torch.zeros_like(spread)
    for signed in range(-layers, layers + 1):  # from front to back
        i = abs(signed)
        share = _share(spread, nodes, signed)
        if not bool(share.any()):
            continue
        colour, alpha = data * share, share
        if i:
            both = filtered(torch.cat((colour, alpha), dim=1), spectrum(discs[i][None, None], (h, w)))
            colour, alpha = both[:, :-1], both[:, -1:]
        kept = ((alpha - DUST) / (1 - 2 * DUST)).clamp(0, 1) if i else alpha
        taken = torch.minimum(kept, left)
        total = total + colour * torch.where(alpha > DUST, taken / alpha.clamp(min=DUST), torch.zeros_like(taken))
        gain = gain + taken * (energy[i] if i else 1.0)
        left = left - taken
    covered = (1 - left).clamp(min=DUST)
    return total / covered, gain / covered


def _share(spread: Tensor, nodes: list[float], signed: int) -> Tensor:
    """How much of each pixel belongs to a layer: linear in the squared radius between its neighbours."""
    i, side = abs(signed), -1.0 if signed < 0 else 1.0
    square = spread.square()
    on = spread * side >= 0 if i else torch.ones_like(spread, dtype=torch.bool)
    share = torch.zeros_like(spread)
    if i:
        low = nodes[i - 1] ** 2
        share = torch.where(square > low, (square - low) / (nodes[i] ** 2 - low), share)
    if i + 1 < len(nodes):
        low, high = nodes[i] ** 2, nodes[i + 1] ** 2
        above = (high - square) / (high - low)
        share = torch.where(square >= low, above, share)
    elif i:
        share = torch.where(square >= nodes[i] ** 2, torch.ones_like(share), share)
    return torch.where(on, share.clamp(0, 1), torch.zeros_like(share))
