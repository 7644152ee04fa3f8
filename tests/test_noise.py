"""Sensor noise: measured variances against the formula, shared residuals, noise that the photo brought along."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from degrade import Frame, Key, PhotoError, Recipe, RecipeError, Sensor, Space
from degrade.core.spec import Spec
from degrade.operators.noise import SensorNoise
from degrade.recipe.render import render

K1, K0 = (0.11, 0.19, 0.23, 0.31), (0.9, 1.7, 2.3, 4.1)
BLACK, WHITE = 512.0, 4095.0
FULL = WHITE - BLACK


def camera(b: int = 1, **changes: float) -> Sensor:
    return Sensor.make(b, **{"black": BLACK, "white": WHITE, "bits": 12, "k1": K1, "k0": K0, **changes})


def flat(value: float | Tensor, size: int = 64, space: Space = Space.MOSAIC, b: int = 1, **sensor: float) -> Frame:
    data = torch.zeros(b, space.channels, size, size) + value
    return Frame(data, space, camera(b, **sensor))


# -- variance ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("iso", [100, 400, 1600, 6400])
def test_variance_follows_the_formula(iso: int) -> None:
    """10^6 samples a level and channel, 8 levels: sigma^2 = (k1 (S - OB) + k0) ISO / 100 [DN^2], within 1%."""
    levels = torch.linspace(0, 1, 8)
    for start in range(0, 8, 2):
        level = levels[start : start + 2].reshape(2, 1, 1, 1)
        frame = flat(level, 1000, b=2)
        seed = np.array([7 + start, 8 + start])
        noisy = SensorNoise(iso=iso).model_copy(update={"seed": seed}).apply(frame)
        residual = noisy.data - frame.data
        measured = (residual.double() * FULL).square().mean((-2, -1))
        expected = (torch.tensor(K1) * level[..., 0, 0] * FULL + torch.tensor(K0)).double() * iso / 100
        assert ((measured / expected - 1).abs() < 0.01).all(), measured / expected
        assert (residual.double().mean((-2, -1)).abs() * FULL < 5 * (expected / 1e6).sqrt()).all()


def test_linear_green_takes_the_mean_of_both_greens() -> None:
    noise = SensorNoise(iso=200.0)
    four, three = (noise.variance(flat(0.3, 2, space)) for space in (Space.MOSAIC, Space.LINEAR))
    torch.testing.assert_close(three[:, [0, 2]], four[:, [0, 3]], rtol=1e-5, atol=0)
    torch.testing.assert_close(three[:, 1], (four[:, 1] + four[:, 2]) / 2, rtol=1e-5, atol=0)


def test_signal_is_clamped_for_the_variance_only() -> None:
    noise = SensorNoise(iso=100.0, seed=3)
    below, zero, one, above = (noise.variance(flat(v, 2)) for v in (-0.3, 0.0, 1.0, 2.5))
    assert torch.equal(below, zero)
    assert torch.equal(above, one)
    assert noise.apply(flat(2.5, 8)).data.mean() > 2.4


def test_the_curve_of_the_operator_goes_before_the_cameras() -> None:
    for k1, k0 in (((1.0, 2.0, 3.0, 4.0), 5.0), (None, (5.0, 6.0, 7.0, 8.0)), (0.5, None)):
        found = SensorNoise(iso=100, k1=k1, k0=k0).curve(camera(2))
        for got, own, known in zip(found, (k1, k0), (K1, K0), strict=True):
            expected = known if own is None else own if isinstance(own, tuple) else (own,) * 4
            assert got.tolist() == [pytest.approx(expected)] * 2


def test_iso_scales_variance_and_not_signal() -> None:
    low, high = (SensorNoise(iso=iso, seed=5).apply(flat(0.4)).data - 0.4 for iso in (100, 1600))
    torch.testing.assert_close(high, 4 * low, atol=2e-6, rtol=0)


def test_iso_of_the_photo() -> None:
    own, named = SensorNoise(iso="photo", seed=5), SensorNoise(iso=800, seed=5)
    assert torch.equal(own.apply(flat(0.4, iso=800)).data, named.apply(flat(0.4, iso=100)).data)
    with pytest.raises(PhotoError, match=r"does not tell its ISO: give it with --iso"):
        own.apply(flat(0.4))


def test_no_curve_anywhere() -> None:
    with pytest.raises(PhotoError, match=r"no noise curve: neither sensor_noise nor a camera nor the photo gives k0"):
        SensorNoise(iso=100, k1=0.3, seed=1).apply(flat(0.4, k0=math.nan))


def test_noise_stands_behind_the_crop() -> None:
    with pytest.raises(RecipeError, match=r"sensor_noise stands behind the crop"):
        SensorNoise(iso=100).plan(Spec(Space.LINEAR, 3))


# -- residuals in planes ----------------------------------------------------------------------------------------------

PAIRS = """
seed: 3
operators:
  patches: {op: crop, size: 32, margin: 8, per_photo: 6}
  optics: {op: psf_blur, radius: 8, kernels: [{psf: disc, radius: {uniform: [1, 4]}}]}
  cfa: {op: mosaic}
  noise: {op: sensor_noise, iso: {choice: [400, 3200]}, REFERENCE}
