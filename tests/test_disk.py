"""Files are there whole or not at all, whoever writes them and whatever goes wrong."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import degrade
from degrade.core.disk import whole
from degrade.gear import arrays
from degrade.look.notebook import Shown
from degrade.look.typeset import save
from degrade.photos.dng import write_dng
from degrade.photos.maps import write_normals

HOUSE = Path(degrade.__file__).parent
SHEET = Image.new("RGB", (40, 30))
WRITERS: dict[str, Callable[[Path], object]] = {
    "a.dng": lambda path: write_dng(path, np.zeros((32, 32), np.uint16)),
    "a.png": lambda path: save(SHEET, path),
    "b.png": lambda path: Shown(SHEET).save(path),
    "c.png": lambda path: write_normals(path, torch.ones(3, 4, 4)),
    "a.npz": lambda path: arrays.write_arrays(path, {"psf": np.zeros(3)}, {}, {"psf": ("x",)}),
    "a.zarr": lambda path: arrays.write_arrays(path, {"psf": np.zeros(3)}, {}, {"psf": ("x",)}),
}


def test_what_stood_there_stays_until_the_new_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), whole(path) as temporary:
        temporary.write_text("ne")
        assert temporary.parent == tmp_path
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    with whole(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    for name in ("old", "new"):
        with whole(path) as temporary:
            temporary.mkdir()
            (temporary / name).write_text(name)
    assert os.listdir(path) == ["new"]
    assert os.listdir(tmp_path) == ["a.zarr"]


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with whole(path) as temporary:
        temporary.write_text("all of it")
    assert os.read(reader, 100) == b"all of it"
    os.close(reader)
    assert stat.S_ISFIFO(path.stat().st_mode)


@pytest.mark.parametrize("name", WRITERS)
def test_every_writer_leaves_all_or_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    WRITERS[name](tmp_path / name)
    assert os.listdir(tmp_path) == [name]

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            WRITERS[name](tmp_path / f"full-{name}")
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "a.zarr"])  # zarr makes the folders that it needs
def test_an_error_names_the_file_that_was_asked_for(name: str, tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / name
    with pytest.raises(FileNotFoundError) as caught:
        WRITERS[name](path)
    assert caught.value.filename == str(path)


def test_nobody_else_renames_or_syncs() -> None:
    """The store's two keep a shard's files open while they grow, and rename a folder of what passes away."""
    known = {"core/disk.py", "store/write.py", "store/finalise.py"}
    told = re.compile(r"os\.(replace|fsync)|\.rename\(|mkstemp|NamedTemporary")
    found = {str(f.relative_to(HOUSE)) for f in HOUSE.rglob("*.py") if told.search(f.read_text("utf-8"))}
    assert found - {"store/copy.py"} == known  # a copy of a store takes only a place that is empty
