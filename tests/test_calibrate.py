"""Noise calibration: known cameras come out as they went in, by every way, and by the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import photos
import pytest
import rawpy
from known import CAMERAS, LEVELS, A, Known, worst
from launch import Launcher
from PIL import Image

from degrade.calibrate.noise import from_flats, from_picture, from_profile
from degrade.calibrate.noise_picture import noise_sheet
from degrade.core.frame import Sensor
from degrade.gear.cameras import Camera
from degrade.photos import PhotoError, write_dng
from degrade.recipe.recipe import Recipe


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flats and darks of camera A at ISO 100; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    A.series(folder, 100, 128)
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A copy of the series, to be changed."""
    return shutil.copytree(made, tmp_path / "copy")


# -- what comes out ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CAMERAS)
def test_a_known_camera_comes_out_as_it_went_in(name: str, tmp_path: Path) -> None:
    known = CAMERAS[name]
    for iso in (100, 400, 1600, 6400):
        known.series(tmp_path, iso, 512)
    found = from_flats(tmp_path / "flats", tmp_path / "darks", pitch=4.0)
    assert max(worst(found, known)) < 0.02
    assert found.warnings == ()
    assert found.camera.table is None
    assert (found.camera.black, found.camera.white, found.camera.pitch) == (known.black, known.white, 4.0)
    assert [s.levels for s in found.speeds] == [12] * 4
    for plane, line in enumerate(found.lines):
        for low, high, truth in ((*line.interval("k1", 4), known.k1), (*line.interval("k0", 4), known.k0)):
            assert low * 0.995 < truth[plane] < high * 1.005


def test_noise_that_does_not_scale_with_iso_becomes_a_table(tmp_path: Path) -> None:
    quiet = Known(512, 16383, (0.1,) * 4, (0.5,) * 4)
    loud = Known(512, 16383, (0.1,) * 4, (2.0,) * 4)
    loud.series(tmp_path, 100, 256)
    quiet.series(tmp_path, 800, 256)
    found = from_flats(tmp_path / "flats", tmp_path / "darks", pitch=8.4)
    assert found.camera.table is not None
    assert found.camera.table.iso == (100, 800)
    np.testing.assert_allclose(found.camera.table.k0, [[2.0] * 4, [0.5] * 4], rtol=0.04)
    assert any("k0" in warning and "ISO 800" in warning for warning in found.warnings)


def test_a_recipe_names_the_file_and_renders_with_it(made: Path, tmp_path: Path) -> None:
    found = from_flats(made / "flats", made / "darks", pitch=5.5, name="mine")
    file = found.write(tmp_path / "mine.json")
    assert set(json.loads(file.read_text())) >= {"about", "black", "white", "bits", "pitch", "k1", "k0"}
    assert Camera.named(str(file)) == found.camera
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["mine.json"]
    recipe = Recipe.parse(photos.recipe_text(("demo-a", str(file))))
    sensor = Camera.named(recipe.source.camera).replaces(Sensor.make())
    assert sensor.k1[0].tolist() == pytest.approx(list(found.camera.k1))
    assert sensor.pitch.item() == 5.5


def test_every_phase_keeps_its_colours(made: Path, copy: Path) -> None:
    for path in sorted(copy.rglob("*.dng")):
        with rawpy.imread(str(path)) as raw:
            mosaic = np.pad(raw.raw_image, 1, mode="reflect")  # a photosite more at each side turns RGGB into BGGR
        exposure = 0.01 if path.parent.name == "darks" else (int(path.stem.split("-")[1]) + 1) / 100
        write_dng(path, mosaic, phase="BGGR", black=A.black, white=A.white, iso=100, exposure=exposure)
    found = from_flats(copy / "flats", copy / "darks", pitch=4.0)
    first = from_flats(made / "flats", made / "darks", pitch=4.0)
    assert found.camera.k1 == pytest.approx(first.camera.k1, rel=1e-3)