planes:
  clean: [patches, cfa]
  blur: [patches, optics, cfa]
  noise: [patches, cfa, noise]
  noise_blur: [patches, optics, cfa, noise]
"""


def photo(size: int = 160, space: Space = Space.LINEAR) -> Frame:
    rng = np.random.default_rng(9)
    data = torch.from_numpy(rng.random((1, space.channels, size, size)).astype(np.float32))
    return Frame(data, space, camera(pitch=4.0, iso=100, half_diagonal=100, centre=(80, 80)))


def test_with_a_reference_the_residual_is_the_same_in_both_planes() -> None:
    recipe = Recipe.parse(PAIRS.replace("REFERENCE", "reference: noise_blur"))
    planes = {n: f.data for n, f in render(recipe, photo(), "a").items()}
    sharp, soft = planes["noise"] - planes["clean"], planes["noise_blur"] - planes["blur"]
    assert (sharp - soft).abs().max() < 1e-6
    assert sharp.std() > 0.005
    alone = render(recipe, photo(), "a", planes=["noise"])["noise"].data
    assert torch.equal(alone, planes["noise"])  # the referenced plane is rendered also when it is not asked for


def test_with_a_reference_the_variance_is_that_planes() -> None:
    recipe = Recipe.parse(PAIRS.replace("REFERENCE", "reference: noise_blur, seed: 4"))
    planes = render(recipe, photo(), "a")
    for j in range(6):
        iso = recipe.operators["noise"].draw(Key(3).at("a", j, "noise"))
        blur = planes["blur"].map(lambda t, j=j: t[j : j + 1])
        assert isinstance(iso, SensorNoise)
        expected = iso.model_copy(update={"reference": None}).apply(blur).data - blur.data
        torch.testing.assert_close(
            planes["noise"].data[j : j + 1] - planes["clean"].data[j : j + 1], expected, atol=1e-6, rtol=0
        )


def test_without_one_the_unit_field_is_shared_and_the_amplitude_follows_each_plane() -> None:
    recipe = Recipe.parse(PAIRS.replace("REFERENCE", "seed: {seed: []}"))
    planes = render(recipe, photo(), "a")
    noise = recipe.operators["noise"].draw(Key(3).at("a", np.arange(6), "noise"))
    assert isinstance(noise, SensorNoise)
    units = []
    for with_noise, without in (("noise", "clean"), ("noise_blur", "blur")):
        sigma = noise.variance(planes[without]).sqrt()
        units.append((planes[with_noise].data - planes[without].data) / sigma)
    torch.testing.assert_close(units[0], units[1], atol=2e-3, rtol=0)
    assert (planes["noise"].data - planes["clean"].data).sub(
        planes["noise_blur"].data - planes["blur"].data
    ).abs().max() > 1e-3


# -- what the photo brought along -------------------------------------------------------------------------------------


def _own(frame: Frame, shot: float, read: float) -> Frame:
    line = torch.tensor([[shot] * frame.data.shape[1], [read] * frame.data.shape[1]])
    return replace(frame, noise=line.expand(len(frame), 2, -1))


def test_source_noise_is_kept_subtracted_or_refused() -> None:
    frame = _own(flat(0.5, 8), 2e-5, 1e-6)
    keep, subtract, refuse = (SensorNoise(iso=400, seed=1, source=s) for s in ("keep", "subtract", "refuse"))
    whole = keep.variance(replace(frame, noise=None))
    assert torch.equal(keep.variance(frame), whole)
    torch.testing.assert_close(subtract.variance(frame), whole - (2e-5 * 0.5 + 1e-6), rtol=1e-4, atol=0)
    assert torch.equal(refuse.variance(frame), whole)


def test_much_source_noise() -> None:
    frame = _own(flat(0.5, 8), 1e-3, 0.0)
    with pytest.warns(UserWarning, match=r"the photo's own noise has \d+% of the variance to be added: shrink more"):
        SensorNoise(iso=100, seed=1).apply(frame)
    with pytest.raises(PhotoError, match=r"more than 25%: shrink more, or use source: subtract"):
        SensorNoise(iso=100, seed=1, source="refuse").apply(frame)
    quiet = SensorNoise(iso=100, seed=1, source="subtract").apply(frame)  # nothing is left to add
    assert torch.equal(quiet.data, frame.data)
    with pytest.raises(PhotoError, match=r"unknown, so it cannot be subtracted"):
        SensorNoise(iso=100, source="subtract", seed=1).apply(flat(0.5, 8))


def test_subtraction_ends_at_the_target_variance() -> None:
    """A picture with noise of its own, brought up to the curve: what it has then is the curve's."""
    rng = np.random.default_rng(4)
    own = 3e-5
    signal = 0.5 + math.sqrt(own) * torch.from_numpy(rng.normal(size=(1, 4, 600, 600)).astype(np.float32))
    frame = _own(flat(signal, 600), 0.0, own)
    total = SensorNoise(iso=400, seed=2, source="subtract").apply(frame).data.double().var((-2, -1))[0]
    expected = (torch.tensor(K1) * 0.5 * FULL + torch.tensor(K0)) * 4 / FULL**2
    assert ((total / expected - 1).abs() < 0.02).all()


def test_a_warning_is_given_once_a_call() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        SensorNoise(iso=100, seed=1).variance(_own(flat(0.5, 8), 1e-3, 0.0))
    assert len(caught) == 1


def test_a_reference_is_rendered_as_wide_as_what_follows_needs() -> None:
    """Noise that is blurred afterwards reaches beyond the patch, and so does the plane that sets its variance."""
    text = """
    operators:
      patches: {op: crop, size: 16, margin: 12, per_photo: 3}
      soft: {op: psf_blur, radius: 4, kernels: [{psf: disc, radius: 2}]}
      noise: {op: sensor_noise, iso: 3200, reference: first}
      late: {op: psf_blur, radius: 6, kernels: [{psf: gaussian, sigma: 1.5}]}
    planes:
      first: [patches, soft, noise]
      after: [patches, noise, late]
    """
    planes = render(Recipe.parse(text), photo(), "a")
    assert planes["after"].size == (16, 16)
    with pytest.raises(RecipeError, match=r"look 10 pixels beyond a patch, margin is 8"):
        Recipe.parse(text.replace("margin: 12", "margin: 8"))
    assert Recipe.parse(text.replace("margin: 12", "margin: 10")).paths.margins["patches", "soft"] == 6
