"""Lenses from elsewhere: exported blurs, folders of PSF pictures, kernels of MATLAB files, the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import torch
from launch import Launcher
from scipy.io import savemat

from degrade import Frame, PhotoError, Sensor, Space, testing
from degrade.calibrate.from_blur import lens_of_blur
from degrade.calibrate.imported import from_matlab, from_pictures
from degrade.gear.lens import Lens, half_sides
from degrade.maths.psf import disc_transfer, grid_size, kernel_from_transfer
from degrade.operators.optics import PsfBlur
from tests.test_lens import X, Y, blur, rough

PUPIL = {"psf": "pupil", "f_number": 8.0, "coma": 0.5, "astigmatism": 0.3, "vignetting": 0.2}

# -- computed lenses -------------------------------------------------------------------------------------


def test_an_exported_lens_stands_for_the_pupil(tmp_path: Path) -> None:
    """The same blur at the nodes to 1e-6; between them its error falls with the square of the cells."""
    direct = PsfBlur.model_validate({"kernels": [PUPIL], "radius": 4})
    rng = np.random.default_rng(2)
    frame = testing.frame(Space.LINEAR, 6, (40, 40))
    frame = Frame(**{**frame.__dict__, "sensor": Sensor.make(6, pitch=4.0)})
    heard: list[tuple[int, int]] = []
    made = lens_of_blur(direct, 4.0, (9, 13), progress=lambda step: heard.append((step.done, step.total)))
    assert heard == [(i + 1, 9) for i in range(9)]
    np.testing.assert_allclose([made.field_y[-1], made.field_x[-1]], half_sides())
    coarse = Lens(made.psf[:, ::2, ::2], made.field_y[::2], made.field_x[::2], made.pitch, states=made.states)
    places = {
        "nodes": np.stack([rng.choice(v, 6) for v in (made.field_y, made.field_x)], axis=1),
        "between": rng.uniform(-1, 1, (6, 2)) * half_sides(),
    }
    error: dict[str, float] = {}
    for name, lens_ in (("nodes", made), ("between", made), ("coarse", coarse)):
        at = torch.from_numpy(places["nodes" if name == "nodes" else "between"].astype(np.float32))
        here = Frame(**{**frame.__dict__, "field": at})
        table = blur(lens_.write(tmp_path / f"{name}.zarr"))
        a, b = (op.apply(here).trim(4).data for op in (table, direct))
        error[name] = (a - b).square().mean().sqrt().item()
    assert error["nodes"] < 1e-6
    assert error["between"] < 4e-3
    assert error["coarse"] > 2 * error["between"]


def test_drawn_states_become_the_table() -> None:
    disc = {"psf": "disc", "radius": {"uniform": [1, 3]}}
    op = PsfBlur.model_validate({"kernels": [disc, {"psf": "pixel_aperture"}], "radius": 5})
    made = lens_of_blur(op, 4.0, (1, 1), states=3, seed=5)
    assert made.includes_aperture
    assert list(made.states) == ["radius"]
    plain = PsfBlur.model_validate({"kernels": [{"psf": "disc", "radius": made.states["radius"][2]}], "radius": 5})
    again = lens_of_blur(plain, 4.0, (1, 1))
    assert not again.includes_aperture
    expected, _ = kernel_from_transfer(disc_transfer(torch.tensor(made.states["radius"][2]), grid_size(5)), 5)
    np.testing.assert_allclose(again.psf[0, 0, 0, 1], expected, atol=1e-6)
    with pytest.raises(ValueError, match="the blur draws nothing: ask for one"):
        lens_of_blur(plain, 4.0, (1, 1), states=2)
    with pytest.raises(ValueError, match=r"from 1 up, got 0 x 3 and 1"):
        lens_of_blur(plain, 4.0, (0, 3))
    with pytest.raises(ValueError, match="aspect is width over height"):
        lens_of_blur(plain, 4.0, (1, 1), aspect=0)


def write_picture(path: Path, kernel: Any) -> None:
    """(3, k, k) as 16 bits of its peak."""
    levels = np.rint(60000 * kernel / kernel.max()).astype(np.uint16)
    path.write_bytes(
        imagecodecs.png_encode(levels if levels.ndim == 2 else np.ascontiguousarray(np.moveaxis(levels, 0, -1)))
    )


def test_pictures_become_the_lens_that_they_show(tmp_path: Path) -> None:
    psf = rough(2, 3, 4)
    for s, f in enumerate((2.8, 11)):
        for i, y in enumerate(Y):
            for j, x in enumerate(X):
                write_picture(tmp_path / f"psf_f{f}_{y}_{x}.png", psf[s, i, j])
    (tmp_path / "notes.txt").write_text("anything")
    found = from_pictures(tmp_path, "psf_f{f_number}_{y}_{x}.png", pitch=4.0, about="bench")
    assert found.warnings == ()
    np.testing.assert_allclose(found.lens.psf, psf, atol=2e-5)
    np.testing.assert_array_equal(found.lens.field_y, Y)
    np.testing.assert_array_equal(found.lens.field_x, X)
    assert (found.lens.states, found.lens.includes_aperture) == ({"f_number": (2.8, 11.0)}, True)


def test_tiles_channels_and_even_sides(tmp_path: Path) -> None:
    psf = rough(1, 2, 2, k=4)[0]
    for i in range(2):
        for j in range(2):
            for c, name in enumerate("rgb"):
                np.save(tmp_path / f"{i + 1}-{j + 1}-{name}.npy", psf[i, j, c])
    found = from_pictures(tmp_path, "{row}-{column}-{channel}.npy", aspect=4 / 3)
    assert found.warnings[0] == "sides were filled up with zeros to 5 samples"
    np.testing.assert_allclose(found.lens.psf[0, ..., :4, :4], psf, atol=1e-7)
    np.testing.assert_allclose(found.lens.field_y, [-0.3, 0.3])
    np.testing.assert_allclose(found.lens.field_x, [-0.4, 0.4])
    assert found.lens.pitch is None


def folder_cases() -> dict[str, tuple[str, dict[str, Any]]]:
    one = np.ones((3, 3))
    return {
        r"there is no picture of state 1, y 0, x 1: the grid must be full": (
            "psf_{state}_{y}_{x}.npy",
            {"psf_0_0_0": one, "psf_0_0_1": one, "psf_1_0_0": one},
        ),
        r"stray\.npy does not match the template": ("psf_{state}.npy", {"psf_1": one, "stray": one}),
        r"psf_1\.npy and psf_01\.npy are the same place": ("psf_{state}.npy", {"psf_1": one, "psf_01": one}),
        r"psf_1\.npy \(R\) holds values that are not finite": ("psf_{state}.npy", {"psf_1": one * np.nan}),
        r"psf_1\.npy \(R\) sums to -9: ": ("psf_{state}.npy", {"psf_1": -one}),
        r"psf_1\.npy must be real numbers \(h, w\) or \(h, w, 3\), got \(3,\)": ("psf_{state}.npy", {"psf_1": one[0]}),
        r"channels R, G and B, got B, R": ("p{channel}.npy", {"pB": one, "pR": one}),
        r"channels differ: save it as grey": (
            "p{channel}.npy",
            {f"p{c}": np.arange(27.0).reshape(3, 3, 3) for c in "RGB"},
        ),
        r"rows must be counted from 0 or 1 without a gap, got 0, 2": ("p{row}.npy", {"p0": one, "p2": one}),
        r"\{y\} \(half diagonals\) or \{row\}": ("{y}{row}.npy", {"p0": one}),
        r"names each number once": ("{y}{y}.npy", {"p0": one}),
        r"has no files such as psf_\{state\}\.png": ("psf_{state}.png", {"psf_1": one}),
    }


@pytest.mark.parametrize("message", folder_cases())
def test_folders_that_are_refused(tmp_path: Path, message: str) -> None:
    template, arrays = folder_cases()[message]
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    with pytest.raises(PhotoError, match=message):
        from_pictures(tmp_path, template)
    with pytest.raises(PhotoError, match="no such folder"):
        from_pictures(tmp_path / "none")


def test_matlab_kernels(tmp_path: Path) -> None:
    psf = rough(3, 2, 2)[..., 0, :, :]  # (3, 2, 2, 5, 5)
    path = tmp_path / "k.mat"
    savemat(path, {"x": np.zeros((255, 255)), "y": np.zeros((255, 255)), "f": psf[0, 0, 0] * 7})
    one = from_matlab(path).lens
    np.testing.assert_allclose(one.psf[0, 0, 0], psf[0, 0, 0][None].repeat(3, 0), atol=1e-7)
    cells = np.empty((1, 3), object)
    cells[0] = [psf[0, 0, 0], psf[1, 0, 0], np.pad(psf[2, 0, 0], 4)]
    savemat(path, {"kernels": cells, "note": "text"})
    found = from_matlab(path, includes_aperture=False)
    assert found.lens.states == {"index": (0.0, 1.0, 2.0)}
    np.testing.assert_allclose(found.lens.psf[1, 0, 0, 2, 4:9, 4:9], psf[1, 0, 0], atol=1e-7)
    assert found.warnings[0] == "sides were filled up with zeros to 13 samples"
    savemat(path, {"stack": np.moveaxis(psf[:, 0, 0], 0, 2)})
    np.testing.assert_allclose(from_matlab(path).lens.psf[:, 0, 0, 1], psf[:, 0, 0], atol=1e-7)
    savemat(path, {"grid": psf[0].transpose(2, 3, 0, 1)})
    grid = from_matlab(path, aspect=4 / 3).lens
    np.testing.assert_allclose(grid.psf[0, :, :, 0], psf[0], atol=1e-7)
    np.testing.assert_allclose(grid.field_x, [-0.4, 0.4])


def test_a_shifted_kernel_is_kept_and_said(tmp_path: Path) -> None:
    kernel = np.zeros((5, 5))
    kernel[2, 4] = 1
    savemat(tmp_path / "k.mat", {"f": kernel})
    found = from_matlab(tmp_path / "k.mat")
    assert found.lens.psf[0, 0, 0, 0, 2, 4] == 1
    assert "kernels shift the picture by over half a sample" in found.warnings[0]
    assert "by (0, 2)" in found.warnings[0]


def test_matlab_files_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "k.mat"
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    cases: list[tuple[Any, str | None, str]] = [
        (header.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n", None, r"MATLAB 7\.3 file \(HDF5\): save it with `save -v7`"),
        (b"not MATLAB at all" * 40, None, r"cannot be read as a MATLAB file"),
        (b"", None, r"cannot be read as a MATLAB file"),
        ({"a": np.ones((3, 3)), "b": np.ones((3, 3))}, None, r"2 variables that may be kernels \(a, b\): name one"),
        ({"note": "text"}, None, r"0 variables that may be kernels \(none\)"),
        ({"kernel": np.ones((3, 3))}, "kernl", r"no variable 'kernl': did you mean 'kernel'"),
        ({"kernel": np.ones((3, 3)) * 1j}, "kernel", r"of real numbers, got \(3, 3\) of complex128"),
        ({"kernel": np.ones((3, 3, 2, 2, 2))}, None, r"or a grid \(h, w, rows, columns\)"),
        ({"kernel": np.full((3, 3), np.nan)}, None, r"kernel, kernel 1 holds values that are not finite"),
        ({"kernel": np.zeros((3, 3))}, None, r"kernel 1 sums to 0: "),
    ]
    for content, variable, message in cases:
        path.write_bytes(content) if isinstance(content, bytes) else savemat(path, content)
        with pytest.raises(PhotoError, match=message):
            from_matlab(path, variable)


# -- commands ---------------------------------------------------------------------------------------------------------

RECIPE = """
source: {camera: demo-a}
operators:
  patches: {op: crop, size: 16, margin: 8, per_photo: 4}
  optics: {op: psf_blur, radius: 4, kernels: [{psf: airy, f_number: {uniform: [4, 16]}}]}
