"""Real camera files, where the environment variable DEGRADE_SAMPLES names a folder with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rawpy
import torch

from degrade.maths import bayer, cfa
from degrade.photos import PhotoError, find_photos, raw_facts, read_photo, read_raw

FILES = {  # phase, black, white, bits, visible size, ISO in the file
    "canon-eos550d_kissx4_magiclantern-iso_na.dng": ("RGGB", 2056, 15000, 14, (1156, 1734), None),
    "blackmagic-pocketcinema-iso_na.dng": ("GBRG", 256, 51080, 16, (1112, 1952), None),
    "infiniteisp-colorchecker-bggr-wrapped.dng": ("BGGR", 0, 4095, 12, (1080, 1920), 100),
    "nikon-d750-crop-rggb-wrapped.dng": ("RGGB", 600, 15520, 14, (512, 768), 100),
}


@pytest.fixture(params=sorted(FILES))
def photo(request: pytest.FixtureRequest, samples: Path) -> Path:
    path = samples / str(request.param)
    if not path.exists():
        pytest.skip(f"needs {path.name} in DEGRADE_SAMPLES")
    return path


def test_levels_phase_and_iso(photo: Path) -> None:
    facts = raw_facts(photo)
    phase, black, white, bits, size, iso = FILES[photo.name]
    assert (facts.phase, facts.black, facts.white) == (phase, (black,) * 4, white)
    assert (facts.bits, facts.size, facts.iso) == (bits, size, iso)


def test_read_at_the_superpixel(photo: Path) -> None:
    frame = read_photo(photo, space="linear", shrink=2, iso=200)
    h, w = raw_facts(photo).size
    top, left = cfa.PHASES[raw_facts(photo).phase].phase
    assert frame.size == ((h - top) // 2 - 2, (w - left) // 2 - 2)
    assert frame.grid.offset == (2 + top, 2 + left)
    assert bool(torch.isfinite(frame.data).all())
    assert 0 < float(frame.data.mean()) < 1
    assert float(frame.aux["clipped"].mean()) < 0.01
    assert frame.sensor.iso.tolist() == [200]


def test_untagged_iso_is_unknown(photo: Path) -> None:
    iso = read_raw(photo, space="linear").sensor.iso
    assert bool(iso.isnan().all()) == (FILES[photo.name][5] is None)


def test_packed_photosites_are_the_decoders(photo: Path) -> None:
    facts = raw_facts(photo)
    signal = bayer.unpack(read_raw(photo, space="mosaic").data.double())[0]
    top, left = cfa.PHASES[facts.phase].phase
    with rawpy.imread(str(photo)) as raw:
        colours = raw.raw_colors_visible[top : top + 2, left : left + 2].tolist()
        visible = raw.raw_image_visible[top:, left:][: signal.shape[0], : signal.shape[1]].astype(float)
    assert colours == [[0, 1], [3, 2]]
    np.testing.assert_allclose(signal * (facts.white - facts.black[0]) + facts.black[0], visible, atol=0.02)


def test_colour_agrees_with_the_decoder(photo: Path) -> None:
    facts = raw_facts(photo)
    with rawpy.imread(str(photo)) as raw:
        matrix, gains = raw.color_matrix[:, :3], np.array(raw.camera_whitebalance[:3])
    np.testing.assert_allclose(facts.matrix, matrix, atol=5e-4)
    np.testing.assert_allclose(facts.white_balance, gains / gains[1], rtol=1e-5)
    assert facts.notes == ()


def test_a_photo_cut_short_is_refused(photo: Path, tmp_path: Path) -> None:
    whole = photo.read_bytes()
    (tmp_path / "half.dng").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PhotoError, match=r"half\.dng"):
        read_photo(tmp_path / "half.dng", space="linear")


def test_the_folder_lists_them(samples: Path) -> None:
    found = {photo.key: photo.duplicate_of for photo in find_photos(samples)}
    assert all(found[name] is None for name in FILES if (samples / name).exists())
