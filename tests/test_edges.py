"""Edges against SciPy's operators, and on steps whose strength is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage import color

from degrade.maths import edges


def noise(h: int = 40, w: int = 50) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((2, 3, h, w)).astype(np.float32))


def test_luminance_is_that_of_scikit_image() -> None:
    x = noise()
    np.testing.assert_allclose(edges.luminance(x)[0, 0], color.rgb2gray(x[0].permute(1, 2, 0).numpy()), atol=3e-4)


@pytest.mark.parametrize(("gradient", "total"), [("sobel", 4), ("prewitt", 3)])
def test_strength_is_scipys(gradient: edges.Gradient, total: int) -> None:
    y = edges.luminance(noise())
    ours = edges.strength(y, gradient)
    for row, found in zip(y[:, 0].double().numpy(), ours[:, 0], strict=True):
        gy, gx = (getattr(ndimage, gradient)(row, axis=axis, mode="nearest") / total for axis in (0, 1))
        np.testing.assert_allclose(found, np.hypot(gy, gx), atol=1e-6)


@pytest.mark.parametrize("gradient", ["sobel", "prewitt"])
@pytest.mark.parametrize("height", [0.1, 1.0])
def test_a_step_has_its_height(gradient: edges.Gradient, height: float) -> None:
    y = torch.zeros(1, 1, 8, 8)
    y[..., 4:, :] = height
    found = edges.strength(y, gradient)
    for turned in (found, edges.strength(y.mT, gradient).mT):
        torch.testing.assert_close(turned[0, 0, :, 0], height * torch.tensor([0.0, 0, 0, 1, 1, 0, 0, 0]))


def test_the_threshold_belongs_to_the_edge() -> None:
    y = torch.zeros(1, 3, 4, 6)
    y[..., 3:] = 1
    assert edges.edges(y, 1.0 - 1e-6).sum() == 8
    assert edges.edges(y, 1.001).sum() == 0
    assert edges.edges(y, 0.0).mean() == 1


def test_rows_have_their_own_threshold() -> None:
    x = noise()
    found = edges.edges(x, torch.tensor([0.1, 0.5]).reshape(2, 1, 1, 1))
    for j, t in enumerate((0.1, 0.5)):
        assert torch.equal(found[j], edges.edges(x[j : j + 1], t)[0])
