"""Shading against closed forms: a sphere, a lamp, a rectangle, light from all around, gloss, shadows; normals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from degrade.maths import shade
from degrade.maths.depth import normals_from_depth, normals_from_lights

UP = torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1)
angles = st.floats(-math.pi, math.pi)


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(1, 3, 1, 1)


def sphere(n: int = 65, share: float = 0.95) -> tuple[Tensor, Tensor]:
    """Normals of a ball that fills a picture, (1, 3, n, n), and where it is."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n, dtype=torch.float64),) * 2, indexing="ij")
    inside = x * x + y * y < share**2
    z = (1 - x * x - y * y).clamp(min=0).sqrt()
    normal = torch.where(inside, torch.stack((x, y, z)), torch.tensor([0.0, 0.0, 1.0]).double()[:, None, None])
    return normal[None].float(), inside


@given(angles, st.floats(0, math.pi / 2))
def test_a_sphere_is_a_cosine(azimuth: float, elevation: float) -> None:
    normal, inside = sphere()
    light = shade.direction(torch.tensor([azimuth]), torch.tensor([elevation]))
    found = shade.lambert(normal, light)[0, 0].numpy()
    way = np.array(
        [math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth), math.sin(elevation)]
    )
    truth = np.maximum(np.einsum("chw,c->hw", normal[0].double().numpy(), way), 0)
    assert np.abs(found - truth)[inside.numpy()].max() < 1e-5


def test_a_lamp_over_a_plane() -> None:
    """cos / d^2 = h / (h^2 + r^2)^(3/2), 1 below it."""
    points = shade.surface(torch.zeros(1, 1, 41, 41))
    way, strength = shade.towards(points, vector(0, 0, 15))
    r2 = points[:, :1].square() + points[:, 1:2].square()
    truth = 15**3 / (15**2 + r2) ** 1.5
    assert (shade.lambert(UP, way) * strength - truth).abs().max() < 1e-5


@pytest.mark.parametrize("centre", [(0.0, 0.0, 20.0), (12.0, -7.0, 18.0)])
def test_a_rectangle_is_lamberts_polygon(centre: tuple[float, float, float]) -> None:
    """Lambert: irradiance of a polygon is sum Theta_i (Gamma_i . n) / 2, here at the picture's centre."""
    c, size = vector(*centre), (torch.tensor(9.0), torch.tensor(5.0))
    found = 0.0
    for at, weight in shade.rectangle(c, *size, 8):
        d2 = at.square().sum()
        way = at / d2.sqrt()
        emitted = (way * c).sum() / c.norm()
        found += weight * (emitted * c.square().sum() / d2 * way[0, 2, 0, 0]).item()
    corners = corners_of(np.array(centre), 9.0, 5.0)
    total = 0.0
    for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
        a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
        normal = np.cross(a, b)
        total += math.acos(a @ b) * normal[2] / np.linalg.norm(normal) / 2
    truth = abs(total) * float(np.dot(centre, centre)) / (9.0 * 5.0)
    assert found == pytest.approx(truth, rel=1e-4)


def corners_of(centre: np.ndarray, width: float, height: float) -> list[np.ndarray]:
    """Corners of a rectangle that faces the origin, its width level, in order."""
    axis = centre / np.linalg.norm(centre)
    level = np.array([axis[2], 0, -axis[0]])
    level /= np.linalg.norm(level)
    upright = np.cross(axis, level)
    signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    return [centre + u * level * width / 2 + v * upright * height / 2 for u, v in signs]


def test_light_from_all_around_is_the_integral_over_the_sphere() -> None:
    """Against a sum over 2 x 10^5 directions of a radiance that is itself of second order."""
    coefficients = torch.tensor([[3.0, 0.4, 0.8, -0.5, 0.3, -0.2, 0.25, 0.1, -0.35]])
    k = np.arange(200_000) + 0.5
    z, turn = 1 - 2 * k / len(k), math.pi * (1 + 5**0.5) * k
    d = np.stack((np.sqrt(1 - z * z) * np.cos(turn), np.sqrt(1 - z * z) * np.sin(turn), z))
    x, y, _ = d
    second = (
        1.092548 * x * y,
        1.092548 * y * z,
        0.315392 * (3 * z * z - 1),
        1.092548 * x * z,
        0.546274 * (x * x - y * y),
    )
    basis = np.stack((np.full_like(x, 0.282095), 0.488603 * y, 0.488603 * z, 0.488603 * x, *second))
    radiance = coefficients[0].double().numpy() @ basis
    for n in (np.array([0.0, 0.0, 1.0]), np.array([0.6, 0.0, 0.8]), np.array([0.48, -0.6, 0.64])):
        truth = 4 * (radiance * np.maximum(n @ d, 0)).mean()
        assert shade.surrounding(vector(*n), coefficients).item() == pytest.approx(truth, abs=1e-4)


