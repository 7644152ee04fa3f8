"""PSF calibration: known blurs come out as they went in, from edges and from a target, and by the command."""

from __future__ import annotations

import math
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import torch
from launch import Launcher
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from degrade.calibrate.psf import from_edges, from_target, half_contrast
from degrade.calibrate.psf_picture import psf_sheet
from degrade.gear.lens import Lens
from degrade.maths.colour import srgb_encode
from degrade.maths.fourier import convolve
from degrade.maths.psf import aperture_transfer, gaussian_transfer, grid_size, kernel_from_transfer
from degrade.maths.resample import area
from degrade.photos import PhotoError, read_photo, write_dng

SIGMAS = (1.0, 0.8, 0.9)  # of R G B [pixels]
BLACK, WHITE = 256, 4095
FINE = 4


def gaussian(sigma: float, radius: int) -> Tensor:
    transfer = gaussian_transfer(torch.tensor(sigma), grid_size(radius))
    return kernel_from_transfer(transfer, radius)[0]


def develop(light: Tensor, phase: str, noise: float, seed: int = 0) -> NDArray[np.uint16]:
    """(3, h, w) light of white to a mosaic [DN] with shot noise."""
    rng = np.random.default_rng(seed)
    _, h, w = light.shape
    y, x = np.meshgrid(np.arange(h), np.arange(w), indexing="ij")
    where = np.array([["RGB".index(c) for c in row] for row in (phase[:2], phase[2:])])[y % 2, x % 2]
    signal = np.take_along_axis(light.numpy(), where[None], 0)[0].astype(float)
    signal += noise * np.sqrt(np.maximum(signal, 0.01)) * rng.standard_normal(signal.shape)
    return np.clip(np.rint(BLACK + signal * (WHITE - BLACK)), 0, WHITE).astype(np.uint16)