def test_masked_pixels_stand_in_for_darks(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    folder = tmp_path / "flats"
    folder.mkdir()
    for i, level in enumerate(LEVELS):
        for j in range(2):
            light = np.full((320, 288), level)
            light[:64] = 0
            write_dng(
                folder / f"{i:02d}-{j}.dng",
                A.expose(light, 400, rng),
                black=A.black,
                white=A.white,
                iso=400,
                exposure=(i + 1) / 100,
                active_area=(64, 0, 320, 288),
            )
    found = from_flats(folder, None, pitch=4.0)
    assert found.method == "pairs of flats and masked pixels at ISO 400"
    k1, k0 = worst(found, A)
    assert k1 < 0.02
    assert k0 < 0.03
    assert found.speeds[0].black == pytest.approx([A.black] * 4, abs=0.1)


def test_flats_without_margin_ask_for_darks(made: Path) -> None:
    with pytest.raises(PhotoError, match=r"no masked pixels .* take darks instead"):
        from_flats(made / "flats", None, pitch=4.0)


def test_a_noise_profile_is_turned_into_the_formula(tmp_path: Path) -> None:
    span, iso = A.white - A.black, 400
    pairs = [(k1 / span * 4, k0 / span**2 * 4) for k1, k0 in zip(A.k1, A.k0, strict=True)]
    pairs[2] = pairs[1]
    photos.write_photo(tmp_path / "a.dng", black=A.black, white=A.white, iso=iso, noise_profile=pairs)
    found = from_profile(tmp_path / "a.dng", pitch=4.0)
    assert found.camera.k1 == pytest.approx([A.k1[i] for i in (0, 1, 1, 3)], rel=1e-5)
    assert found.camera.k0 == pytest.approx([A.k0[i] for i in (0, 1, 1, 3)], rel=1e-5)
    photos.write_photo(tmp_path / "b.dng")
    with pytest.raises(PhotoError, match="no NoiseProfile"):
        from_profile(tmp_path / "b.dng", pitch=4.0)


def test_one_picture_gives_the_curve_of_its_even_places_and_a_warning(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    patches = np.kron(rng.uniform(0.02, 0.8, (12, 12)), np.ones((64, 64)))
    patches[:128] *= 1 + 0.5 * rng.standard_normal((32, 192)).repeat(4, 0).repeat(4, 1).clip(-1.5, 1)  # texture
    A.save(tmp_path / "chart.dng", patches.clip(0, 0.9), 200, rng, 0.01)
    found = from_picture(tmp_path / "chart.dng", pitch=4.0)
    errors = [abs(line.k1 / k1 - 1) for line, k1 in zip(found.lines, A.k1, strict=True)]
    assert max(errors) < 0.05
    assert "one picture cannot tell noise from fine texture" in found.warnings[0]


def test_the_real_chart(samples: Path) -> None:
    path = samples / "canon-eos550d_kissx4_magiclantern-iso_na.dng"
    if not path.exists():
        pytest.skip(f"needs {path.name} in DEGRADE_SAMPLES")
    found = from_picture(path, pitch=4.3, iso=100)
    assert all(2.05 < k1 < 2.2 for k1 in found.camera.k1)
    assert all(125 < k0 < 150 for k0 in found.camera.k0)


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command_writes_camera_and_report(cli: Launcher, made: Path, tmp_path: Path) -> None:
    out, picture = tmp_path / "camera.json", tmp_path / "report.png"
    done = cli(
        "calibrate",
        "noise",
        "--flats",
        made / "flats",
        "--darks",
        made / "darks",
        "--out",
        out,
        "--report",
        picture,
        "--pitch",
        4,
        "--name",
        "mine",
    )
    assert (done.code, done.err) == (0, "")
    assert done.out.count("DN^2 at ISO 100") == 4
    assert Camera.named(str(out)).about.startswith("mine: noise from pairs of flats and darks at ISO 100")
    with Image.open(picture) as report:
        assert report.size[0] > 1000
        assert len(report.getcolors(1 << 20) or ()) > 50


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--flats", "f", "--picture", "p"), "name one of --flats, --profile and --picture"),
        ((), "name one of --flats, --profile and --picture"),
        (("--picture", "p"), "give the photosite pitch"),
        (("--picture", "p", "--pitch", "0"), "must be above 0, got 0"),
        (("--picture", "p", "--pitch", "4", "--iso", "-1"), "must be above 0, got -1"),
        (("--picture", "p", "--pitch", "4"), "p cannot be opened"),
        (("--flats", "f", "--pitch", "4"), "there is no folder f"),
        (("--profile", "p", "--pitch", "4", "--report", "r.png"), "a NoiseProfile has no measured points"),
    ],
)
def test_the_command_says_what_is_wrong(cli: Launcher, tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    done = cli("calibrate", "noise", "--out", tmp_path / "c.json", *arguments)
    assert done.code == 1
    assert says in " ".join(done.err.replace("│", " ").split())
    assert not list(tmp_path.iterdir())


def test_the_report_of_a_profile_is_refused(tmp_path: Path) -> None:
    photos.write_photo(tmp_path / "a.dng", noise_profile=[(1e-4, 1e-6)] * 4)
    with pytest.raises(ValueError, match="no points to draw"):
        noise_sheet(from_profile(tmp_path / "a.dng", pitch=4.0))
