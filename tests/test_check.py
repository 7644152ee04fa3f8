"""The check finds what is wrong and passes what is right: operators that err on purpose, each in its own plane."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

from degrade import Frame, Operator, Recipe, RecipeError, Space, Spec, UnknownName, register
from degrade.check.compare import Check, Figure, PlaneCheck, check
from degrade.check.picture import check_sheet
from degrade.check.rules import rounded
from degrade.cli import app
from degrade.look.typeset import save
from degrade.operators.light import Exposure
from degrade.operators.noise import SensorNoise
from degrade.operators.optics import PsfBlur
from degrade.operators.sensor import Quantise, levels

WRONG = """
seed: 3
source: {space: linear, camera: demo-a}
operators:
  cut:     {op: crop, size: 48, margin: 16, per_photo: 8}
  optics:  {op: psf_blur, radius: 6, kernels: [{psf: gaussian, sigma: {uniform: [0.4, 1]}}]}
  leaky:   {op: leaky_blur, radius: 6, kernels: [{psf: gaussian, sigma: {uniform: [0.4, 1]}}]}
  wide:    {op: wide_blur, radius: 6, kernels: [{psf: gaussian, sigma: {uniform: [0.4, 1]}}]}
  tint:    {op: tint, stops: -1}
  strange: {op: strange}
  cfa:     {op: mosaic}
  noise:   {op: sensor_noise, iso: {choice: [100, 1600]}}
  loud:    {op: loud_noise, iso: {choice: [100, 1600]}}
  adc:     {op: quantise}
  floor:   {op: truncate}
planes:
  right:     [cut, optics, cfa, noise, adc]
  loud:      [cut, optics, cfa, loud, adc]
  leaky:     [cut, leaky, cfa, adc]
  wide:      [cut, wide]
  tinted:    [cut, tint]
  truncated: [cut, cfa, noise, floor]
  strange:   [cut, strange, cfa, noise, adc]
