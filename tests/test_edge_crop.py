"""Crops that prefer edges: how often a place is taken, what happens when none is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from degrade import Frame, Key, Sensor, Space
from degrade.core.patches import ABSENT
from degrade.operators.crop import TRIES, Crop, EdgeCrop

MANY = 10_000
KEYS = Key(7).at("IMG_0001.png", "patches").at(np.arange(MANY))


def photo(mask: torch.Tensor, clipped: torch.Tensor | None = None) -> Frame:
    maps = {"edges": mask} if clipped is None else {"edges": mask, "clipped": clipped}
    return Frame(torch.zeros(1, 3, *mask.shape[-2:]), Space.DISPLAY, Sensor.make(), aux=maps)


def places(frame: Frame, **fields: object) -> np.ndarray:
    drawn = EdgeCrop.model_validate({"size": 50, "margin": 0, "per_photo": MANY, **fields}).draw(KEYS, frame)
    return np.stack((drawn.top, drawn.left), axis=1)


def first(frame: Frame) -> np.ndarray:
    """The rectangles drawn first, which a crop without preference takes."""
    drawn = Crop(size=50, margin=0, per_photo=MANY).draw(KEYS, replace(frame, aux={}))
    return np.stack((drawn.top, drawn.left), axis=1)


@pytest.mark.parametrize(("edges", "taken"), [(1.0, 0.7), (0.0, 0.4)])
def test_seven_rich_places_of_ten_are_taken_and_four_others(edges: float, taken: float) -> None:
    frame = photo(torch.full((1, 1, 2000, 3000), edges))
    share = (places(frame) == first(frame)).all(1).mean()
    assert share == pytest.approx(taken, abs=0.014)


def test_rich_places_are_preferred_by_the_ratio_of_acceptance() -> None:
    """Half of the places are rich: they hold 0.7 / (0.7 + 0.4) of the rows."""
    mask = torch.zeros(1, 1, 400, 2050)
    mask[..., 1025:] = 1
    found = places(photo(mask), share=0.5)
    rich = found[:, 1] + 25 >= 1025
    assert rich.mean() == pytest.approx(0.7 / 1.1, abs=0.015)


def test_the_threshold_counts_pixels_of_the_rectangle() -> None:
    """A place is rich from exactly `share` on: of a column of 25 in 50, half."""
    mask = torch.zeros(1, 1, 50, 2000)
    mask[:, :, :25] = 1
    frame = photo(mask)
    for share, taken in ((0.5, 0.7), (0.5001, 0.4)):
        assert (places(frame, share=share) == first(frame)).all(1).mean() == pytest.approx(taken, abs=0.02)


def test_after_64_rectangles_the_last_is_taken() -> None:
    frame = photo(torch.zeros(1, 1, 300, 300))
    found = places(frame, rich=1, poor=1)
    key = KEYS.at("top", TRIES - 1)
    assert (found[:, 0] == np.floor(key.unit() * 251)).all()


def test_all_are_taken_where_nothing_is_passed_over() -> None:
    frame = photo(torch.zeros(1, 1, 300, 300))
    assert (places(frame, rich=0, poor=0) == first(frame)).mean() > 0.9999


def test_clipped_places_are_never_taken() -> None:
    clipped = torch.zeros(1, 1, 300, 300)
    clipped[..., 150:] = 1
    found = places(photo(torch.zeros(1, 1, 300, 300), clipped))
    assert (found[:, 0] != ABSENT).all()
    assert found[:, 1].max() <= 101
    nowhere = places(photo(torch.zeros(1, 1, 300, 300), torch.ones(1, 1, 300, 300)))
    assert (nowhere == ABSENT).all()


def test_a_place_has_an_address() -> None:
    mask = torch.from_numpy(np.random.default_rng(0).random((1, 1, 200, 300)) < 0.05).float()
    every = places(photo(mask))
    few = EdgeCrop(size=50, margin=0, per_photo=MANY).draw(KEYS[np.array([17, 4000])], photo(mask))
    assert few.top.tolist() == every[[17, 4000], 0].tolist()


def test_sixty_megapixels() -> None:
    """Counts beyond 2^24, where float32 would lose them."""
    mask = torch.ones(1, 1, 6400, 9400)
    found = places(photo(mask), size=500, share=1.0)
    assert (found == first_of(mask, 500)).all(1).mean() == pytest.approx(0.7, abs=0.014)


def first_of(mask: torch.Tensor, size: int) -> np.ndarray:
    drawn = Crop(size=size, margin=0, per_photo=MANY).draw(KEYS, replace(photo(mask), aux={}))
    return np.stack((drawn.top, drawn.left), axis=1)
