"""Forecasts: what they count is what a build then makes, what they measure is measured, and nothing stays behind."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import photos
import pytest
import stores
from launch import Launcher

from degrade import PhotoError, StoreError
from degrade.core.registry import load_operators
from degrade.pairs.forecast import Forecast, forecast
from degrade.pairs.run import build


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine photos, one of them twice; not to be changed."""
    folder = photos.write_photos(tmp_path_factory.mktemp("home") / "photos", 9)
    shutil.copy(folder / "p000.dng", folder / "q.dng")
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> Forecast:
    return forecast(photos.recipe(), folder, folder.parent / "later" / "s.zarr")


def test_counts_are_those_of_the_build(folder: Path, found: Forecast, tmp_path: Path) -> None:
    report = build(photos.recipe(), folder, tmp_path / "s", workers=1)
    assert (found.photos, found.duplicates) == (report.photos, len(report.quarantined))
    assert found.layout.rows == report.rows + 6  # those of the copy
    assert found.photo_bytes == sum(f.stat().st_size for f in folder.iterdir())
    planes = [f for p in found.layout.planes for f in (tmp_path / "s" / p.name).glob("c.*")]
    columns = [f for c in found.layout.stored_columns for f in (tmp_path / "s" / c.name).glob("c.*")]
    assert found.plane_bytes == sum(f.stat().st_size for f in planes)
    assert found.column_bytes == sum(f.stat().st_size for f in columns)
    assert found.files == len(planes) + len(columns)
    assert found.bytes == found.plane_bytes + 2 * found.column_bytes


def test_what_is_measured(found: Forecast) -> None:
    one = found.measured
    assert one.rows == 6
    assert one.refused == {}
    assert 0 < one.read <= one.seconds < 60
    assert one.start > 0.1  # torch alone takes longer to import
    assert 50e6 < one.memory < 2e9


def test_time_is_start_and_whole_shards(found: Forecast) -> None:
    a_photo = dataclasses.replace(found.measured, seconds=3.0, start=10.0)
    told = dataclasses.replace(found, measured=a_photo)
    assert (told.photos, told.layout.shards, told.layout.photos_per_shard) == (10, 5, 2)
    assert [told.seconds(n) for n in (1, 2, 3, 5, 100)] == [40.0, 38.0, 32.0, 26.0, 26.0]  # several start after it
    assert [told.memory(n) // a_photo.memory for n in (1, 5, 10**11)] == [1, 5, 5]  # a shard is one worker's
    left = dataclasses.replace(told, done=3)
    assert [left.seconds(n) for n in (1, 2, 100)] == [22.0, 26.0, 26.0]
    assert left.bytes == (told.plane_bytes + told.column_bytes) * 2 // 5 + told.column_bytes
    whole = dataclasses.replace(told, done=5)
    assert [whole.seconds(n) for n in (1, 2)] == [10.0, 10.0]


def test_room(found: Forecast) -> None:
    assert found.free is not None
    assert found.fits
    assert not dataclasses.replace(found, free=found.bytes - 1).fits
    assert dataclasses.replace(found, free=None).fits


def test_nothing_stays_behind(folder: Path, found: Forecast) -> None:
    assert sorted(p.name for p in folder.parent.iterdir()) == ["photos"]
    assert len(list(folder.iterdir())) == found.photos


def test_a_photo_that_cannot_be_built_is_passed_over(tmp_path: Path) -> None:
    photos.write_photo(tmp_path / "good.dng", 1)
    (tmp_path / "bad.dng").write_bytes(b"no photo" * 4000)
    found = forecast(photos.recipe(), tmp_path)
    assert found.measured.photo == "good.dng"  # measured in its second turn
    assert list(found.measured.refused) == ["bad.dng"]
    (tmp_path / "good.dng").unlink()
    with pytest.raises(PhotoError, match=r"none of 1 photos that were tried can be built, such as bad.dng: "):
        forecast(photos.recipe(), tmp_path)


def test_an_operator_of_this_process(tmp_path: Path) -> None:
    """It is not to be imported anywhere: it travels."""
    photos.write_photo(tmp_path / "a.dng")
    before = dict(load_operators())
    source = "degrade_of_a_notebook"
    namespace: dict[str, object] = {"__name__": "__main__"}
    try:
        exec(
            "from degrade import Frame, Operator, Space, register\n"
            f"@register('{source}')\n"
            "class Halve(Operator):\n"
            "    accepts = frozenset({Space.LINEAR})\n"
            "    def apply(self, frame: Frame) -> Frame:\n"
            "        return frame.with_data(frame.data / 2)\n",
            namespace,
        )
        recipe = photos.recipe(("{op: exposure, stops: {uniform: [0, 1.5]}}", f"{{op: {source}}}"))
        assert forecast(recipe, tmp_path).measured.rows == 6
    finally:
        load_operators().pop(source, None)
    assert dict(load_operators()) == before


def test_a_store_that_was_begun(folder: Path, found: Forecast, tmp_path: Path) -> None:
    assert found.done == 0
    store = build(photos.recipe(), folder, tmp_path / "s", workers=1).store
    assert forecast(photos.recipe(), folder, store).left == 0
    (store / "blur" / "c.2.0.0.0").unlink()
    before = stores.files(store)
    assert forecast(photos.recipe(), folder, store).left == 1
    assert stores.files(store) == before
    with pytest.raises(StoreError, match=r"was built otherwise; what differs: the recipe \(seed\)"):
        forecast(photos.recipe().changed(seed=8), folder, store)
    (tmp_path / "thesis.tex").touch()
    for other in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(StoreError, match="holds other things|is a file, not a folder"):
            forecast(photos.recipe(), folder, other)


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command(cli: Launcher, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(photos.RECIPE)
    command = ("plan", tmp_path / "r.yaml", folder, "--workers", 1, "--workers", 3)
    done = cli(*command, env={"COLUMNS": "150"})
    assert (done.code, done.err) == (0, "")
    for part in (
        "10, ",
        "1 are copies of others",
        "60 at most, 6 a photo",
        "5 shards of 2 photos",
        "3 workers",
        "core",
    ):
        assert part in done.out
    facts = cli(*command, "--json", "--out", tmp_path / "s").json
    assert list(facts["seconds"]) == ["1", "3"]
    assert facts["rows"] == 60
    assert facts["free"] > facts["bytes"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.yaml"]
    build(photos.recipe().changed(seed=8), folder, tmp_path / "s", workers=1)
    again = cli(*command, "--out", tmp_path / "s", "--seed", 8)
    assert "5 shards of 2 photos, of which 5 are built already" in " ".join(again.out.split())
    assert "what differs: the recipe (seed)" in cli(*command, "--out", tmp_path / "s").sentence


def test_what_is_wrong_is_said_in_a_sentence(cli: Launcher, tmp_path: Path) -> None:
    assert cli("plan", "residual-maps", tmp_path / "none").sentence.startswith(
        f"there is no folder {tmp_path / 'none'}"
    )
    done = cli("plan", "residual-maps", tmp_path, "--iso", 0)
    assert (done.code, "--iso: must be above 0, got 0" in done.err) == (1, True)
    assert cli("plan", "residual-map", tmp_path).sentence.startswith("no recipe 'residual-map'")
