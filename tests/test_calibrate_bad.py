"""Series of flats and darks that would mislead are refused, with the file's name and what to do."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from known import A
from numpy.typing import NDArray
from PIL import Image

from degrade.calibrate.noise import from_flats
from degrade.photos import PhotoError, write_dng


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flats and darks of camera A at ISO 100; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    A.series(folder, 100, 128)
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A copy of the series, to be changed."""
    return shutil.copytree(made, tmp_path / "copy")


def rewrite(path: Path, light: NDArray[np.float64] | float, seed: int = 1, **facts: Any) -> None:
    """A file of the series again, with other light or other facts."""
    rng = np.random.default_rng(seed)
    mosaic = A.expose(np.broadcast_to(np.asarray(light, np.float64), (128, 128)), 100, rng)
    own = {"black": A.black, "white": A.white, "iso": 100, "exposure": 0.01, "make": "nobody", "model": A.name}
    write_dng(path, facts.pop("mosaic", mosaic), **{**own, **facts})


def refused(folder: Path, match: str, **options: Any) -> None:
    """The series is refused with this sentence."""
    with pytest.raises(PhotoError, match=match):
        from_flats(folder / "flats", folder / "darks", pitch=4.0, **options)


def test_flats_that_clip(copy: Path) -> None:
    for j in range(2):
        rewrite(copy / f"flats/00100-11-{j}.dng", 1.0, seed=j, exposure=0.12)
    refused(copy, r"00100-11-0.dng clips: \d+% of R at 4095 DN")


def test_flats_that_clip_below_the_stated_white(copy: Path) -> None:
    for j in range(2):
        rng = np.random.default_rng(j)
        full = np.minimum(A.expose(np.full((128, 128), 0.9), 100, rng), 3700).astype(np.uint16)
        rewrite(copy / f"flats/00100-11-{j}.dng", 0, mosaic=full, exposure=0.12)
    refused(copy, r"00100-11-0.dng clips: \d+% of R at 3700 DN")


@pytest.mark.parametrize("light", [0.05, 0.01])
def test_darks_that_see_light(copy: Path, light: float) -> None:
    rewrite(copy / "darks/00100-03.dng", light)
    refused(copy, r"00100-03.dng is no dark: .* light leaks in")


def test_darks_with_a_gradient(copy: Path) -> None:
    rewrite(copy / "darks/00100-03.dng", np.linspace(0, 0.001, 128)[:, None] * np.ones(128))
    refused(copy, r"00100-03.dng is uneven: .* across the frame: light leaks in")


def test_other_sizes_and_cameras(copy: Path) -> None:
    rewrite(copy / "darks/00100-00.dng", 0, mosaic=np.full((64, 64), 256, np.uint16))
    refused(copy, r"00100-00.dng has size \(64, 64\) where .*00100-00-0.dng has \(128, 128\)")
    rewrite(copy / "darks/00100-00.dng", 0, model="another")
    refused(copy, r"00100-00.dng has camera another where .* has invented one")


def test_single_files(copy: Path) -> None:
    (copy / "flats/00100-05-1.dng").unlink()
    refused(copy, r"00100-05-0.dng is the only flat in a row .* take at least 2")
    shutil.rmtree(copy / "darks")
    (copy / "darks").mkdir()
    rewrite(copy / "darks/one.dng", 0)
    shutil.rmtree(copy / "flats")
    A.series(copy / "more", 100, 128)
    shutil.move(copy / "more/flats", copy / "flats")
    refused(copy, r"one.dng is the only dark")


def test_a_third_file_is_left_out_and_said(copy: Path) -> None:
    rewrite(copy / "darks/00100-99.dng", 0)
    found = from_flats(copy / "flats", copy / "darks", pitch=4.0)
    assert found.warnings == (f"{copy / 'darks/00100-99.dng'} has no partner and was left out",)


def test_two_lights_are_no_pair(copy: Path) -> None:
    rewrite(copy / "flats/00100-05-1.dng", 0.4, exposure=0.06)
    refused(copy, r"00100-05-0.dng and .*00100-05-1.dng have equal settings but differ by \d+%")


def test_a_copy_is_no_second_picture(copy: Path) -> None:
    shutil.copy(copy / "flats/00100-05-0.dng", copy / "flats/00100-05-1.dng")
    refused(copy, r"00100-05-1.dng in .* is a copy of 00100-05-0.dng")


def test_too_few_levels(copy: Path) -> None:
    for path in (copy / "flats").iterdir():
        if int(path.stem.split("-")[1]) % 2:
            path.unlink()
    found = from_flats(copy / "flats", copy / "darks", pitch=4.0)
    assert found.warnings == ("ISO 100 has only 6 brightnesses of flats: about 12 make a sound curve",)
    for path in (copy / "flats").iterdir():
        if int(path.stem.split("-")[1]) > 2:
            path.unlink()
    refused(copy, "ISO 100 has 2 brightnesses of flats, a line needs at least 3")


def test_darks_of_another_iso(copy: Path) -> None:
    for path in (copy / "darks").iterdir():
        rewrite(path, 0, seed=int(path.stem[-2:]), iso=200)
    refused(copy, "no darks at ISO 100")
    assert from_flats(copy / "flats", copy / "darks", pitch=4.0, iso=100).speeds[0].iso == 100


def test_files_without_iso(copy: Path) -> None:
    for j in range(2):
        rewrite(copy / f"flats/00100-00-{j}.dng", 0.01, seed=j, iso=None)
    refused(copy, r"00100-00-0.dng does not tell its ISO: name it with --iso")
    assert from_flats(copy / "flats", copy / "darks", pitch=4.0, iso=100).camera.black == A.black


def test_pictures_that_are_not_raw(made: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    with pytest.raises(PhotoError, match="no RAW file"):
        from_flats(tmp_path, made / "darks", pitch=4.0)
