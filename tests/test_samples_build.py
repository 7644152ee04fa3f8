"""Building from real cameras' files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import photos
import pytest
from launch import Launcher

from degrade.pairs.store import PatchStore

#: The published method's recipe on patches that every sample file has room for.
RECIPE = photos.recipe_text(("size: 16", "size: 64"), ("per_photo: 6", "per_photo: 16"))


@pytest.fixture(scope="module")
def folder(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The DNGs alone, of all that lies beside them."""
    folder = tmp_path_factory.mktemp("photos")
    for file in samples.glob("*.dng"):
        shutil.copy(file, folder)
    assert len(list(folder.iterdir())) == 4
    return folder


def test_built_without_complaint(folder: Path, cli: Launcher, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    done = cli("build", tmp_path / "recipe.yaml", folder, "--out", tmp_path / "s", "--workers", 1)
    assert (done.code, done.err) == (0, "")
    assert "quarantined" not in done.out
    assert "warning" not in done.out
    store = PatchStore(tmp_path / "s")
    assert store.photos.rows.tolist() == [16] * 4
    assert store.verify() == []
    for i in range(4):
        rows = store.rows[16 * i : 16 * i + 16]
        clean, blur = (store.read(name, rows) for name in ("clean", "blur"))
        assert clean.std() > 0.001  # a picture
        assert np.isfinite(clean).all()
        assert abs(clean.mean() - blur.mean()) < 0.02 * clean.mean() + 0.001  # of the same light
        assert store.replay(int(rows[3]), photos=folder).identical


def test_the_iso_that_is_missing_is_asked_for_by_name(folder: Path, cli: Launcher, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("iso: {choice: [100, 400, 1600]}", "iso: photo"))
    command = ("build", tmp_path / "recipe.yaml", folder, "--workers", 1)
    asked = cli(*command, "--out", tmp_path / "asked")
    untagged = [f.name for f in sorted(folder.iterdir()) if "iso_na" in f.name]
    assert untagged
    told = [line for line in asked.out.splitlines() if line.startswith("quarantined ")]
    assert {name for name in untagged if any(name in line for line in told)} == set(untagged)
    for line in told:
        assert line.endswith("the photo does not tell its ISO: give it with --iso, or `iso:` in the recipe's source")
    given = cli(*command, "--out", tmp_path / "given", "--iso", 100)
    assert (given.code, given.err) == (0, "")
    assert set(PatchStore(tmp_path / "given").columns["iso"].tolist()) == {100.0}
