"""Looking: developing keeps greys grey and planes comparable, sheets cut nothing and hide nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from degrade.core.errors import StoreError, UnknownName
from degrade.core.frame import Frame, Sensor, Space
from degrade.look import develop as dev
from degrade.look.draws import DrawnColumns
from degrade.look.notebook import Shown
from degrade.look.sheet import GAP, GUTTER, MARGIN, cell_size, contact_sheet, row_sheet
from degrade.look.tiles import Lighting, differences, kernel_tile, paint_tiles, plane_tile
from degrade.look.typeset import PAPER, Text, text_width
from degrade.maths import bayer
from degrade.maths.cfa import BAYER

WB = (2.0, 1.0, 1.5)
WARM = ((1.6, -0.5, -0.1), (-0.2, 1.5, -0.3), (0.0, -0.6, 1.6))


@dataclass(frozen=True)
class Plane:
    space: Space


@dataclass(frozen=True)
class Row:
    index: int
    photo: str
    planes: dict[str, NDArray[Any]]
    draws: dict[str, Any] = field(default_factory=dict)
    white_balance: object = None
    matrix: object = None


@dataclass(frozen=True)
class Store:
    planes: dict[str, Plane]
    all: tuple[Row, ...]

    @property
    def rows(self) -> range:
        return range(len(self.all))

    def row(self, index: int) -> Row:
        return self.all[index]


def store(count: int, *, rows: int = 1, names: tuple[str, ...] = (), **draws: object) -> Store:
    """A store of ``count`` mosaic planes of 4 x 24 x 24 with a gradient and, behind the first, a little more each."""
    ramp = np.linspace(0.02, 0.4, 24, dtype=np.float32)[None, None, :].repeat(4, 0).repeat(24, 1)
    named = names or tuple(f"plane_{i}" for i in range(count))
    made = tuple(
        Row(j, "a/b.CR2", {n: ramp * (1 + i / 50) for i, n in enumerate(named)}, dict(draws)) for j in range(rows)
    )
    return Store({n: Plane(Space.MOSAIC) for n in named}, made)


def grey(signal: float, space: Space) -> torch.Tensor:
    """What a grey of this luminance is in a camera with gains WB, 8 x 8."""
    rgb = signal / torch.tensor(WB)
    channels = BAYER.spread(rgb) if space is Space.MOSAIC else rgb
    return channels[:, None, None].expand(-1, 8, 8)


@pytest.mark.parametrize("space", [Space.MOSAIC, Space.LINEAR])
@pytest.mark.parametrize("signal", [0.0, 0.01, 0.18, 0.9])
def test_grey_stays_grey_through_any_camera(space: Space, signal: float) -> None:
    seen = dev.develop(grey(signal, space), space, WB, WARM)
    assert seen.shape == (1, 8, 8, 3)
    assert int(seen.max()) - int(seen.min()) <= 1
    expected = 12.92 * signal if signal <= 0.0031308 else 1.055 * signal ** (1 / 2.4) - 0.055
    assert abs(int(seen[0, 4, 4, 1]) - 255 * expected) <= 1


def test_a_clipped_highlight_is_white_not_magenta() -> None:
    clipped = torch.ones(3, 4, 4)  # the sensor's white in all channels, which white balance would tint
    assert (dev.develop(clipped, Space.LINEAR, WB, WARM) == 255).all()


def test_a_slanted_grey_edge_in_a_mosaic_shows_no_colour() -> None:
    y, x = np.mgrid[:128, :128]
    packed = bayer.pack(torch.tensor(0.5 + 0.4 * np.tanh((x - 64 + 0.2 * (y - 64)) / 4), dtype=torch.float32))
    seen = dev.to_rgb(packed, Space.MOSAIC)[0].numpy()[:, 2:-2, 2:-2]
    superpixel = np.stack([packed[0], packed[1:3].mean(0), packed[3]])[:, 2:-2, 2:-2]
    assert np.ptp(superpixel, 0).max() > 0.1  # the fringe that simple binning paints
    assert np.ptp(seen, 0).max() < 0.01


def test_display_is_shown_as_it_is_and_one_channel_is_grey() -> None:
    picture = np.arange(48, dtype=np.float32).reshape(3, 4, 4) / 255
    assert np.array_equal(
        dev.develop(picture, "display", WB, WARM, 2.0)[0], np.arange(48).reshape(3, 4, 4).transpose(1, 2, 0)
    )
    depth = dev.develop(np.full((1, 4, 4), 0.3), "linear", WB, WARM)
    assert np.ptp(depth) == 0


def test_a_frame_brings_its_camera_along() -> None:
    sensor = Sensor.make(2, white_balance=WB, matrix=WARM)
    frame = Frame(torch.rand(2, 4, 6, 6, generator=torch.Generator().manual_seed(1)), Space.MOSAIC, sensor)
    assert np.array_equal(dev.develop(frame), dev.develop(frame.data, Space.MOSAIC, WB, WARM))


def test_channels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"space mosaic has 1 or 4 channels, got shape \(1, 3, 8, 8\)"):
        dev.develop(np.zeros((3, 8, 8)), "mosaic")


@given(st.floats(1e-4, 0.5))
def test_automatic_exposure_brings_the_bright_end_up_and_never_down(level: float) -> None:
    stops = dev.auto_exposure(torch.full((3, 4, 4), level), "linear", most=20)
    assert stops >= 0
    assert level * 2**stops == pytest.approx(0.8, rel=0.04)  # tenths of a stop
    assert dev.auto_exposure(torch.full((3, 4, 4), 0.95), "linear") == 0
    assert dev.auto_exposure(torch.zeros(3, 4, 4), "linear") == 0


@given(st.floats(1e-6, 0.4))
def test_the_gain_of_differences_fills_the_range_in_steps_of_1_2_5(size: float) -> None:
    gain = dev.difference_gain([torch.full((1, 3, 2, 2), -size), torch.zeros(1, 3, 2, 2)])
    assert 0.19 <= gain * size <= 0.5 * 1.00001 or gain == 1
    assert f"{gain:e}"[0] in "125"


def test_equal_planes_differ_by_mid_grey_everywhere() -> None:
    one = np.random.default_rng(3).random((4, 8, 8), np.float32)
    found = differences({"a": one, "b": one.copy()}, {"a": Space.MOSAIC, "b": Space.MOSAIC}, Lighting(WB))
    assert (dev.difference(found["b"], 100) == 128).all()


def test_a_grey_difference_is_grey_and_keeps_its_sign() -> None:
    planes = {"a": grey(0.2, Space.MOSAIC).numpy(), "b": grey(0.3, Space.MOSAIC).numpy()}
    seen = dev.difference(differences(planes, dict.fromkeys("ab", Space.MOSAIC), Lighting(WB))["b"], 2)
    assert np.ptp(seen) == 0
    assert seen[0, 0, 0, 0] == 128 + round(255 * 0.2)


def test_only_what_can_be_compared_is_compared() -> None:
    linear, display = Space.LINEAR, Space.DISPLAY
    shapes = {"hr": (3, 8, 8), "lr": (3, 2, 2), "odd": (3, 3, 3), "shown": (3, 8, 8), "depth": (1, 8, 8)}
    spaces = {"hr": linear, "lr": linear, "odd": linear, "shown": display, "depth": linear}
    data = {n: np.full(s, 0.25, np.float32) for n, s in shapes.items()}
    data["lr"][:, 1, 1] = 0.5
    found = differences(data, spaces, Lighting())
    assert list(found) == ["lr"]
    assert found["lr"].shape == (1, 3, 8, 8)
    assert found["lr"][0, 0].nonzero().min() == 4  # the enlarged lower right quarter
    assert torch.allclose(found["lr"][..., 4:, 4:], torch.tensor(0.25))


def test_a_kernel_is_upright_and_its_empty_border_is_said() -> None:
    kernel = np.zeros((31, 31))
    kernel[13, 15], kernel[15, 17] = 0.6, 0.4  # up, and to the right
    tile = kernel_tile(kernel, (100, 100))
    assert tile.picture.size == (100, 100)
    assert tile.note == "the inner 5 of 31 x 31, peak 0.6"
    seen = np.asarray(tile.picture)[..., 0]
    assert seen[10, 50] == 255
    assert seen[50, 90] == round(255 * (0.4 / 0.6) ** 0.5)
    assert (seen > 0).mean() == pytest.approx(2 / 25)
    with pytest.raises(ValueError, match=r"not all zero, got \(1, 5, 5\)"):
        kernel_tile(np.zeros((5, 5)), (100, 100))


def test_planes_grow_by_repeated_pixels_to_one_size() -> None:
    assert cell_size([(4, 64, 64)]) == (192, 192)
    small = plane_tile("lr", np.random.default_rng(0).random((3, 8, 8)), "linear", Lighting(), (192, 192))
    seen = np.asarray(small.picture)
    assert seen.shape == (192, 192, 3)
    assert np.array_equal(seen, seen[::24, ::24].repeat(24, 0).repeat(24, 1))
    large = plane_tile("big", np.full((3, 1000, 500), 0.5), "linear", Lighting(), cell_size([(3, 1000, 500)]))
    assert large.picture.size == (192, 384)


@given(st.text(max_size=60), st.integers(20, 300), st.integers(10, 20))
def test_text_is_neither_wider_than_its_place_nor_shortened(text: str, width: int, size: int) -> None:
    from degrade.look.typeset import printable

    lines = Text.set(text, width, size).lines
    assert "".join("".join(lines).split()) == "".join(printable(text).split())
    assert all(text_width(line, size) <= width or len(line) == 1 for line in lines)


@pytest.mark.parametrize("count", range(1, 9))
def test_a_sheet_has_its_columns_and_clear_margins(count: int) -> None:
    made = store(count, optics={"kernels": [{"sigma": 1.234}]}, noise={"iso": 1600, "k1": [0.1, 0.2]})
    sheet = np.asarray(row_sheet(made, 0, kernels=np.ones((5, 5))))
    side = cell_size([(4, 24, 24)])[0]
    left = MARGIN + GUTTER
    assert sheet.shape[1] >= left + count * side + (count - 1) * GAP + MARGIN
    blank = (sheet == PAPER).all(-1)
    assert blank[:MARGIN].all()
    assert blank[-MARGIN:].all()
    assert blank[:, :MARGIN].all()
    assert blank[:, -MARGIN:].all()
    for k in range(1, count):  # nothing runs from one tile into the next, above the draws
        between = slice(left + k * (side + GAP) - GAP, left + k * (side + GAP))
        assert blank[MARGIN : MARGIN + 2 * side, between].all()


def test_captions_of_any_length_stay_in_their_column() -> None:
    cell = (90, 90)
    names = ("x", "a_plane_with_a_very_long_name_indeed", "Wwwwwwwwwwwwwwwwwwwwwwwww")
    tiles = [plane_tile(n, np.zeros((3, 9, 9)), "linear", Lighting(), cell) for n in names]
    line = np.asarray(paint_tiles(tiles, cell, GAP))
    for k in (1, 2):
        assert (line[:, k * (90 + GAP) - GAP : k * (90 + GAP)] == PAPER).all()
    alone = np.asarray(paint_tiles(tiles[:1], cell, GAP))
    assert line.shape[0] > alone.shape[0]  # grown, not cut


def test_draws_are_grouped_rounded_and_complete() -> None:
    drawn = {
        "optics.kernels.0.sigma": 1.23456,
        "iso": 400,
        "optics.pick": "airy",
        "optics.unused": float("nan"),
        "n.k1": None,
    }
    made = DrawnColumns.set(drawn, 400, {"optics.kernels.0.sigma": "px", "iso": ""})
    assert [(n.lines, v.lines) for n, v in made.groups] == [
        (("optics",), ("sigma = 1.23 px   pick = airy",)),
        (("row",), ("iso = 400",)),
    ]
    many = DrawnColumns.set({f"op.field_{i}": i + 0.5 for i in range(40)}, 300)
    said = " ".join(line for _, values in many.groups for line in values.lines)
    assert all(f"field_{i} = {i + 0.5:g}" in said for i in range(40))
    assert all(values.width <= 300 - many.indent for _, values in many.groups)


def test_one_exposure_and_one_gain_for_all_planes_of_a_row() -> None:
    made = store(3)
    sheet = np.asarray(row_sheet(made, 0, scale=1))
    ramp = made.row(0).planes["plane_0"]
    stops = dev.auto_exposure(ramp, "mosaic")
    assert stops > 0
    for name in made.planes:
        seen = dev.develop(made.row(0).planes[name], "mosaic", exposure=stops)[0]
        assert contains(sheet, seen), f"{name} does not stand in the sheet with {stops} stops"


def contains(sheet: NDArray[np.uint8], picture: NDArray[np.uint8]) -> bool:
    """Whether a picture stands somewhere in a sheet, pixel by pixel."""
    h, w = picture.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(sheet, (h, w, 3))[:, :, 0]
    firsts = np.argwhere((windows[:, :, 0, 0] == picture[0, 0]).all(-1))
    return any(np.array_equal(windows[y, x], picture) for y, x in firsts)


def test_white_balance_comes_from_the_row_or_its_columns() -> None:
    row = Row(0, "a", {}, {"wb_r": 2.0, "wb_b": 1.5})
    assert Lighting.of(row).white_balance == WB
    assert Lighting.of(Row(0, "a", {}, {}, WB, WARM)) == Lighting(WB, WARM)
    assert Lighting.of(Row(0, "a", {})) == Lighting()


def test_a_contact_sheet_is_written_with_rows_spread_over_the_store(tmp_path: Path) -> None:
    made = store(2, rows=9)
    path = contact_sheet(made, tmp_path / "sheet.png", count=3, title="pairs.zarr")
    with Image.open(path) as image:
        assert image.height > 3 * row_sheet(made, 0).height
        assert image.width == row_sheet(made, 0).width
    with pytest.raises(StoreError, match="holds no row to show"):
        contact_sheet(store(2, rows=0), tmp_path / "empty.png")
    assert not (tmp_path / "empty.png").exists()


def test_an_unknown_plane_is_refused_and_the_nearest_named() -> None:
    with pytest.raises(UnknownName, match="unknown plane 'plane_O': did you mean 'plane_"):
        row_sheet(store(2), 0, planes=["plane_O"])


def test_a_notebook_sees_the_picture_and_a_terminal_a_sentence(tmp_path: Path) -> None:
    image = row_sheet(store(1), 0)
    shown = Shown(image, "row 0")
    with Image.open(BytesIO(shown._repr_png_())) as seen:
        assert np.array_equal(np.asarray(seen), np.asarray(image))
    assert repr(shown) == f"row 0 (picture, {image.width} x {image.height} pixels)"
    assert shown.save(tmp_path / "row.png").stat().st_size > 0
