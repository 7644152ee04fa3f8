"""Cameras: how their curve follows ISO, where they are found, which one a photo chooses, what identifies them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import photos
import pytest
import torch

from degrade import Camera, Frame, PhotoError, Recipe, RecipeError, Sensor, Space, UnknownName, build, read_photo
from degrade.gear import cameras, folders
from degrade.maths import noise
from degrade.operators.noise import PhotonNoise, SensorNoise
from degrade.pairs.store import PatchStore
from degrade.recipe.render import render

PLAIN: dict[str, Any] = {"black": 64, "white": 1063, "bits": 12, "pitch": 3, "k1": [0.1] * 4, "k0": [0.5] * 4}
LADDER = {"iso": [100, 400, 6400], "k1": [[0.1, 0.2, 0.3, 0.4]] * 3, "k0": [[1, 2, 3, 4], [3, 4, 5, 6], [0.5] * 4]}
TABLE = {k: v for k, v in PLAIN.items() if k not in ("k1", "k0")} | {"table": LADDER}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cameras"
    folder.mkdir()
    monkeypatch.setenv("DEGRADE_CAMERAS", str(folder))
    return folder


def write(file: Path, **camera: Any) -> Path:
    file.write_text(json.dumps(camera), "utf-8")
    return file


def at(camera: Camera, *isos: float) -> list[list[list[float]]]:
    """k1 and k0 of R G1 G2 B at some ISOs."""
    return [k.tolist() for k in cameras.curve(camera.replaces(Sensor.make(len(isos))), torch.tensor(isos))]


# -- the curve --------------------------------------------------------------------------------------------------------


def test_by_the_formula_iso_changes_neither() -> None:
    k1, k0 = at(Camera.model_validate(PLAIN), 50, 100, 12800)
    assert k1 == [pytest.approx([0.1] * 4)] * 3
    assert k0 == [pytest.approx([0.5] * 4)] * 3


def test_the_dark_part_may_follow_another_power() -> None:
    camera = Camera.model_validate({**PLAIN, "read_iso_exponent": 1.3})
    _, k0 = at(camera, 100, 1600)
    frame = Frame(torch.zeros(1, 4, 2, 2), Space.MOSAIC, camera.replaces(Sensor.make()))
    for iso, known in zip((100, 1600), k0, strict=True):
        assert known == pytest.approx([0.5 * (iso / 100) ** 0.3] * 4)
        dark = SensorNoise(iso=iso).variance(frame)[0, :, 0, 0] * 999**2
        assert dark.tolist() == pytest.approx([0.5 * (iso / 100) ** 1.3] * 4)
    own = SensorNoise(iso=1600, k0=2.0).variance(frame)[0, 0, 0, 0] * 999**2
    assert own.item() == pytest.approx(2.0 * 16)  # an operator's own numbers mean the formula


def test_a_table_is_met_at_its_isos_and_interpolated_over_log_iso() -> None:
    camera = Camera.model_validate(TABLE)
    assert (camera.k1, camera.k0) == ((0.1, 0.2, 0.3, 0.4), (1, 2, 3, 4))
    k1, k0 = at(camera, 100, 200, 400, 1600, 6400)
    assert k1 == [pytest.approx([0.1, 0.2, 0.3, 0.4])] * 5
    rows = [[1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6], [1.75, 2.25, 2.75, 3.25], [0.5] * 4]
    assert k0 == [pytest.approx(row) for row in rows]


@pytest.mark.parametrize("iso", [99.0, 6401.0])
def test_outside_a_table_nothing_is_invented(iso: float) -> None:
    sensor = Camera.model_validate(TABLE).replaces(Sensor.make(2))
    with pytest.raises(PhotoError, match=rf"ISO {iso:g} lies outside the camera's table, which goes from 100 to 6400"):
        cameras.curve(sensor, torch.tensor([100.0, iso]))
    SensorNoise(iso=iso, k1=0.1, k0=0.1).variance(Frame(torch.zeros(2, 4, 2, 2), Space.MOSAIC, sensor))


def test_a_prior_that_leaves_the_table_is_found_before_any_photo(own: Path) -> None:
    write(own / "stepped.json", **TABLE)
    data: dict[str, Any] = {
        "source": {"camera": "stepped"},
        "operators": {
            "patches": {"op": "crop", "size": 16},
            "noise": {"op": "sensor_noise", "iso": {"log_uniform": [50, 800]}},
        },
        "planes": {"noisy": ["patches", "noise"]},
    }
    with pytest.raises(ValueError, match="sensor_noise: iso goes from 50 to 800, the camera's table from 100 to 6400"):
        Recipe.model_validate(data)
    data["operators"]["noise"] = {"op": "maybe", "p": 0.5, "do": data["operators"]["noise"]}
    with pytest.raises(ValueError, match="iso goes from 50 to 800"):
        Recipe.model_validate(data)


def test_a_lens_needs_a_camera_before_any_photo() -> None:
    lens = {
        "op": "psf_blur",
        "kernels": [{"choice": [{"psf": "gaussian", "sigma": 1}, {"psf": "airy", "f_number": 4}]}],
    }
    data = {"operators": {"patches": {"op": "crop", "size": 16}, "lens": lens}, "planes": {"a": ["patches", "lens"]}}
    with pytest.raises(ValueError, match="an airy kernel needs the pixel pitch: name a camera"):
        Recipe.model_validate(data)


def test_rows_draw_their_own_isos_from_a_table(own: Path) -> None:
    """Through a whole recipe, in operators that split a block and in such as do not."""
    write(own / "mine.json", **TABLE)
    text = """
    seed: 1
    source: {camera: mine}
    operators:
      patches: {op: crop, size: 256, margin: 0, per_photo: 6}
      cfa: {op: mosaic}
      noise: {op: one_of, ops: [{op: sensor_noise, iso: {choice: [100, 400]}}, {op: photon_noise, iso: 6400}]}
    planes: {clean: [patches, cfa], noisy: [patches, cfa, noise]}
    """
    photo = Frame(torch.full((1, 3, 300, 300), 0.1), Space.LINEAR, Sensor.make(half_diagonal=1.0, centre=(0, 0)))
    planes = render(Recipe.parse(text), photo, "a")
    noisy = planes["noisy"]
    isos = noisy.sensor.iso.tolist()
    assert len(set(isos)) == 3
    measured = ((noisy.data - planes["clean"].data) * 999).double().var((-2, -1))
    for iso, variance in zip(isos, measured, strict=True):
        k0 = np.array(LADDER["k0"][LADDER["iso"].index(int(iso))])
        expected = (np.array([0.1, 0.2, 0.3, 0.4]) * 99.9 + k0) * iso / 100
        assert variance.tolist() == pytest.approx(expected.tolist(), rel=5 * math.sqrt(2 / 128**2))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"table": {**LADDER, "iso": [100, 400]}}, r"needs a row of k1 and of k0 for each ISO, got 2 ISOs, 3 and 3"),
        ({"table": {**LADDER, "iso": [100, 6400, 400]}}, r"ISOs must rise, got 100, 6400, 400"),
        ({"table": {"iso": [100], "k1": [[1] * 4], "k0": [[1] * 4]}}, r"at least 2 items"),
        ({"table": LADDER, "read_iso_exponent": 1.2}, r"has both table and read_iso_exponent"),
        ({"k0": [1, 1, 1, -1]}, r"greater than or equal to 0"),
        ({"full_well": 0}, r"greater than 0"),
        ({"white": 9999}, r"needs black < white <= 4095 at 12 bits, got 64.0 and 9999.0"),
    ],
)
def test_numbers_that_cannot_be(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    file = write(tmp_path / "wrong.json", **{**PLAIN, **changes})
    with pytest.raises(RecipeError, match=rf"camera file .*wrong\.json: .*{said}"):
        Camera.named(str(file))


def test_photons_are_counted_by_the_cameras_table() -> None:
    sensor = Camera.model_validate(TABLE).replaces(Sensor.make())
    frame = Frame(torch.full((1, 4, 64, 64), 0.01), Space.MOSAIC, sensor)
    counts = (PhotonNoise(iso=400, k0=0.0, seed=1).apply(frame).data * 999)[0] / (4 * torch.tensor(LADDER["k1"][0]))[
        :, None, None
    ]
    assert (counts - counts.round()).abs().max() < 1e-2


# -- what ships -------------------------------------------------------------------------------------------------------


def test_the_shipped_a7s2_is_the_published_ladder() -> None:
    camera = Camera.named("sony-a7s2")
    assert (camera.black, camera.white, camera.bits) == (512, 16383, 14)
    k1, k0 = at(camera, 100, 1600, 3200)
    assert k1 == [pytest.approx([0.09563] * 4)] * 3
    assert k0 == [pytest.approx([v] * 4) for v in (1.01, 2.48, 0.48)]
    # ELD measured the same model with others' tools: at ISO 100 both agree to an eighth
    assert noise.from_eld(0.09563, *noise.ELD["sony-a7s2"])[1] == pytest.approx(1.01, rel=0.125)


def test_every_shipped_camera_says_where_it_comes_from() -> None:
    assert all(len(camera.about) > 40 for camera in cameras.every().values())


@pytest.mark.parametrize("line", noise.ELD)
def test_a_camera_on_elds_line(line: str) -> None:
    camera = Camera.from_eld(line, 0.2, black=512, white=15000, pitch=5)
    slope, bias = noise.ELD[line]
    for iso, k0 in zip((100, 3200), at(camera, 100, 3200)[1], strict=True):
        sigma = math.exp(slope * math.log(0.2 * iso / 100) + bias)
        assert k0 == pytest.approx([sigma**2 * 100 / iso] * 4)
    assert Camera.model_validate_json(camera.model_dump_json()) == camera


def test_an_unknown_line() -> None:
    with pytest.raises(UnknownName, match=r"unknown line of ELD 'nikon-d80': did you mean 'nikon-d850'\?"):
        Camera.from_eld("nikon-d80", 0.2, black=1, white=2, pitch=3)


# -- finding ----------------------------------------------------------------------------------------------------------


def test_ones_own_folder_comes_after_the_table_that_ships(own: Path) -> None:
    write(own / "mine.json", **PLAIN)
    write(own / "demo-a.json", **PLAIN)
    assert Camera.named("mine").white == 1063
    assert Camera.named("demo-a").white == 4095
    with pytest.raises(UnknownName, match=r"unknown camera 'mien': did you mean 'mine'\?"):
        Camera.named("mien")


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b'{"black": 1}'])
def test_a_broken_file_is_named(own: Path, content: bytes) -> None:
    (own / "mine.json").write_bytes(content)
    for name in ("mine", "auto"):
        with pytest.raises(RecipeError, match=r"camera file .*mine\.json"):
            cameras.identity(name)


def test_the_folder_is_where_the_system_keeps_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEGRADE_CAMERAS", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert folders.own("cameras") == tmp_path / "degrade" / "cameras"
    monkeypatch.setattr("sys.platform", "darwin")
    assert folders.own("cameras") == Path.home() / "Library" / "Application Support" / "degrade" / "cameras"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("APPDATA", str(tmp_path))
    assert folders.own("cameras") == tmp_path / "degrade" / "cameras"
    assert cameras.every().keys() >= {"demo-a", "demo-b", "sony-a7s2"}  # no such folder is no error


@pytest.mark.parametrize("said", ["ACME Brownie 2", "acme  brownie-2", "Fancy Name"])
def test_a_model_is_found_by_its_names(own: Path, said: str) -> None:
    write(own / "acme-brownie-2.json", **PLAIN, models=["fancy NAME"])
    assert cameras.of_model(said).white == 1063


def test_an_unknown_model_says_how_to_calibrate(own: Path) -> None:
    with pytest.raises(PhotoError, match=r"no noise curve is known for ACME Box: measure it with `degrade calibrate"):
        cameras.of_model("ACME Box")
    with pytest.raises(PhotoError, match=r"save it as acme-box\.json in the folder of your cameras"):
        cameras.of_model("ACME Box")
    with pytest.raises(PhotoError, match=r"the photo does not tell its camera"):
        cameras.of_model("")


@pytest.mark.parametrize(
    ("make", "model", "said"),
    [("Canon", "Canon EOS 1", "Canon EOS 1"), ("SONY", "ILCE-1", "SONY ILCE-1"), ("NIKON CORP", "NIKON 1", "NIKON 1")],
)
def test_a_photo_tells_its_camera(tmp_path: Path, make: str, model: str, said: str) -> None:
    photo = read_photo(photos.write_photo(tmp_path / "a.dng", make=make, model=model), space="linear", shrink=2)
    assert photo.model == said


AUTO = ("camera: demo-a", "camera: auto")


def test_each_photo_chooses_its_camera_and_an_unknown_one_is_set_aside(tmp_path: Path, own: Path) -> None:
    write(own / "one.json", **{**PLAIN, "models": ["ACME One"]})
    write(own / "two.json", **{**PLAIN, "black": 128, "models": ["ACME Two"]})
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, model in enumerate(("ACME One", "ACME Two", "ACME Three")):
        photos.write_photo(folder / f"p{i}.dng", i, make="ACME", model=model)
    report = build(photos.recipe(AUTO), folder, tmp_path / "s", workers=1)
    assert list(report.quarantined) == ["p2.dng"]
    assert report.quarantined["p2.dng"].startswith("no noise curve is known for ACME Three: measure it with `degrade")
    store = PatchStore(tmp_path / "s")
    blacks = [set(store.columns["black"][6 * i : 6 * i + 6].tolist()) for i in range(2)]
    assert blacks == [{64}, {128}]
    assert len(store) == 12


# -- identity ---------------------------------------------------------------------------------------------------------


def test_auto_is_identified_by_all_cameras_and_their_models(own: Path) -> None:
    hashes = [photos.recipe(AUTO).hash]
    write(own / "mine.json", **PLAIN)
    hashes.append(photos.recipe(AUTO).hash)
    write(own / "mine.json", **PLAIN, models=["ACME Box"])
    hashes.append(photos.recipe(AUTO).hash)
    write(own / "mine.json", **{**PLAIN, "pitch": 4}, models=["ACME Box"])
    hashes.append(photos.recipe(AUTO).hash)
    assert len(set(hashes)) == 4
    assert photos.recipe(AUTO).hash == hashes[-1]


def test_a_named_camera_is_identified_by_all_its_numbers(own: Path) -> None:
    hashes = set()
    kinds: list[dict[str, Any]] = [PLAIN, TABLE, {"read_iso_exponent": 1.1}, {"full_well": 9e3}]
    for changes in kinds:
        base = {} if changes is TABLE else PLAIN
        write(own / "mine.json", **{**base, **changes})
        hashes.add(photos.recipe(("demo-a", "mine")).hash)
    assert len(hashes) == 4
    write(own / "mine.json", **PLAIN, models=["ACME Box"])  # who asks by name is told the same
    assert photos.recipe(("demo-a", "mine")).hash in hashes
