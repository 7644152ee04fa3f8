"""Maps in OpenEXR files: every way to name their channels, both windows, and files that cannot be used."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import Imath
import numpy as np
import OpenEXR
import photos
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from degrade import Frame, PhotoError
from degrade.core.maps import Aux, how
from degrade.maths.maps import laid, unit
from degrade.photos import read_photo, read_source
from degrade.photos.exr import read_exr
from degrade.photos.maps import read_map, read_plain
from degrade.recipe.recipe import Source

H, W = photos.SIZE
RNG = np.random.default_rng(4)
ONE = (1 + RNG.random((H, W))).astype(np.float32)
THREE = RNG.normal(size=(3, H, W)).astype(np.float32)


def write(path: Path, channels: dict[str, NDArray[Any]], **header: Any) -> Path:
    given = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}
    OpenEXR.File(given, {n: np.ascontiguousarray(c) for n, c in channels.items()}).write(str(path))
    return path


def vector(names: str, x: NDArray[Any] = THREE) -> dict[str, NDArray[Any]]:
    return dict(zip(names.split(), x, strict=True))


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos.write_photo(tmp_path_factory.mktemp("photos") / "a.dng")


@pytest.fixture(scope="module")
def frame(photo: Path) -> Frame:
    return read_photo(photo, space="linear", shrink=4)


# -- channels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("depth", {"Z": ONE}),
        ("depth", {"Y": ONE}),
        ("depth", {"V": ONE}),
        ("depth", {"V": ONE, "A": 0 * ONE}),
        ("depth", {**vector("R G B"), "A": ONE * 0, "Z": ONE}),
        ("depth", dict.fromkeys("RGB", ONE)),
        ("depth", {"Depth": ONE, "Mask": 0 * ONE}),
        ("depth", {"View.Depth.Z": ONE, **vector("View.Normal.X View.Normal.Y View.Normal.Z")}),
        ("depth", {"View.Depth.V": ONE, **vector("View.Combined.R View.Combined.G View.Combined.B")}),
        ("depth_far", {"depth.Z": 0 * ONE, "depth_far.Z": ONE}),
        ("height", {"Z": ONE}),
        ("mask_sky", {"Y": ONE}),
        ("mask", {"A": ONE}),
        ("label", {"Y": ONE}),
    ],
)
def test_one_channel_is_found(tmp_path: Path, name: str, channels: dict[str, NDArray[Any]]) -> None:
    found = read_exr(write(tmp_path / "x.exr", channels), name)
    assert (found == ONE[..., None]).all()


@pytest.mark.parametrize("names", ["X Y Z", "R G B", "normal.x normal.y normal.z", "V.Normal.X V.Normal.Y V.Normal.Z"])
@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_normals_come_as_they_are(tmp_path: Path, names: str, kind: type) -> None:
    n = THREE / np.linalg.norm(THREE, axis=0)
    path = write(tmp_path / "n.exr", {**vector(names, n.astype(kind)), "V.Depth.Z": ONE})
    found = read_plain(path, "normal")[0].numpy()
    np.testing.assert_allclose(
        found * np.array([1, -1, 1])[:, None, None], n, atol=1e-6 if kind is np.float32 else 2e-3
    )


def test_albedo_is_linear_also_above_white(tmp_path: Path) -> None:
    found = read_plain(write(tmp_path / "a.exr", {**vector("R G B", abs(THREE)), "A": ONE}), "albedo")
    assert (found[0].numpy() == abs(THREE)).all()
    grey = read_plain(write(tmp_path / "g.exr", {"Y": ONE}), "albedo")
    assert (grey.numpy() == ONE).all()


def test_whole_numbers_are_labels(tmp_path: Path) -> None:
    label = (np.arange(H * W).reshape(H, W) % 9).astype(np.uint32)
    assert (read_plain(write(tmp_path / "l.exr", {"Y": label}), "label")[0, 0].numpy() == label).all()


def test_a_half_may_be_infinitely_far(tmp_path: Path) -> None:
    far = np.where(ONE > 1.5, np.inf, ONE).astype(np.float16)
    found = read_plain(write(tmp_path / "f.exr", {"Z": far}), "depth", 0.5)
    assert (found[0, 0].numpy() == far.astype(np.float32) / 2).all()


@pytest.mark.parametrize("kind", ["NO", "RLE", "ZIPS", "ZIP", "PIZ"])
@pytest.mark.parametrize("tiled", [False, True])
def test_every_lossless_compression(tmp_path: Path, kind: str, tiled: bool) -> None:
    more = {"type": OpenEXR.tiledimage, "tiles": OpenEXR.TileDescription()} if tiled else {}
    path = write(tmp_path / "x.exr", {"Z": ONE}, compression=getattr(OpenEXR, f"{kind}_COMPRESSION"), **more)
    assert (read_exr(path, "depth")[..., 0] == ONE).all()


# -- where they lie ---------------------------------------------------------------------------------------------------


@given(*[st.integers(-50, 50)] * 4, st.integers(1, 60), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_what_is_shown_is_the_display_window(
    tmp_path_factory: pytest.TempPathFactory, top: int, left: int, y: int, x: int, h: int, w: int
) -> None:
    part = ONE[:30, :40]
    path = write(
        tmp_path_factory.getbasetemp() / "window.exr",
        {"Y": part},
        dataWindow=((left, top), (left + 39, top + 29)),
        displayWindow=((x, y), (x + w - 1, y + h - 1)),
    )
    wide = np.zeros((260, 260), np.float32)  # from -100 on
    wide[100 + top : 130 + top, 100 + left : 140 + left] = part
    assert (read_exr(path, "mask")[..., 0] == wide[100 + y : 100 + y + h, 100 + x : 100 + x + w]).all()


@pytest.mark.parametrize("name", ["depth", "normal"])
def test_a_map_lies_on_the_photo(photo: Path, frame: Frame, name: str) -> None:
    write(photo.parent / "m.exr", {"Z": ONE} if name == "depth" else vector("X Y Z"))
    whole = torch.from_numpy(ONE)[None, None] if name == "depth" else unit(torch.from_numpy(THREE)[None])
    found = read_map(photo, name, Aux(file="m.exr", green="down"), frame)
    assert torch.allclose(found, laid(whole, frame.size, frame.grid.scale, frame.grid.offset, how(name)), atol=1e-6)


def test_a_source_reads_two_maps_of_one_file(photo: Path) -> None:
    write(photo.parent / "both.exr", {"depth.Z": ONE, **vector("normal.X normal.Y normal.Z")})
    source = Source.model_validate({"aux": {n: {"file": "both.exr"} for n in ("depth", "normal")}})
    aux = read_source(photo, source).aux
    assert (aux["depth"].shape[1], aux["normal"].shape[1]) == (1, 3)


# -- files that cannot be used ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "channels", "message"),
    [
        ("depth", vector("X Y Z"), "has the channels X, Y, Z: a map of kind depth is in Z or Y or RGB or one alone"),
        ("normal", {"Z": ONE}, "has the channels Z: a map of kind normal is in XYZ or RGB"),
        ("mask", {"Y": ONE, "X": ONE}, "a map of kind mask is in Y or RGB or one alone"),
        ("depth", {"near.Z": ONE, "far.Z": ONE}, "holds the layers far, near: call the one to be read 'depth'"),
        ("mask", vector("R G B"), "has 3 channels: a map of kind mask has 1"),
        ("depth", {"Z": ONE - 2}, "depths of 0 or less in 100.00%"),
        ("height", {"Z": ONE * np.float32(np.nan)}, "not finite"),
    ],
)
def test_wrong_channels_are_told(tmp_path: Path, name: str, channels: dict[str, NDArray[Any]], message: str) -> None:
    with pytest.raises(PhotoError, match=message):
        read_plain(write(tmp_path / "x.exr", channels), name)


def test_depth_beyond_the_data_window_is_a_hole(tmp_path: Path) -> None:
    path = write(tmp_path / "x.exr", {"Z": ONE}, displayWindow=((0, 0), (W - 1, 2 * H - 1)))
    with pytest.raises(PhotoError, match="depths of 0 or less in 50.00% of its pixels, holes perhaps"):
        read_plain(path, "depth")


def test_a_boundless_display_window_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "x.exr", {"Y": ONE}, displayWindow=((0, 0), (2**29, 19)))
    with pytest.raises(PhotoError, match="shows 20 x 536870913 pixels, at most 536870912 are read"):
        read_plain(path, "mask")


def test_several_parts_and_deep_pictures_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.exr"
    OpenEXR.File([OpenEXR.Part({"name": n}, {"Z": ONE}) for n in "ab"]).write(str(path))
    with pytest.raises(PhotoError, match="holds scanlineimage, scanlineimage: save the map as one flat picture"):
        read_plain(path, "depth")
    deep = np.empty((3, 4), object)
    for i in np.ndindex(3, 4):
        deep[i] = np.ones(2, np.float32)
    write(path, {"Z": deep}, type=OpenEXR.deepscanline, compression=OpenEXR.ZIPS_COMPRESSION)
    with pytest.raises(PhotoError, match="holds deepscanline: save the map as one flat picture"):
        read_plain(path, "depth")


def test_subsampled_channels_are_refused(tmp_path: Path) -> None:
    header = OpenEXR.Header(W, H)
    header["channels"] = {
        n: Imath.Channel(Imath.PixelType(2), step, step) for n, step in (("R", 1), ("G", 1), ("B", 2))
    }
    file = OpenEXR.OutputFile(str(tmp_path / "x.exr"), header)  # the newer classes write none
    file.writePixels({"R": ONE.tobytes(), "G": ONE.tobytes(), "B": ONE[::2, ::2].tobytes()})
    file.close()
    with pytest.raises(PhotoError, match="holds subsampled channels: write one value a pixel"):
        read_plain(tmp_path / "x.exr", "albedo")


def test_a_file_that_is_missing_or_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match=r"no.exr cannot be opened .No such file"):
        read_plain(tmp_path / "no.exr", "depth")
    for content in (b"", b"v/1\x01", b"rubbish"):
        (tmp_path / "x.exr").write_bytes(content)
        with pytest.raises(PhotoError, match="cannot be decoded, it is damaged or no OpenEXR file: write it anew"):
            read_plain(tmp_path / "x.exr", "depth")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_a_file_cut_short_is_told(tmp_path: Path, share: float) -> None:
    path = write(tmp_path / "x.exr", {"Z": ONE})
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(PhotoError, match="cannot be decoded"):
        read_plain(path, "depth")


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_whatever_is_damaged_is_told_or_read(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = write(tmp_path_factory.getbasetemp() / "damaged.exr", {"Z": ONE[:9, :9]})
    content = bytearray(path.read_bytes())
    for at in rng.integers(0, len(content), 3):
        content[at] = rng.integers(0, 256)
    path.write_bytes(content)
    with contextlib.suppress(PhotoError):  # any other error fails
        read_plain(path, "depth")
