"""Photos that cannot be used: each is refused with one sentence that names the file, never read as zeros or garbage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from degrade.maths.cfa import XTRANS
from degrade.photos import PhotoError, find_photos, raw_facts, read_photo, read_raw, write_dng

MOSAIC = np.random.default_rng(0).integers(100, 60000, (240, 320)).astype(np.uint16)


def dng(path: Path, pixels: Any, photometric: int, *tags: tuple[int, int, int, Any, bool]) -> None:
    """A DNG of any kind, by hand."""
    named = [(50706, 1, 4, (1, 4, 0, 0), True), (50708, 2, 0, "nobody 1", True)]
    tifffile.imwrite(path, pixels, photometric=photometric, planarconfig=1, metadata=None, extratags=[*named, *tags])


def mosaic_of(size: int, *colours: int) -> tuple[tuple[int, int, int, Any, bool], ...]:
    return (33421, 3, 2, (size, size), True), (33422, 1, size * size, colours, True)


def refused(path: Path, saying: str) -> None:
    for read in (raw_facts, lambda p: read_photo(p, space="linear"), lambda p: read_photo(p, space="mosaic")):
        with pytest.raises(PhotoError, match=saying) as caught:
            read(path)
        message = str(caught.value)
        assert str(path) in message
        assert "\n" not in message


@pytest.mark.parametrize("kept", [0.5, 0.98, 1 - 1e-5])
def test_truncated(tmp_path: Path, kept: float) -> None:
    write_dng(tmp_path / "a.dng", MOSAIC)
    whole = (tmp_path / "a.dng").read_bytes()
    (tmp_path / "a.dng").write_bytes(whole[: int(kept * len(whole))])
    refused(tmp_path / "a.dng", "is cut short")


def test_header_only(tmp_path: Path) -> None:
    write_dng(tmp_path / "a.dng", MOSAIC)
    with tifffile.TiffFile(tmp_path / "a.dng") as file:
        header = file.pages.first.dataoffsets[0]
    for kept in (header, header + 100):
        whole = (tmp_path / "a.dng").read_bytes()
        (tmp_path / "b.dng").write_bytes(whole[:kept])
        refused(tmp_path / "b.dng", "is cut short: the picture needs")


def test_cut_inside_the_header(tmp_path: Path) -> None:
    write_dng(tmp_path / "a.dng", MOSAIC)
    whole = (tmp_path / "a.dng").read_bytes()
    for kept in (3, 9, 100, 250):
        (tmp_path / "b.dng").write_bytes(whole[:kept])
        with pytest.raises(PhotoError, match=r"b\.dng"):
            raw_facts(tmp_path / "b.dng")


def test_all_photosites_equal(tmp_path: Path) -> None:
    write_dng(tmp_path / "a.dng", np.zeros((240, 320), np.uint16))
    with pytest.raises(PhotoError, match="holds no picture, all photosites read 0 DN"):
        read_raw(tmp_path / "a.dng", space="linear")


def test_xtrans(tmp_path: Path) -> None:
    dng(tmp_path / "a.dng", MOSAIC, 32803, *mosaic_of(6, *XTRANS.colours))
    refused(tmp_path / "a.dng", "X-Trans sensor")


def test_quad_bayer(tmp_path: Path) -> None:
    dng(tmp_path / "a.dng", MOSAIC, 32803, *mosaic_of(4, 0, 0, 1, 1, 0, 0, 1, 1, 1, 1, 2, 2, 1, 1, 2, 2))
    refused(tmp_path / "a.dng", "mosaic of RRGG")


def test_other_colours(tmp_path: Path) -> None:
    dng(tmp_path / "a.dng", MOSAIC, 32803, *mosaic_of(2, 0, 1, 2, 3), (50710, 1, 4, (0, 1, 2, 3), True))
    refused(tmp_path / "a.dng", "only RGGB, GRBG, GBRG, BGGR can be read")


def test_monochrome_and_linear_dng(tmp_path: Path) -> None:
    dng(tmp_path / "mono.dng", MOSAIC, 34892)
    refused(tmp_path / "mono.dng", "linear or monochrome DNG")
    dng(tmp_path / "linear.dng", np.stack([MOSAIC] * 3, -1), 34892)
    refused(tmp_path / "linear.dng", "linear or monochrome DNG")


def test_text_that_is_named_like_a_photo(tmp_path: Path) -> None:
    (tmp_path / "a.CR2").write_text("hello\n" * 300)
    refused(tmp_path / "a.CR2", "is not a RAW photo that LibRaw knows")


def test_a_picture_that_is_named_like_a_raw_photo(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.dng", np.stack([MOSAIC] * 3, -1), photometric="rgb")
    refused(tmp_path / "a.dng", "is not a RAW photo that LibRaw knows")


def test_empty_missing_and_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.nef").touch()
    refused(tmp_path / "a.nef", "is empty")
    refused(tmp_path / "b.nef", "cannot be opened")
    (tmp_path / "c.nef").mkdir()
    refused(tmp_path / "c.nef", "cannot be opened")


def test_white_at_black(tmp_path: Path) -> None:
    levels = ((50714, 3, 1, 500, True), (50717, 4, 1, 400, True))
    dng(tmp_path / "a.dng", MOSAIC, 32803, *mosaic_of(2, 0, 1, 1, 2), *levels)
    refused(tmp_path / "a.dng", "white level of 400 at or below black 500")


def test_too_small_for_the_shrink(tmp_path: Path) -> None:
    write_dng(tmp_path / "a.dng", MOSAIC[:40, :40])
    with pytest.raises(PhotoError, match=r"too small for shrink 40 \(40 x 40 photosites\)"):
        read_raw(tmp_path / "a.dng", space="linear", shrink=40)


def test_wrong_arguments_are_the_callers_error_not_the_photos(tmp_path: Path) -> None:
    write_dng(tmp_path / "a.dng", MOSAIC)
    for arguments, saying in (
        ({"space": "linear", "shrink": 3}, "must be even and at least 2, got 3"),
        ({"space": "linear", "shrink": 0}, "must be even"),
        ({"space": "mosaic", "shrink": 2}, "a mosaic is read as it is"),
        ({"space": "display"}, "got display: develop it"),
        ({"space": "linear", "iso": 0}, "iso must be above 0"),
        ({"space": "lab"}, "lab"),
    ):
        with pytest.raises(ValueError, match=saying) as caught:
            read_photo(tmp_path / "a.dng", **arguments)
        assert not isinstance(caught.value, PhotoError)


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        ({"phase": "BGRG"}, "unknown Bayer phase"),
        ({"black": (1, 2, 3)}, "four of them for R G1 G2 B"),
        ({"black": 1.5}, "black must be a whole number"),
        ({"white": 70000}, "at most 65535"),
        ({"black": 100, "white": 100}, "above black"),
        ({"iso": 0}, "iso must be a whole number"),
        ({"exposure": 0}, "exposure must be above 0"),
        ({"white_balance": (1, 0, 1)}, "three gains above 0"),
        ({"matrix": ((1, 0), (0, 1))}, "3 x 3"),
        ({"noise_profile": ((1, 1),)}, "four pairs"),
        ({"noise_profile": ((1, 1), (1, 1), (2, 2), (1, 1))}, "G1 and G2 must agree"),
        ({"make": "né"}, "ASCII"),
        ({"exposure": 1e12}, "too large"),
    ],
)
def test_what_a_dng_cannot_hold(tmp_path: Path, arguments: dict[str, Any], saying: str) -> None:
    with pytest.raises(ValueError, match=saying):
        write_dng(tmp_path / "a.dng", MOSAIC, **arguments)
    assert not list(tmp_path.iterdir())


def test_a_dng_takes_mosaics_only(tmp_path: Path) -> None:
    for wrong in (MOSAIC.astype(float), MOSAIC[0], MOSAIC[:21]):
        with pytest.raises(ValueError, match="uint16 mosaic of 22 x 22 or more"):
            write_dng(tmp_path / "a.dng", wrong)
    with pytest.raises(FileNotFoundError):
        write_dng(tmp_path / "nowhere" / "a.dng", MOSAIC)


def test_bad_photos_are_found_like_others(tmp_path: Path) -> None:
    (tmp_path / "a.CR2").write_text("hello")
    (tmp_path / "b.nef").touch()
    assert [photo.key for photo in find_photos(tmp_path)] == ["a.CR2", "b.nef"]