"""


class LoudNoise(SensorNoise):
    """Noise whose variance is 10% too high."""

    def added(self, frame: Frame) -> tuple[Tensor, Tensor, Tensor]:
        signal, shot, read = super().added(frame)
        return signal, 1.1 * shot, 1.1 * read


class LeakyBlur(PsfBlur):
    """A blur whose kernel sums to 0.98."""

    def apply(self, frame: Frame) -> Frame:
        blurred = super().apply(frame)
        return blurred.with_data(0.98 * blurred.data)


class WideBlur(PsfBlur):
    """A blur that happens twice."""

    def needs(self, spec: Spec, after: int) -> int:
        return self.margin_of(spec, after, 2 * self.radius)

    def apply(self, frame: Frame) -> Frame:
        return super().apply(super().apply(frame))


class Tint(Exposure):
    """An exposure that gives red half a percent more."""

    def apply(self, frame: Frame) -> Frame:
        dimmed = super().apply(frame)
        return dimmed.with_data(dimmed.data * torch.tensor([1.005, 1, 1]).reshape(1, 3, 1, 1))


class Truncate(Quantise):
    """An ADC that truncates instead of rounding."""

    def apply(self, frame: Frame) -> Frame:
        _, full = levels(frame)
        return frame.with_data(torch.floor(frame.data * full) / full)


class Strange(Operator):
    """What no rule knows: it halves the signal."""

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.LINEAR})

    def apply(self, frame: Frame) -> Frame:
        return frame.with_data(frame.data / 2)


class Deep(Strange):
    """What needs a map beside the photo."""

    def apply(self, frame: Frame) -> Frame:
        return frame.with_data(frame.data * frame.aux["depth"])


NAMES = ("loud_noise", "leaky_blur", "wide_blur", "tint", "truncate", "strange", "deep")
KINDS = dict(zip(NAMES, (LoudNoise, LeakyBlur, WideBlur, Tint, Truncate, Strange, Deep), strict=True))


@pytest.fixture(scope="module", autouse=True)
def _registered() -> Iterator[None]:
    for name, kind in KINDS.items():
        register(name)(kind)
    yield
    for name in KINDS:
        Operator.named.pop(name)


@pytest.fixture(scope="module")
def found() -> Check:
    return check(Recipe.parse(WRONG), rows=6)


def plane(found: Check, name: str) -> PlaneCheck:
    return next(p for p in found.planes if p.name == name)


def figure(found: Check, name: str, begins: str) -> Figure:
    return next(f for f in plane(found, name).figures if f.name.startswith(begins))


def wrong(found: Check, name: str) -> set[str]:
    """First words of what is wrong in a plane."""
    return {f.name.split()[0].rstrip(",") for f in plane(found, name).figures if f.ok is False}


# -- what is wrong is found, and nothing else -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("right", set()),
        ("loud", {"variance"}),
        ("leaky", {"energy", "offset"}),
        ("wide", {"MTF"}),
        ("tinted", {"energy", "grey"}),
        ("truncated", {"offset"}),
        ("strange", set()),
    ],
)
def test_what_is_wrong_is_found(found: Check, name: str, expected: set[str]) -> None:
    assert wrong(found, name) == expected


def test_figures_tell_by_how_much(found: Check) -> None:
    loud = figure(found, "loud", "variance, ISO 1600")
    assert loud.value == pytest.approx(1.1, abs=4 * loud.error + 1e-3)
    assert loud.error < 0.01
    leaky = figure(found, "leaky", "energy")
    assert leaky.value / leaky.said == pytest.approx(0.98, abs=2e-3)
    tinted = figure(found, "tinted", "grey R/G")
    assert tinted.value == pytest.approx(1.005, abs=1e-5)
    truncated = figure(found, "truncated", "offset")
    assert truncated.value == pytest.approx(-0.5, abs=0.03)
    assert "loud: variance, ISO 100" in found.wrong


def test_what_no_rule_knows_is_measured_and_not_said(found: Check) -> None:
    strange = plane(found, "strange")
    assert all(f.ok is None for f in strange.figures)
    assert figure(found, "strange", "energy").value == pytest.approx(0.5, abs=1e-3)
    assert figure(found, "strange", "noise [DN], ISO 1600").value > 4 * 4
    assert strange.spread is not None
    assert np.isnan(strange.spread.said).all()
    assert np.isfinite(strange.spread.mtf).all()


def test_photon_transfer_follows_the_curve_of_the_camera(found: Check) -> None:
    for speed in plane(found, "right").speeds:
        # demo-a, with rounding: k1 S + k0 times ISO / 100, and 1/12
        curve = (0.19195 * speed.mean + 0.3316) * speed.iso[0] / 100 + 1 / 12
        good = np.isfinite(speed.variance) & (speed.mean > 20)
        assert good.sum() > 20
        assert np.abs(speed.said / curve - 1)[good].max() < 0.02
        assert np.abs((speed.variance - speed.said) / speed.error)[good].max() < 5


# -- recipes of every kind pass ---------------------------------------------------------------------------------------


def test_the_shipped_pipeline_is_right() -> None:
    found = check(Recipe.load("residual-maps"), rows=4)
    assert found.wrong == []
    assert {p.name: len(p.speeds) for p in found.planes} == {"clean": 0, "blur": 0, "noise": 7, "noise_blur": 7}
    assert all(p.spread is not None and f.ok for p in found.planes for f in p.figures)
    mean, most = found.notes["optics.lost"]
    assert 0 < mean < most < 0.05


MOSAIC = """
source: {space: mosaic, camera: sony-a7s2}
operators:
  cut:      {op: grid_crop, size: 32, margin: 0, per_photo: 9}
  response: {op: pixel_response, prnu: 0.01, dsnu: 2, camera_seed: 4}
  warmth:   {op: dark_current, rate: 20, temperature: photo, exposure: 2}
  noise:    {op: photon_noise, per: photo, iso: {log_uniform: [100, 3200]}}
  rows:     {op: row_noise, row: 1.5, column: 0.5}
  broken:   {op: bad_pixels, hot: 0.002, dead: 0.001}
  adc:      {op: quantise}
planes: {poor: [cut, response, warmth, noise, rows, broken, adc]}
"""
DISPLAY = """
source: {space: display}
operators:
  cut:  {op: crop, size: 48, margin: 8, per_photo: 4}
  blur: {op: psf_blur, radius: 8, kernels: [{psf: linear_motion, length: 5, angle: {uniform: [0, 90]}}]}
  adc:  {op: quantise}
planes: {sharp: [cut, adc], soft: [cut, blur, adc]}
"""
FIELD = """
source: {space: linear, camera: demo-b, field: unknown}
operators:
  light:   {op: exposure, stops: {uniform: [-2, 2]}}
  cut:     {op: crop, size: 32, margin: 24, per_photo: 6, oversample: 2}
  lens:    {op: psf_blur, radius: 8, kernels: [{psf: pupil, f_number: 4, coma: 0.3, wavelength: [0.6, 0.54, 0.46]}]}
  colour:  {op: lateral_chromatic, red: 1.5, blue: -1}
  corner:  {op: illumination, angle: 30, polynomial: [-0.1]}
  smaller: {op: downsample, factor: 2}
  either:
    op: one_of
    ops: [{op: sensor_noise, iso: 100}, {op: chain, steps: [{op: exposure, stops: -1}, {op: sensor_noise, iso: 400}]}]
  full:    {op: saturate, level: 0.9}