planes: {a: [patches, optics]}
"""


def test_the_commands(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE)
    savemat(tmp_path / "k.mat", {"f": np.ones((4, 4))})
    (tmp_path / "out").mkdir()
    with Launcher(tmp_path / "out") as cli:
        done = cli("lens", "export", tmp_path / "r.yaml", "optics", tmp_path / "a.zarr", "--grid", "2x3", "--states", 2)
        assert (done.code, done.err) == (0, "")
        assert "2 states, 2 x 3 places, 3 channels, kernels of 9 x 9; in a recipe" in done.out
        assert Lens.read(tmp_path / "a.zarr").pitch == 4
        done = cli("lens", "show", tmp_path / "a.zarr", "--out", tmp_path / "a.png", "--state", 1)
        assert (done.code, done.err) == (0, "")
        assert "state 1: f_number " in done.out
        assert imagecodecs.png_decode((tmp_path / "a.png").read_bytes()).std() > 5
        done = cli("lens", "import", tmp_path / "k.mat", tmp_path / "k.npz", "--pitch", 2.5, "--no-aperture")
        assert (done.code, done.err) == (0, "")
        assert "warning sides were filled up with zeros to 5 samples" in done.out
        assert Lens.read(tmp_path / "k.npz").pitch == 2.5
        for arguments, message in (
            (("export", tmp_path / "r.yaml", "patches", tmp_path / "b.npz"), "only a psf_blur becomes a lens"),
            (("export", tmp_path / "r.yaml", "optic", tmp_path / "b.npz"), "did you mean 'optics'?"),
            (("export", tmp_path / "r.yaml", "optics", tmp_path / "b.npz", "--grid", "9"), "such as 9x13"),
            (("export", tmp_path / "r.yaml", "optics", tmp_path / "b.npy"), "must end in .npz or .zarr"),
            (("show", tmp_path / "a.zarr", "--out", tmp_path / "b.png", "--state", 5), "states 0 to 1, got 5"),
            (("import", tmp_path / "k.mat", tmp_path / "b.npz", "--template", "x"), "for a folder of pictures"),
            (("import", tmp_path / "none", tmp_path / "b.npz"), "no such folder of PSF pictures"),
        ):
            done = cli("lens", *arguments)
            assert done.code == 1
            assert message in done.out + done.err, done
    assert not list(tmp_path.glob("b.*"))
