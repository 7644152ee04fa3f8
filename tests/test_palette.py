"""Palettes: as good as scikit-learn's centres where it is installed, exact nearest colours, the same each time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.vq import kmeans2
from skimage import color, data

from degrade.maths import palette as few

METRICS = ("srgb", "linear", "lab")


def picture(name: str = "coffee") -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(getattr(data, name)().transpose(2, 0, 1))).float() / 255


def unit(colours: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(few.draws(colours))


def error(x: torch.Tensor, palette: torch.Tensor, metric: few.Metric = "srgb") -> float:
    """Mean squared distance to the nearest colour, by its definition."""
    pixels = few.to_metric(x, metric).reshape(3, -1).double()
    chosen = few.to_metric(palette.T[:, :, None], metric)[:, :, 0].double()
    least = torch.full_like(pixels[0], torch.inf)
    for colour in chosen.T:
        least = torch.minimum(least, (pixels - colour[:, None]).square().sum(0))
    return least.mean().item()


def test_lab_is_that_of_scikit_image() -> None:
    x = picture("astronaut")[:, ::7, ::7]
    ours = few.to_metric(x.double(), "lab").permute(1, 2, 0).numpy() * 100
    np.testing.assert_allclose(ours, color.rgb2lab(x.permute(1, 2, 0).double().numpy()), atol=0.02)


@pytest.mark.parametrize("metric", METRICS)
def test_there_and_back(metric: few.Metric) -> None:
    x = picture()[:, ::5, ::5].double()
    assert (few.from_metric(few.to_metric(x, metric), metric) - x).abs().max() < 2e-6


@pytest.mark.parametrize("metric", METRICS)
def test_as_good_as_lloyd_on_all_pixels(metric: few.Metric) -> None:
    """scipy's k-means on every pixel, started from what the histogram gave, gains less than 2%."""
    x = picture()[:, ::4, ::4]
    palette = few.k_means(x, 32, unit(32), metric)
    pixels = few.to_metric(x, metric).reshape(3, -1).T.double().numpy()
    start = few.to_metric(palette.T[:, :, None], metric)[:, :, 0].T.double().numpy()
    centres, labels = kmeans2(pixels, start, iter=50, minit="matrix")
    best = ((pixels - centres[labels]) ** 2).sum(1).mean()
    assert error(x, palette, metric) < 1.02 * best


def test_better_than_common_starts() -> None:
    """Not worse than the middle of scipy's k-means++ on every pixel."""
    x = picture()[:, ::4, ::4]
    pixels = x.reshape(3, -1).T.double().numpy()
    theirs = []
    for seed in range(5):
        centres, labels = kmeans2(pixels, 32, iter=30, minit="++", seed=np.random.default_rng(seed))
        theirs.append(((pixels - centres[labels]) ** 2).sum(1).mean())
    assert error(x, few.k_means(x, 32, unit(32))) < 1.02 * np.median(theirs)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(0, 2**32), st.sampled_from(METRICS), st.floats(0.01, 2))
def test_the_nearest_colour_is_the_nearest(k: int, seed: int, metric: few.Metric, spread: float) -> None:
    """The table gives what comparing with all colours gives; ties within a rounding may fall either way."""
    rng = np.random.default_rng(seed)
    x = torch.from_numpy((0.5 + spread * (rng.random((2, 3, 20, 30)) - 0.5)).astype(np.float32))
    palette = torch.from_numpy(rng.random((k, 3)).astype(np.float32))
    labels = few.nearest_colours(x, palette, metric)
    pixels = few.to_metric(x, metric).double()
    colours = few.to_metric(palette.T[:, :, None], metric)[:, :, 0].T.double()
    distance = (pixels[:, None] - colours[None, :, :, None, None]).square().sum(2)
    taken = distance.gather(1, labels[:, None].long())[:, 0]
    assert (taken - distance.amin(1)).max() < 1e-6


def test_the_first_of_equal_colours_is_taken() -> None:
    palette = torch.tensor([[0.9, 0.9, 0.9], [0.2, 0.2, 0.2], [0.2, 0.2, 0.2]])
    assert few.nearest_colours(torch.full((1, 3, 4, 4), 0.3), palette).unique().tolist() == [1]


def test_colours_of_a_picture_that_has_few_are_found_exactly() -> None:
    colours = torch.tensor([[0.1, 0.5, 0.9], [0.7, 0.2, 0.3], [0.4, 0.4, 0.4]])
    labels = torch.zeros(1, 30, 30, dtype=torch.int32)
    labels[:, :, 18:], labels[:, 25:] = 1, 2
    palette = few.k_means(few.paint(labels, colours)[0], 8, unit(8))
    assert len(palette) == 3
    assert torch.allclose(palette, colours, atol=1e-6)  # the most frequent first


def test_the_numbers_given_decide() -> None:
    x = picture()[:, ::8, ::8]
    assert torch.equal(few.k_means(x, 16, unit(16)), few.k_means(x, 16, unit(16)))
    assert not torch.equal(few.k_means(x, 16, unit(16)), few.k_means(x, 16, unit(16, seed=1)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_finds_the_same() -> None:
    x, palette = picture()[None], few.k_means(picture(), 32, unit(32))
    same = few.nearest_colours(x, palette) == few.nearest_colours(x.cuda(), palette.cuda()).cpu()
    assert same.double().mean() > 0.9999


@pytest.mark.parametrize("wrong", [torch.full((3, 4, 4), torch.nan), torch.zeros(3, 0, 4)])
def test_no_palette_of_what_is_no_colour(wrong: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="a palette needs finite colours, got values from"):
        few.k_means(wrong, 2, unit(2))