planes: {poor: [light, cut, lens, colour, corner, smaller, either, full]}
"""


@pytest.mark.parametrize("text", [MOSAIC, DISPLAY, FIELD], ids=["mosaic", "display", "field"])
def test_recipes_of_other_spaces_are_right(text: str) -> None:
    found = check(Recipe.parse(text), rows=4)
    assert found.wrong == []
    assert all(f.ok for p in found.planes for f in p.figures), "something was not said"
    assert all(p.spread is not None for p in found.planes)


def test_another_camera_may_be_named() -> None:
    text = """
source: {space: linear, camera: auto}
operators: {cut: {op: crop, size: 32, margin: 0, per_photo: 4}, noise: {op: sensor_noise, iso: 100}}
planes: {noisy: [cut, noise]}
"""
    found = check(Recipe.parse(text), camera="demo-b", rows=2)
    assert found.camera == "demo-b"
    assert found.wrong == []


# -- parts ------------------------------------------------------------------------------------------------------------


@given(mean=st.floats(-2, 260), sigma=st.floats(0.05, 8), seed=st.integers(0, 1000))
def test_rounding_agrees_with_rounded_samples(mean: float, sigma: float, seed: int) -> None:
    samples = np.random.default_rng(seed).normal(mean, sigma, 200_000)
    dn = np.clip(np.round(samples), 0, 255)
    told, variance = rounded(mean, sigma, 255.0)
    if math.isnan(told):
        assert sigma >= 2
        assert mean < 5.5 * sigma or mean + 5.5 * sigma > 255
        return
    assert told == pytest.approx(dn.mean(), abs=6 * sigma / 447 + 1e-3)
    assert variance == pytest.approx(dn.var(), rel=0.03, abs=6e-3)


def test_the_picture_holds_every_plane(found: Check, tmp_path: Path) -> None:
    with Image.open(save(check_sheet(found, "wrong"), tmp_path / "all.png")) as sheet:
        assert sheet.width > 1000
        assert sheet.height > 7 * 300


def test_nothing_half_written_is_left(found: Check, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        save(check_sheet(found, "wrong"), tmp_path / "taken")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


# -- bad input, and the command ---------------------------------------------------------------------------------------


def test_probes_have_no_camera_of_their_own() -> None:
    recipe = Recipe.load("residual-maps")
    auto = recipe.changed(source=recipe.source.model_copy(update={"camera": "auto"}))
    with pytest.raises(RecipeError, match="`camera: auto` takes the camera of each photo.* --camera"):
        check(auto)
    with pytest.raises(UnknownName, match="unknown camera 'demo-c': did you mean 'demo-"):
        check(recipe, camera="demo-c")
    none = """
source: {space: linear}
operators: {cut: {op: crop, size: 32, margin: 0}, noise: {op: sensor_noise, iso: 100}}
planes: {noisy: [cut, noise]}
"""
    with pytest.raises(RecipeError, match="cannot be rendered on probes: no noise curve.* name a camera"):
        check(Recipe.parse(none))


def test_too_few_rows() -> None:
    with pytest.raises(ValueError, match="rows must be 2 or more, got 1"):
        check(Recipe.load("residual-maps"), rows=1)


def test_an_operator_that_takes_a_map_for_granted_is_a_bug() -> None:
    text = """
source: {space: linear}
operators: {cut: {op: crop, size: 32, margin: 0}, deep: {op: deep}}
planes: {one: [cut, deep]}
"""
    with pytest.raises(KeyError, match="depth") as caught:
        check(Recipe.parse(text))
    assert "on probes, plain photos without maps beside them" in caught.value.__notes__


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["check", *map(str, arguments)])
    return done.exit_code, done.output


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(WRONG.replace("planes:", "store: [right, loud]\nplanes:"))
    code, out = run(recipe, "--rows", 4, "--out", tmp_path / "p.png")
    assert code == 1
    assert "wrong loud: variance, ISO 100\n" in out
    assert "wrong right" not in out
    assert (tmp_path / "p.png").is_file()


def test_the_command_says_the_same_again_where_all_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text(WRONG.replace("planes:", "store: [right]\nplanes:"))
    monkeypatch.chdir(tmp_path)
    first, again = run("mine.yaml", "--rows", 2), run("mine.yaml", "--rows", 2, "--out", "again.png")
    assert (first[0], "wrong" in first[1]) == (0, False)
    assert (tmp_path / "check-mine.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    assert first[1] == again[1].replace("again.png", "check-mine.png")
