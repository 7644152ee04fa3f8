"""Maps beside photos: where they lie, what their numbers mean, on which pixels they end; and every way to be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import photos
import pytest
import tifffile
import torch
from numpy.typing import NDArray

from degrade import Frame, PhotoError, Recipe, RecipeError, Sensor, Space
from degrade.core.maps import Aux, how
from degrade.maths.maps import laid, mirrored, shrunk, unit
from degrade.operators.sampling import Downsample
from degrade.operators.sensor import Mosaic
from degrade.photos import find_photos, read_photo, read_source
from degrade.photos.maps import read_map, write_normals
from degrade.recipe.recipe import Source

H, W = photos.SIZE


def png(path: Path, pixels: NDArray[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(imagecodecs.png_encode(pixels))
    return path


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos.write_photo(tmp_path_factory.mktemp("photos") / "a.b.dng")


@pytest.fixture(scope="module")
def frame(photo: Path) -> Frame:
    return read_photo(photo, space="linear", shrink=4)


def place(frame: Frame) -> torch.Tensor:
    """(h, w) raw column at which each pixel of a frame lies."""
    x = frame.grid.scale[1] * (torch.arange(frame.size[1]) + 0.5) - 0.5 + frame.grid.offset[1]
    return x.expand(*frame.size)


# -- on the frame's own pixels ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0.5, 1, 2])
@pytest.mark.parametrize("space", ["linear", "mosaic"])
def test_a_ramp_lies_where_the_photo_does(photo: Path, ratio: float, space: str) -> None:
    """Whatever the map's own size, also below the photo's: its value is the raw column."""
    shrink = 4 if space == "linear" else None
    frame = read_photo(photo, space=space, shrink=shrink)
    columns = (np.arange(round(W * ratio)) + 0.5) / ratio - 0.5
    np.save(photo.parent / "height.npy", np.broadcast_to(columns.astype(np.float32), (round(H * ratio), len(columns))))
    found = read_map(photo, "height", Aux(file="height.npy"), frame)
    assert found.shape == (1, 1, *frame.size)
    inner = (found[0, 0] - place(frame))[:, 1:-1]
    assert inner.abs().max() < 1e-3


def test_depth_is_never_averaged_over_an_edge(photo: Path, frame: Frame) -> None:
    depth = np.full((H, W), 1000, np.uint16)
    depth[:, W // 2 + 1 :] = 30000
    png(photo.parent / "d" / "a.b.png", depth)
    found = read_map(photo, "depth", Aux(file="d/{stem}.png", scale=0.001), frame)
    assert sorted(found.unique().tolist()) == pytest.approx([1.0, 30.0])
    assert ((found[0, 0] > 2) == (place(frame) >= W // 2 + 0.5)).all()


def test_normals_are_of_length_1_and_point_as_the_file_says(photo: Path, frame: Frame) -> None:
    n = np.zeros((H, W, 3), np.uint8)
    n[:] = np.round((np.array([0.48, 0.6, 0.64]) + 1) / 2 * 255)
    png(photo.parent / "n.png", n)
    up = read_map(photo, "normal", Aux(file="n.png"), frame)
    down = read_map(photo, "normal", Aux(file="n.png", green="down"), frame)
    assert torch.allclose(up.square().sum(1), torch.ones(1, *frame.size), atol=1e-6)
    assert torch.allclose(up[0, :, 3, 3], torch.tensor([0.48, -0.6, 0.64]), atol=0.01)
    assert torch.equal(down[:, 1], -up[:, 1])


def test_normals_that_were_written_are_read_again(photo: Path, frame: Frame) -> None:
    rng = np.random.default_rng(1)
    n = unit(torch.from_numpy(rng.normal(size=(1, 3, H, W))).float())
    write_normals(photo.parent / "w.png", n[0])
    one = Frame(torch.zeros(1, 3, H, W), Space.LINEAR, frame.sensor)
    assert (read_map(photo, "normal", Aux(file="w.png"), one) - n).abs().max() < 1e-4


@pytest.mark.parametrize("file", ["m.png", "m.tif", "m.npy", "m.npz"])
def test_every_format_says_the_same(photo: Path, frame: Frame, file: str) -> None:
    mask = (np.arange(H * W).reshape(H, W) % 251 * 257).astype(np.uint16)
    path = photo.parent / file
    if file.endswith("png"):
        png(path, mask)
    elif file.endswith("tif"):
        tifffile.imwrite(path, mask)
    elif file.endswith("npy"):
        np.save(path, (mask / 65535).astype(np.float32))
    else:
        np.savez(path, mask=mask, other=mask[:2])
    found = read_map(photo, "mask", Aux(file=file), frame)
    whole = laid(
        torch.from_numpy(mask.astype(np.float32) / 65535)[None, None],
        frame.size,
        frame.grid.scale,
        frame.grid.offset,
        "mean",
    )
    assert torch.allclose(found, whole, atol=1e-6)


def test_the_mean_of_a_whole_number_of_pixels_is_the_area_mean() -> None:
    x = torch.from_numpy(np.random.default_rng(3).random((1, 2, 12, 18)).astype(np.float32))
    assert torch.allclose(laid(x, (4, 6), (3, 3), (0, 0), "mean"), shrunk(x, 3, "mean"), atol=1e-6)
    assert torch.equal(laid(x, (4, 6), (3, 3), (0, 0), "nearest"), shrunk(x, 3, "nearest"))


def test_a_mirrored_normal_points_the_other_way() -> None:
    n = unit(torch.from_numpy(np.random.default_rng(3).normal(size=(1, 3, 4, 5))).float())
    for axis, component in (("x", 0), ("y", 1)):
        turned = mirrored(n, axis, "unit")
        assert torch.equal(turned.flip(3 if axis == "x" else 2)[:, component], -n[:, component])
        assert torch.equal(mirrored(turned, axis, "unit"), n)
    assert torch.equal(mirrored(n, "x", "mean"), n.flip(3))


def test_downsampling_respects_each_kind() -> None:
    depth = torch.tensor([1.0, 9.0]).repeat(4, 4)[None, None]
    normal = unit(torch.from_numpy(np.random.default_rng(5).normal(size=(1, 3, 4, 8))).float())
    aux = {"depth": depth, "label_hair": depth, "normal": normal, "mask_sky": depth}
    done = Downsample(factor=2).apply(Frame(torch.zeros(1, 3, 4, 8), Space.LINEAR, Sensor.make(), aux=aux)).aux
    assert set(done["depth"].unique().tolist()) == {9.0} == set(done["label_hair"].unique().tolist())
    assert set(done["mask_sky"].unique().tolist()) == {5.0}
    assert torch.allclose(done["normal"].square().sum(1), torch.ones(1, 2, 4), atol=1e-6)
    assert how("clipped") == "mean"
    packed = Mosaic().apply(Frame(torch.zeros(1, 3, 4, 8), Space.LINEAR, Sensor.make(), aux=aux)).aux
    assert all(torch.equal(packed[n], done[n]) for n in aux)


# -- in a recipe ------------------------------------------------------------------------------------------------------


def test_a_source_without_maps_is_written_as_ever() -> None:
    assert "aux" not in Source().model_dump()
    assert Source(aux={"depth": {"file": "x.npy"}}).model_dump()["aux"]["depth"]["scale"] == 1.0


def test_the_hash_covers_where_maps_lie() -> None:
    recipe = Recipe.load("fog")
    other = recipe.changed(source=recipe.source.model_copy(update={"aux": {"depth": Aux(file="other/{stem}.png")}}))
    assert other.hash != recipe.hash
    assert Recipe.parse(recipe.text()).hash == recipe.hash


def test_read_with_the_source(photo: Path) -> None:
    np.savez(photo.parent / "two.npz", depth=np.full((H, W), 2.5), mask=np.eye(H, W, dtype=bool))
    source = Source.model_validate({"aux": {n: {"file": "../{folder}/two.npz"} for n in ("depth", "mask")}})
    found = read_source(photo, source)
    assert found.aux.keys() == {"clipped", "depth", "mask"}
    assert found.aux["depth"].unique().tolist() == [2.5]


@pytest.mark.parametrize(
    ("aux", "message"),
    [
        ("{depht: {file: x.png}}", "unknown kind of map 'depht': did you mean 'depth'"),
        ("{depth: {file: '{stam}.png'}}", "unknown {stam} in '{stam}.png': did you mean 'stem'"),
        ("{depth: {file: '{stem.png'}}", "is no template"),
        ("{depth: {file: x.png, scale: 0}}", "greater than 0, got 0"),
        ("{normal: {file: x.png}}", "unknown map .* that fog reads: 'depth'|map .* fog reads.* 'depth'"),
    ],
)
def test_a_wrong_source_is_told(aux: str, message: str) -> None:
    text = (
        f"source: {{aux: {aux}}}\noperators: {{fog: {{op: maybe, p: 0.5, do: {{op: fog, beta: 1}}}}, "
        "patches: {op: crop, size: 8, margin: 0}}\nplanes: {a: [patches, fog]}"
    )
    with pytest.raises(RecipeError, match=message):
        Recipe.parse(text)


# -- files that cannot be used ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "pixels", "message"),
    [
        ("depth", np.ones((W, H), np.uint8), "aspect may differ by 0.5% .it seems to be turned"),
        ("depth", np.ones((H, W + 2), np.uint8), "pixels, the photo 112 x 136"),
        ("depth", np.zeros((H, W), np.uint16), "depths of 0 or less in 100.00% .* fill them"),
        ("normal", np.ones((H, W), np.uint8), "has 1 channels: a map of kind normal has 3"),
        ("mask", np.arange(H * W * 3, dtype=np.uint16).reshape(H, W, 3), "has 3 channels: a map of kind mask has 1"),
        ("height", np.full((H, W), np.nan), "not finite"),
        ("height", np.ones(7), "not one picture of numbers"),
    ],
)
def test_a_wrong_map_is_told(photo: Path, frame: Frame, name: str, pixels: NDArray[Any], message: str) -> None:
    np.save(photo.parent / "bad.npy", pixels)
    with pytest.raises(PhotoError, match=message):
        read_map(photo, name, Aux(file="bad.npy"), frame)


def test_a_missing_map_is_named(photo: Path, frame: Frame) -> None:
    with pytest.raises(PhotoError, match=r"a.b.dng has no depth map: there is no .*photos\d/depth/a.b.png"):
        read_map(photo, "depth", Aux(file="depth/{stem}.png"), frame)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("x.gif", b"GIF89a", "save it as .png, .jpg, .tif, .exr, .npy or .npz"),
        ("x.png", b"\x89PNG\r\n\x1a\nrubbish", "cannot be decoded"),
        ("x.npz", b"PK", "cannot be decoded"),
        ("x.tif", b"II*\0", "cannot be decoded"),
    ],
)
def test_a_broken_file_is_told(photo: Path, frame: Frame, file: str, content: bytes, message: str) -> None:
    (photo.parent / file).write_bytes(content)
    with pytest.raises(PhotoError, match=message):
        read_map(photo, "depth", Aux(file=file), frame)


def test_one_of_several_arrays_must_be_named(photo: Path, frame: Frame) -> None:
    np.savez(photo.parent / "s.npz", near=np.ones((H, W)), far=np.ones((H, W)))
    with pytest.raises(PhotoError, match="holds near, far: call the one to be read 'depth'"):
        read_map(photo, "depth", Aux(file="s.npz"), frame)


def test_maps_among_the_photos_are_no_photos(tmp_path: Path) -> None:
    for name in ("a.png", "depth/a.png", "b.png", "depth/b.png", "depth/other.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    keys = [p.key for p in find_photos(tmp_path, [Aux(file="depth/{stem}.png")])]
    assert keys == ["a.png", "b.png", "depth/other.png"]
    assert len(find_photos(tmp_path)) == 5


def test_a_misspelt_field_of_a_map_gets_its_nearest_name() -> None:
    text = """
    source: {aux: {depth: {file: "d/{stem}.png", scal: 0.001}}}
    operators: {patches: {op: crop, size: 8}}
    planes: {a: [patches]}
    """
    with pytest.raises(RecipeError, match=r"source\.aux\.depth.*unknown field.*did you mean 'scale'"):
        Recipe.parse(text)
