"""The commands that make normal maps."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
from launch import Launcher
from test_shade import LIGHTS, renders


def test_of_depth(cli: Launcher, tmp_path: Path) -> None:
    depth = np.broadcast_to(2000 + 10 * np.arange(40), (30, 40)).astype(np.uint16)
    (tmp_path / "d.png").write_bytes(imagecodecs.png_encode(np.ascontiguousarray(depth)))
    command = ("normals", "depth", tmp_path / "d.png", "--scale", 0.001, "--out", tmp_path / "n.png")
    done = cli(*command, "--pixel", 0.01)
    assert (done.code, done.err) == (0, "")
    assert "30 x 40 normals" in done.out
    n = imagecodecs.png_decode((tmp_path / "n.png").read_bytes()).astype(float) / 65535 * 2 - 1
    assert np.abs(n - np.array([1, 0, 1]) / np.sqrt(2)).max() < 1e-3  # it falls away to the right, and looks there
    asked = cli(*command)
    assert asked.code == 1
    assert "give one of --focal and --pixel" in asked.err


def test_of_pictures_under_lights(cli: Launcher, tmp_path: Path) -> None:
    from degrade.maths.colour import srgb_encode

    pictures, truth, seen = renders(LIGHTS)
    files = []
    for k, picture in enumerate(pictures):
        pixels = (srgb_encode(picture.clamp(0, 1)) * 65535).round().numpy().astype(np.uint16)
        files.append(tmp_path / f"{k}.png")
        files[-1].write_bytes(imagecodecs.png_encode(pixels))
    np.savetxt(tmp_path / "lights.txt", LIGHTS.numpy())
    command = ("normals", "lights", *files, "--out", tmp_path / "n.png", "--lights")
    done = cli(*command, tmp_path / "lights.txt")
    assert (done.code, done.err) == (0, "")
    n = imagecodecs.png_decode((tmp_path / "n.png").read_bytes()).astype(float) / 65535 * 2 - 1
    found = np.moveaxis(n, 2, 0) * np.array([1, -1, 1])[:, None, None]
    assert np.abs(found - truth.numpy())[:, seen.numpy()].max() < 5e-3
    (tmp_path / "bad.txt").write_text("one two three")
    wrong = cli(*command, tmp_path / "bad.txt")
    assert wrong.code == 1
    assert "holds no lines of three numbers" in wrong.err
