"""RAW photos: what is written returns exactly, and every colour lies where the grid says."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
import rawpy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import erf

from degrade.core.frame import Frame
from degrade.maths import bayer, cfa
from degrade.photos import raw_facts, read_photo, read_raw, write_dng

PHASES = sorted(cfa.PHASES)
CAMERA = ((0.902, -0.289, -0.0715), (-0.4535, 1.2436, 0.2348), (-0.0934, 0.1919, 0.7086))


def noise(h: int = 40, w: int = 50, high: int = 4000) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, high, (h, w)).astype(np.uint16)


def photosites(frame: Frame, black: tuple[float, ...], white: float) -> NDArray[np.float64]:
    """DN of a packed frame, RGGB geometry."""
    level = torch.tensor(black, dtype=torch.float64)[:, None, None]
    return bayer.unpack(frame.data.double() * (white - level) + level)[0].numpy()


decimals = st.integers(1, 40000).map(lambda n: n / 10000)


@settings(max_examples=25)
@given(
    phase=st.sampled_from(PHASES),
    black=st.lists(st.integers(0, 1999), min_size=4, max_size=4),
    white=st.integers(2000, 65535),
    iso=st.none() | st.integers(1, 409600).filter(lambda n: n != 65535),
    exposure=st.none() | st.sampled_from([30.0, 1.3, 0.5, 1 / 125, 1 / 8000]),
    red=decimals,
    blue=decimals,
    matrix=st.lists(st.integers(-2000, 2000), min_size=9, max_size=9),
    line=st.none() | st.lists(st.floats(1e-12, 1e-2), min_size=6, max_size=6),
)
def test_facts_and_photosites_return_exactly(
    phase: str,
    black: list[int],
    white: int,
    iso: int | None,
    exposure: float | None,
    red: float,
    blue: float,
    matrix: list[int],
    line: list[float] | None,
) -> None:
    camera = ((np.array(matrix).reshape(3, 3) + 10000 * np.eye(3)) / 10000).tolist()
    pairs = None if line is None else [line[0:2], line[2:4], line[2:4], line[4:6]]
    mosaic = noise(31, 41, 65536)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.dng")
        write_dng(
            path,
            mosaic,
            phase=phase,
            black=black,
            white=white,
            iso=iso,
            exposure=exposure,
            white_balance=(red, 1, blue),
            matrix=camera,
            noise_profile=pairs,
            make="nobody",
            model="invented 1",
        )
        assert [p.name for p in Path(folder).iterdir()] == ["a.dng"]
        facts = raw_facts(path)
        frame = read_raw(path, space="mosaic")
        with rawpy.imread(str(path)) as decoded:
            assert np.array_equal(decoded.raw_image, mosaic)
    assert (facts.make, facts.model, facts.phase, facts.size) == ("nobody", "invented 1", phase, mosaic.shape)
    assert (facts.black, facts.white, facts.bits) == (tuple(black), white, math.ceil(math.log2(white + 1)))
    assert (facts.iso, facts.exposure, facts.white_balance) == (iso, exposure, (red, 1, blue))
    assert facts.xyz_to_camera == tuple(map(tuple, camera))
    assert facts.noise_profile == (None if pairs is None else tuple(map(tuple, pairs)))
    top, left = cfa.PHASES[phase].phase
    inner = mosaic[top:, left:][: (31 - top) // 2 * 2, : (41 - left) // 2 * 2]
    np.testing.assert_allclose(photosites(frame, facts.black, white), inner, atol=0.02)
    assert (frame.grid.scale, frame.grid.offset) == ((2, 2), (top, left))


def test_colour_matrix_agrees_with_the_decoder(tmp_path: Path) -> None:
    write_dng(tmp_path / "a.dng", noise(), matrix=CAMERA)
    with rawpy.imread(str(tmp_path / "a.dng")) as decoded:
        wanted = decoded.color_matrix[:, :3]
    np.testing.assert_allclose(raw_facts(tmp_path / "a.dng").matrix, wanted, atol=5e-4)


@pytest.mark.parametrize("area", [(0, 0, 60, 80), (1, 0, 60, 80), (0, 1, 59, 80), (3, 5, 58, 77), (2, 4, 57, 75)])
@pytest.mark.parametrize("phase", PHASES)
def test_margins_keep_colours_and_blacks_together(tmp_path: Path, phase: str, area: tuple[int, int, int, int]) -> None:
    """Phase and black pattern of a DNG start at its active area; the decoder moves that to even margins."""
    levels = np.array([100, 200, 300, 400], np.uint16)
    top, left = cfa.PHASES[phase].phase
    y, x = np.indices((60, 80))
    channel = 2 * ((y - area[0] + top) % 2) + (x - area[1] + left) % 2
    mosaic = levels[channel] + (1000 * (channel + 1)).astype(np.uint16)
    write_dng(tmp_path / "a.dng", mosaic, phase=phase, black=levels.tolist(), white=5000, active_area=area)
    frame = read_raw(tmp_path / "a.dng", space="mosaic")
    wanted = torch.tensor([1000 / 4900, 2000 / 4800, 3000 / 4700, 4000 / 4600])
    assert torch.allclose(frame.data, wanted[None, :, None, None].expand_as(frame.data))
    assert raw_facts(tmp_path / "a.dng").black == (100, 200, 300, 400)


def edge(h: int, w: int, *, position: float, slope: float, sigma: float) -> NDArray[np.float64]:
    """An edge at ``x = position + slope y``, blurred by a Gaussian, integrated over each photosite exactly.

    A perfectly sharp edge would alias in the colour planes, every second photosite, and the test would measure that.
    With sigma 4 raw pixels what lies beyond the Nyquist frequency of shrink 4 is exp(-pi^2 sigma^2 / 8) = 3e-9.
    """
    nodes, share = np.polynomial.legendre.leggauss(6)
    y, x = np.indices((h, w), dtype=float)
    total = np.zeros((h, w))
    for dy, wy in zip(nodes / 2, share / 2, strict=True):
        for dx, wx in zip(nodes / 2, share / 2, strict=True):
            distance = (x + dx - position - slope * (y + dy)) / math.hypot(1, slope)
            total += wy * wx * (0.5 + 0.5 * erf(distance / (sigma * math.sqrt(2))))
    return total


def centroids(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centroid of the derivative along the last axis [pixels]."""
    slope = np.diff(rows, axis=-1)
    return (slope * (np.arange(slope.shape[-1]) + 0.5)).sum(-1) / slope.sum(-1)