def chart(size: tuple[int, int], columns: int, sigmas: tuple[float, ...] = SIGMAS, degrees: float = 6) -> Tensor:
    """(3, h, w) slanted edges from top to bottom, one a column of tiles, blurred on a grid four times finer."""
    h, w = size
    y, x = torch.meshgrid(*[(torch.arange(n * FINE) + 0.5) / FINE for n in size], indexing="ij")
    a = math.radians(degrees)
    tx = w / columns
    # bright and dark change sides from column to column, so that there is no edge between the tiles
    side = 1 - 2 * ((x // tx) % 2)
    d = side * (((x % tx) - tx / 2) * math.cos(a) - (y - h / 2) * math.sin(a))
    sharp = 0.1 + 0.5 * (d * FINE + 0.5).clamp(0, 1)
    kernels = torch.stack([gaussian(s * FINE, 6 * FINE) for s in sigmas])
    blurred = convolve(sharp.expand(1, 3, -1, -1).contiguous(), kernels[None])
    return area(blurred, FINE)[0]


def shot(path: Path, light: Tensor, phase: str = "RGGB", noise: float = 0.001) -> Path:
    write_dng(path, develop(light, phase, noise), phase=phase, black=BLACK, white=WHITE, iso=100)
    return path


@pytest.fixture(scope="module")
def edges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two by two tiles with an edge each; the outer pixels wrap round and are left out by a region."""
    return shot(tmp_path_factory.mktemp("edges") / "edges.dng", chart((320, 320), 2))


def truth(sigma: float, radius: int = 10) -> Tensor:
    """The kernel of the Gaussian and the photosite together."""
    n = grid_size(radius)
    f = torch.hypot(torch.fft.fftfreq(n, dtype=torch.float64)[:, None], torch.fft.rfftfreq(n, dtype=torch.float64))
    mtf = torch.exp(-2 * (math.pi * sigma * f) ** 2) * aperture_transfer(torch.tensor(1.0), n)
    return kernel_from_transfer(mtf, radius)[0]


# -- edges ------------------------------------------------------------------------------------------------------------


def test_mtf_and_kernel_of_edges_come_out_as_they_went_in(edges: Path) -> None:
    found = from_edges(edges, pitch=4.3, grid=(2, 2), roi=(16, 16, 288, 288), radius=10)
    assert len(found.tiles) == 4
    a = math.radians(6)
    for tile in found.tiles:
        for edge, sigma, kernel in zip(tile.edges, SIGMAS, tile.kernel, strict=True):
            f = edge.frequency
            mtf = torch.exp(-2 * (math.pi * sigma * f) ** 2) * torch.sinc(f * math.cos(a)) * torch.sinc(f * math.sin(a))
            off = (edge.mtf - mtf)[f <= 0.5].abs()
            assert float(off.max()) < 0.04
            assert bool((off < 4.5 * edge.error[f <= 0.5] + 2e-3).all())
            assert edge.angle == pytest.approx(6, abs=0.1)
            half = float(f[int((mtf < 0.5).nonzero()[0])])
            assert half_contrast(edge)[0] == pytest.approx(half, abs=0.01)
            assert float((kernel - truth(sigma)).abs().max()) < 0.03 * float(truth(sigma).max())


def test_the_lens_is_what_a_recipe_reads(edges: Path, tmp_path: Path) -> None:
    found = from_edges(edges, pitch=4.3, grid=(2, 2), roi=(16, 16, 288, 288), radius=10, name="mine")
    lens = Lens.read(found.write(tmp_path / "lens.npz"))
    assert lens.psf.shape == (1, 2, 2, 3, 21, 21)
    assert (lens.pitch, lens.includes_aperture) == (4.3, True)
    assert lens.about.startswith("mine: PSF from slanted edges")
    # tile centres lie 72 pixels from the middle of 320 x 320
    assert lens.field_y.tolist() == pytest.approx([-72 / (160 * math.sqrt(2)), 72 / (160 * math.sqrt(2))])
    np.testing.assert_allclose(lens.psf.sum((-2, -1)), 1, atol=1e-6)


@pytest.mark.parametrize("phase", ["GRBG", "BGGR"])
def test_every_phase_keeps_its_colours(phase: str, tmp_path: Path) -> None:
    path = shot(tmp_path / "a.dng", chart((160, 160), 1, (1.6, 0.7, 1.1)), phase)
    tile = from_edges(path, pitch=4, roi=(20, 20, 120, 120), radius=6).tiles[0]
    halves = [half_contrast(e)[0] for e in tile.edges]
    assert halves[0] < halves[2] < halves[1]
    for edge in tile.edges:  # the edge crosses row 79.5 at column 79.5, in any phase
        y, x = edge.position
        assert x - 79.5 - math.tan(math.radians(6)) * (y - 79.5) == pytest.approx(0, abs=0.05)


def test_an_ordinary_picture_is_measured_too(tmp_path: Path) -> None:
    light = chart((128, 128), 1)
    (tmp_path / "a.png").write_bytes(
        imagecodecs.png_encode(
            np.rint(65535 * srgb_encode(light).permute(1, 2, 0).contiguous().numpy()).astype(np.uint16)
        )
    )
    tile = from_edges(tmp_path / "a.png", pitch=4, roi=(16, 16, 96, 96), radius=6).tiles[0]
    for kernel, sigma in zip(tile.kernel, SIGMAS, strict=True):
        assert float((kernel - truth(sigma, 6)).abs().max()) < 0.02 * float(truth(sigma, 6).max())


def test_a_radius_too_small_warns(edges: Path) -> None:
    found = from_edges(edges, pitch=4, roi=(16, 16, 128, 128), radius=1)
    assert "of the light lies beyond radius 1" in found.warnings[0]


# -- a target ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Tensor]:
    """A noise target, its capture two rows lower and one column to the left, and the kernels of R G B."""
    folder = tmp_path_factory.mktemp("target")
    grey = np.random.default_rng(8).random((240, 240)) * 0.8
    code = np.rint(65535 * srgb_encode(torch.from_numpy(grey)).numpy()).astype(np.uint16)
    (folder / "target.png").write_bytes(imagecodecs.png_encode(code))
    k = torch.arange(-7, 8, dtype=torch.float64)
    kernels = torch.stack(
        [
            torch.exp(-((k[:, None] ** 2) + (k[None] - shift) ** 2) / (2 * s * s))
            + 0.1 * torch.exp(-((k[:, None] - 2) ** 2 + (k[None] + 2) ** 2) / 3)
            for s, shift in zip(SIGMAS, (0.4, 0.0, -0.3), strict=True)
        ]
    )
    kernels /= kernels.sum((-2, -1), keepdim=True)
    light = read_photo(folder / "target.png", space="linear").data
    blurred = convolve(light, kernels[None].float())[0].roll((2, -1), (1, 2))
    return shot(folder / "capture.dng", blurred, "GRBG", 0.004), folder / "target.png", kernels


def test_the_kernel_of_a_target_comes_out_as_it_went_in(target: tuple[Path, Path, Tensor]) -> None:
    capture, known, kernels = target
    found = from_target(capture, known, pitch=4, grid=(2, 1), radius=7)
    for tile in found.tiles:
        for fit, truth in zip(tile.fits, kernels, strict=True):
            assert float((fit.kernel - truth).abs().max()) < 0.04 * float(truth.max())
            inside = ((fit.kernel - truth).abs() < 1.96 * fit.error).double().mean()
            assert 0.88 < float(inside) <= 1
            assert fit.explained > 0.98
    psf = torch.from_numpy(found.lens.psf[0, 0, 0]).double()
    k = torch.arange(-7, 8, dtype=torch.float64)
    x = (psf.sum(1) * k).sum(1)
    assert float(x[1]) == pytest.approx(0, abs=0.03)
    assert float(x[0] - x[2]) == pytest.approx(float(((kernels[0] - kernels[2]).sum(0) * k).sum()), abs=0.06)


# -- what is refused --------------------------------------------------------------------------------------------------


def test_what_is_wrong_names_file_tile_and_channel(
    edges: Path, target: tuple[Path, Path, Tensor], tmp_path: Path
) -> None:
    with pytest.raises(PhotoError, match=r"edges.dng, tile 0,0 \(at 16,112, 96 x 96\), R: no single straight edge"):
        from_edges(edges, pitch=4, grid=(1, 2), roi=(16, 112, 96, 192))
    with pytest.raises(PhotoError, match=r"9 x 9 tiles of 64 x 64 pixels at 0,0 do not fit"):
        from_edges(edges, pitch=4, grid=(9, 9), roi=(0, 0, 64, 64))
    with pytest.raises(PhotoError, match=r"at 200,0 do not fit its 320 x 320"):
        from_edges(edges, pitch=4, roi=(200, 0, 200, 100))
    bright = shot(tmp_path / "bright.dng", 2 * chart((128, 128), 1))
    with pytest.raises(PhotoError, match=r"bright.dng: \d+% of tile 0,0 .* is clipped: expose it shorter"):
        from_edges(bright, pitch=4)
    capture, known, _ = target
    with pytest.raises(PhotoError, match=r"the target .*target.png is 240 x 240 pixels, the capture .* 320 x 320"):
        from_target(edges, known, pitch=4)
    with pytest.raises(PhotoError, match="lay a picture"):
        from_target(capture, capture, pitch=4)
    other = tmp_path / "other.png"
    other.write_bytes(imagecodecs.png_encode(np.random.default_rng(9).integers(0, 65535, (240, 240), np.uint16)))
    with pytest.raises(PhotoError, match=r"tile 0,0 .*: the capture does not show the target within 8 pixels"):
        from_target(capture, other, pitch=4, radius=5)


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command_writes_lens_and_report(cli: Launcher, edges: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "lens.npz", tmp_path / "report.png"
    options = ("--pitch", 4.3, "--grid", "2x2", "--roi", "16,16,288,288", "--radius", 8)
    done = cli("calibrate", "psf", edges, "--out", out, "--report", report, *options)
    assert (done.code, done.err) == (0, "")
    assert done.out.count("MTF50 R 0.") == 4
    assert Lens.named(str(out)).radius() == 8
    with Image.open(report) as image:
        assert image.size[0] > 1000
        assert len(image.getcolors(1 << 20) or ()) > 100


def test_the_command_takes_a_target(cli: Launcher, target: tuple[Path, Path, Tensor], tmp_path: Path) -> None:
    out = tmp_path / "lens.zarr"
    done = cli("calibrate", "psf", target[0], "--target", target[1], "--out", out, "--pitch", 4, "--radius", 6)
    assert (done.code, done.err) == (0, "")
    assert "the target explains 9" in done.out
    assert Lens.named(str(out)).psf.shape == (1, 1, 1, 3, 13, 13)


def test_the_report_of_a_target_shows_bars_and_kernels(target: tuple[Path, Path, Tensor]) -> None:
    image = psf_sheet(from_target(target[0], target[1], pitch=4, radius=6))
    assert len(image.getcolors(1 << 20) or ()) > 100


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--pitch", "4"), "p.dng cannot be opened"),
        ((), "give the photosite pitch"),
        (("--pitch", "-1"), "must be above 0, got -1"),
        (("--pitch", "4", "--grid", "3"), "must be whole numbers such as 3x3, got '3'"),
        (("--pitch", "4", "--roi", "1,2,3"), "must be whole numbers such as 0,0,512,512, got '1,2,3'"),
        (("--pitch", "4", "--out", "lens.json"), "must end in .npz or .zarr, got lens.json"),
    ],
)
def test_the_command_says_what_is_wrong(cli: Launcher, tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    done = cli("calibrate", "psf", "p.dng", "--out", tmp_path / "lens.npz", *arguments)
    assert done.code == 1
    assert says in " ".join(done.err.replace("│", " ").split())
    assert not list(tmp_path.iterdir())