@pytest.mark.parametrize("roughness", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("elevation", [20, 45, 80])
def test_gloss_reflects_no_more_than_it_gets(roughness: float, elevation: float) -> None:
    """A perfect mirror of facets, F0 = 1: integrated over all lights it stays at or below 1, near it when smooth."""
    n, m = 400, 400
    z = (torch.arange(n).double() + 0.5) / n
    turn = (torch.arange(m).double() + 0.5) / m * 2 * math.pi
    flat = (1 - z * z).sqrt()
    light = torch.stack((flat[:, None] * turn.cos(), flat[:, None] * turn.sin(), z[:, None].expand(n, m)))[None]
    e = math.radians(elevation)
    normal = vector(math.cos(e), 0, math.sin(e)).double()
    # the light's sphere is turned so that all of it is above the surface
    turned = light.clone()
    s, c = math.cos(e), math.sin(e)
    turned[:, 0], turned[:, 2] = c * light[:, 0] + s * light[:, 2], -s * light[:, 0] + c * light[:, 2]
    shades = shade.ggx(normal, turned, torch.tensor(roughness), torch.tensor(1.0))
    albedo = (shades / math.pi).mean().item() * 2 * math.pi
    assert albedo <= 1.001
    if roughness < 0.3 and elevation > 40:
        assert albedo > 0.95


def test_gloss_is_the_same_with_light_and_camera_exchanged() -> None:
    """Helmholtz, in the plane of both: a surface tilted to the light by as much as it was to the camera."""
    values = []
    for tilt in (0.3, 0.5):
        normal = vector(math.sin(tilt), 0, math.cos(tilt))
        light = vector(math.sin(0.8), 0, math.cos(0.8))
        cosine = shade.lambert(normal, light).item()
        values.append(shade.ggx(normal, light, torch.tensor(0.4), torch.tensor(0.04)).item() / cosine)
    assert values[0] == pytest.approx(values[1], rel=1e-4)


@pytest.mark.parametrize(("height", "elevation"), [(4.0, 45), (3.0, 30), (6.0, 60)])
@pytest.mark.parametrize("azimuth", [0, 90, 180, 270])
def test_a_wall_casts_its_height_over_the_tangent(height: float, elevation: float, azimuth: int) -> None:
    wall = torch.zeros(1, 1, 31, 31)
    wall[..., 15, :] = wall[..., :, 15] = height
    turn = torch.tensor([math.radians(azimuth)])
    seen = shade.unshadowed(wall, shade.direction(turn, torch.tensor([math.radians(elevation)])), 14)[0, 0]
    line = {0: seen[5].flip(0), 90: seen[:, 5].flip(0), 180: seen[5], 270: seen[:, 5]}[azimuth][16:]
    shadow = (1 - line).sum().item()
    assert shadow == pytest.approx(
        height / math.tan(math.radians(elevation)) - 0.5, abs=1e-4
    )  # from the wall's face on
    assert line[-3:].min() > 0.999


# -- normals ----------------------------------------------------------------------------------------------------------


def degrees(a: Tensor, b: Tensor) -> Tensor:
    return torch.rad2deg(2 * torch.asin(((a.double() - b.double()).norm(dim=-3) / 2).clamp(max=1)))


def test_normals_of_a_plane_in_perspective_are_exact() -> None:
    n, f = np.array([0.3, -0.2, 0.9]) / np.linalg.norm([0.3, -0.2, 0.9]), 60.0
    y, x = np.mgrid[:40, :50] - np.array([19.5, 24.5])[:, None, None]
    depth = 3.0 / ((-n[0] * x - n[1] * y) / f + n[2])  # n points to the camera, z of the scene away from it
    found = normals_from_depth(torch.from_numpy(depth)[None, None], focal=f)[0]
    assert degrees(found, torch.from_numpy(n)[:, None, None]).max() < 1e-2


def test_normals_of_a_plane_far_away_are_exact() -> None:
    y, x = np.mgrid[:20, :30].astype(float)
    depth = torch.from_numpy(50 + 0.5 * 0.01 * x - 0.25 * 0.01 * y)[None, None]
    truth = torch.tensor([0.5, -0.25, 1.0]) / torch.tensor([0.5, -0.25, 1.0]).norm()
    assert degrees(normals_from_depth(depth, pixel=0.01)[0], truth[:, None, None]).max() < 1e-2


def test_normals_of_a_sphere() -> None:
    f, centre, radius = 400.0, 10.0, 2.0
    y, x = np.mgrid[:161, :161] - 80.0
    ray = np.stack((x / f, y / f, np.ones_like(x)))
    a, b = (ray**2).sum(0), centre * ray[2]
    disc = b * b - a * (centre**2 - radius**2)
    t = (b - np.sqrt(np.maximum(disc, 0))) / a
    hit = disc > 1.0
    point = ray * t - np.array([0, 0, centre])[:, None, None]
    truth = torch.from_numpy(point / radius * np.array([1, 1, -1])[:, None, None])
    depth = torch.from_numpy(np.where(hit, t, 30.0))[None, None]
    inner = torch.from_numpy(hit & np.roll(hit, 1, 0) & np.roll(hit, -1, 0) & np.roll(hit, 1, 1) & np.roll(hit, -1, 1))
    error = degrees(normals_from_depth(depth, focal=f)[0], truth)[inner]
    assert error.mean() < 0.05
    assert error.max() < 1


def test_an_edge_belongs_to_its_own_side() -> None:
    depth = torch.full((1, 1, 8, 8), 2.0)
    depth[..., 4:] = 5.0
    assert degrees(normals_from_depth(depth, focal=50.0)[0], torch.tensor([0.0, 0.0, 1.0])[:, None, None]).max() < 1e-3


LIGHTS = torch.tensor([[0.5, 0, 0.87], [-0.5, 0.1, 0.86], [0, 0.5, 0.87], [0.1, -0.5, 0.86], [0.0, 0.0, 1.0]])


def renders(lights: Tensor, share: float = 0.95) -> tuple[Tensor, Tensor, Tensor]:
    """A ball under lights: pictures, truth, and where all lights see it."""
    normal, inside = sphere(share=share)
    raw = torch.einsum("kc,chw->khw", lights, normal[0])
    return 0.7 * raw.clamp(min=0), normal[0], inside & (raw > 0).all(0)


def test_normals_from_lights_without_shadows() -> None:
    pictures, truth, seen = renders(LIGHTS)
    found, albedo = normals_from_lights(pictures, LIGHTS)
    assert degrees(found, truth)[seen].mean() < 1
    assert degrees(found, truth)[seen].max() < 0.1
    assert (albedo[seen] - 0.7).abs().max() < 1e-4


def test_dropping_the_darkest_keeps_shadows_out() -> None:
    pictures, truth, _ = renders(LIGHTS, 0.9)
    y, x = np.mgrid[:65, :65]
    for k in range(4):  # a cast shadow in each picture, elsewhere
        pictures[k][torch.from_numpy((y - 20 - 8 * k) ** 2 + (x - 32) ** 2 < 16)] = 0
    _, inside = sphere(share=0.5)
    dark, clean = (degrees(normals_from_lights(pictures, LIGHTS, drop=d)[0], truth)[inside] for d in (0, 1))
    assert dark.max() > 5
    assert clean.max() < 0.1


@pytest.mark.parametrize(
    ("go", "message"),
    [
        (lambda: normals_from_lights(torch.zeros(2, 4, 4), torch.eye(3)[:2]), "at least 3 pictures must be left"),
        (lambda: normals_from_lights(torch.zeros(3, 4, 4), torch.eye(3), 1), "got 3 less 1"),
        (lambda: normals_from_lights(torch.zeros(3, 4, 4), torch.ones(3, 3)), "lie in one plane"),
        (lambda: normals_from_lights(torch.zeros(3, 4, 4), torch.eye(4)), "needs a light of 3 components"),
        (lambda: normals_from_depth(torch.zeros(1, 1, 4, 4)), "above 0"),
        (lambda: normals_from_depth(torch.ones(1, 1, 1, 4)), "2 x 2 depths or more, got 1 x 4"),
    ],
)
def test_what_cannot_be_is_told(go: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        go()