@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize("shrink", [2, 4])
@pytest.mark.parametrize("phase", PHASES)
def test_a_slanted_edge_lies_at_one_place_in_all_colours(
    tmp_path: Path, phase: str, shrink: int, upright: bool
) -> None:
    position, slope = 75.3, 0.13
    scene = edge(120, 170, position=position, slope=slope, sigma=4)
    mosaic = np.round(4000 + 56000 * (scene if upright else scene.T)).astype(np.uint16)
    write_dng(tmp_path / "edge.dng", mosaic, phase=phase, black=500, white=65535)
    frame = read_raw(tmp_path / "edge.dng", space="linear", shrink=shrink)
    along, across = (0, 1) if upright else (1, 0)
    data = frame.data[0].double()
    found = centroids((data if upright else data.mT).numpy())
    scale, offset = frame.grid.scale, frame.grid.offset
    places = scale[across] * (found + 0.5) - 0.5 + offset[across]
    rows = scale[along] * (np.arange(found.shape[1]) + 0.5) - 0.5 + offset[along]
    error = (places - (position + slope * rows)).mean(1) / shrink
    assert np.ptp(error) < 1e-3
    assert np.abs(error).max() < 1e-3


def test_plain_binning_would_fail_the_slanted_edge() -> None:
    scene = edge(120, 170, position=75.3, slope=0.13, sigma=4)
    red, _, _, blue = centroids(bayer.pack(torch.from_numpy(scene)).numpy()).mean(1)
    assert 2 * (red - blue) == pytest.approx(1 - 0.13, abs=1e-3)  # a raw pixel aside and one down


def test_signal_below_black_and_above_white_stays(tmp_path: Path) -> None:
    mosaic = noise()
    mosaic[0, 0], mosaic[0, 1] = 0, 5000
    write_dng(tmp_path / "a.dng", mosaic, black=100, white=4000)
    data = read_raw(tmp_path / "a.dng", space="mosaic").data
    assert data.dtype == torch.float32
    assert data.is_contiguous()
    assert float(data[0, 0, 0, 0]) == pytest.approx(-100 / 3900)
    assert float(data[0, 1, 0, 0]) == pytest.approx(4900 / 3900)


@pytest.mark.parametrize("shrink", [2, 4, 6])
def test_clipped_is_where_a_saturated_photosite_has_a_part(tmp_path: Path, shrink: int) -> None:
    mosaic = noise()
    for place in ((20, 20), (21, 33), (9, 14), (30, 7)):  # one of each colour
        mosaic[place] = 4095
    write_dng(tmp_path / "a.dng", mosaic, white=4095)
    packed = read_raw(tmp_path / "a.dng", space="mosaic").aux["clipped"]
    assert packed[0, 0].nonzero().tolist() == [[4, 7], [10, 10], [10, 16], [15, 3]]
    found = read_raw(tmp_path / "a.dng", space="linear", shrink=shrink).aux["clipped"]
    parts = bayer.planes(bayer.pack(torch.from_numpy(mosaic >= 4095))[None], shrink).amax(1, keepdim=True)
    assert torch.equal(found, (parts > 0).float())


