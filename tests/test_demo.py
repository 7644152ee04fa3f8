"""The demo: its photographs are the scenes, its noise is the formula's, its loader trains a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

from degrade import PatchStore, read_photo
from degrade.demo import SCENES, check_noise, train
from degrade.maths.colour import apply_matrix, srgb_encode
from degrade.photos import raw_facts


@pytest.mark.parametrize("name", SCENES)
def test_a_photo_shrunk_by_four_is_the_scene_at_its_own_sharpness(demo: Path, name: str) -> None:
    photo = read_photo(demo / "photos" / f"{name}.dng", space="linear", shrink=4)
    sensor = photo.sensor
    balanced = photo.data * sensor.white_balance[:, :, None, None]
    found = srgb_encode(apply_matrix(sensor.matrix, balanced).clamp(0, 1))[0]
    scene = torch.from_numpy(getattr(skimage.data, name)()[..., :3].copy()).permute(2, 0, 1).float() / 255
    # one pixel at each border is left out, because the samples of the mosaic do not wholly cover it
    scene = scene[:, 1 : 1 + found.shape[1], 1 : 1 + found.shape[2]]
    inside = (scene > 0.02).all(0) & (scene < 0.98).all(0)
    error = (found - scene)[:, inside]
    assert 10 * np.log10(1 / error.square().mean().item()) > 32
    gain = (found.diff(dim=2).square().mean() / scene.diff(dim=2).square().mean()).sqrt().item()
    assert 0.85 < gain < 1.1, "edges keep their contrast"


def test_photos_are_large_and_of_an_invented_camera(demo: Path) -> None:
    for name in SCENES:
        facts = raw_facts(demo / "photos" / f"{name}.dng")
        assert max(facts.size) >= 2000
        assert (facts.iso, facts.phase, facts.white) == (100, "RGGB", 16383)


def test_noise_is_the_formulas(demo: Path) -> None:
    for iso, measured, expected in check_noise(PatchStore(demo / "pairs.zarr")):
        assert measured == pytest.approx(expected, rel=0.03), iso


def test_twenty_steps_learn_something(demo: Path) -> None:
    losses = train(PatchStore(demo / "pairs.zarr"))
    assert len(losses) == 20
    assert np.mean(losses[-5:]) < 0.5 * losses[0]


def test_the_demo_leaves_photos_pairs_and_a_sheet(demo: Path) -> None:
    assert {"photos", "pairs.zarr", "sheet.png"} == {p.name for p in demo.iterdir()}
    assert (demo / "sheet.png").stat().st_size > 50_000