@pytest.mark.parametrize("size", [(22, 30), (512, 513), (700, 1030)])
def test_lossless_jpeg_returns_exactly(tmp_path: Path, size: tuple[int, int]) -> None:
    mosaic = noise(*size, high=16384)
    write_dng(tmp_path / "a.dng", mosaic, phase="GRBG", black=500, white=16383, iso=400, compressed=True)
    write_dng(tmp_path / "b.dng", mosaic, phase="GRBG", black=500, white=16383, iso=400)
    with rawpy.imread(str(tmp_path / "a.dng")) as raw:
        assert np.array_equal(raw.raw_image_visible, mosaic)
    assert raw_facts(tmp_path / "a.dng") == raw_facts(tmp_path / "b.dng")


def test_nothing_clipped(tmp_path: Path) -> None:
    write_dng(tmp_path / "b.dng", noise(), white=4095)
    clear = read_raw(tmp_path / "b.dng", space="linear", shrink=4)
    assert clear.aux["clipped"].shape == (1, 1, *clear.size)
    assert not clear.aux["clipped"].any()


def test_noise_profile_becomes_curve_and_line(tmp_path: Path) -> None:
    profile = ((1e-4, 1e-6), (2e-4, 2e-6), (2e-4, 2e-6), (3e-4, 3e-6))
    write_dng(tmp_path / "a.dng", noise(), black=(10, 20, 30, 40), white=1033, iso=400, noise_profile=profile)
    mosaic = read_raw(tmp_path / "a.dng", space="mosaic")
    spans = torch.tensor([1023.0, 1013.0, 1003.0, 993.0])
    shot, read = torch.tensor(profile).T
    assert torch.allclose(mosaic.sensor.k1, shot * spans / 4)
    assert torch.allclose(mosaic.sensor.k0, read * spans**2 / 4)
    assert mosaic.noise is not None
    assert torch.allclose(mosaic.noise, torch.stack([shot, read])[None])
    linear = read_raw(tmp_path / "a.dng", space="linear")
    assert linear.noise is not None
    gain = torch.tensor(cfa.BAYER.variance_gain(2))
    assert torch.allclose(linear.noise, torch.stack([shot[[0, 1, 3]], read[[0, 1, 3]]])[None] * gain)


def test_the_noise_line_is_the_variance_that_is_there(tmp_path: Path) -> None:
    profile = ((2e-4, 4e-6),) * 4
    signal = 0.3
    sigma = 60000 * math.sqrt(profile[0][0] * signal + profile[0][1])
    mosaic = 5000 + 60000 * signal + sigma * np.random.default_rng(3).standard_normal((600, 600))
    write_dng(tmp_path / "a.dng", mosaic.round().astype(np.uint16), black=5000, white=65000, noise_profile=profile)
    for shrink in (2, 4):
        frame = read_raw(tmp_path / "a.dng", space="linear", shrink=shrink)
        assert frame.noise is not None
        measured = frame.data[0].double().var((1, 2))
        assert torch.allclose(measured, (frame.noise[0, 0] * signal + frame.noise[0, 1]).double(), rtol=0.05)


def test_sensor_says_what_is_known(tmp_path: Path) -> None:
    write_dng(
        tmp_path / "a.dng", noise(), black=(10, 20, 30, 41), white=4095, exposure=0.008, white_balance=(2, 1, 1.5)
    )
    frame = read_raw(tmp_path / "a.dng", space="linear")
    sensor = frame.sensor
    assert (sensor.black.item(), sensor.white.item(), sensor.bits.item()) == (25, 4095, 12)
    assert sensor.exposure.item() == pytest.approx(0.008)
    for unknown in (sensor.iso, sensor.pitch, sensor.temperature, sensor.k1, sensor.k0):
        assert unknown.isnan().all()
    assert frame.noise is None
    assert torch.allclose(frame.neutral.flatten(), torch.tensor([0.5, 1, 2 / 3]))
    assert torch.allclose(sensor.matrix[0], torch.eye(3))
    assert raw_facts(tmp_path / "a.dng").notes == ("no colour matrix: camera RGB taken for sRGB",)
    assert sensor.centre.tolist() == [[19.5, 24.5]]
    assert sensor.half_diagonal.item() == pytest.approx(math.hypot(20, 25))


def test_iso_by_argument_overrides_the_file(tmp_path: Path) -> None:
    write_dng(tmp_path / "a.dng", noise(), iso=400, noise_profile=((1e-4, 1e-6),) * 4)
    assert read_raw(tmp_path / "a.dng", space="linear").sensor.iso.item() == 400
    stated = read_photo(tmp_path / "a.dng", space="linear", iso=100).sensor
    assert stated.iso.item() == 100
    assert torch.allclose(stated.k1, torch.full((1, 4), 6.5535))


def test_writing_is_reproducible_and_replaces(tmp_path: Path) -> None:
    write_dng(tmp_path / "a.dng", noise(22, 22))
    write_dng(tmp_path / "a.dng", noise(), iso=200)
    write_dng(tmp_path / "b.dng", noise(), iso=200)
    assert (tmp_path / "a.dng").read_bytes() == (tmp_path / "b.dng").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.dng", "b.dng"]
