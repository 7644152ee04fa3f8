"""Colour: the sRGB curve against its standard, matrices against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from degrade.maths.colour import SRGB_TO_XYZ, apply_matrix, camera_to_srgb, srgb_decode, srgb_encode

CAMERA = [[0.902, -0.289, -0.0715], [-0.4535, 1.2436, 0.2348], [-0.0934, 0.1919, 0.7086]]


@given(st.floats(0, 4))
def test_encoding_is_the_standards(light: float) -> None:
    wanted = 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055
    assert float(srgb_encode(torch.tensor(light, dtype=torch.float64))) == pytest.approx(wanted, abs=1e-12)


@given(st.floats(-1, 4))
def test_decoding_undoes_encoding(light: float) -> None:
    x = torch.tensor(light, dtype=torch.float64)
    assert float(srgb_decode(srgb_encode(x))) == pytest.approx(light, abs=1e-7)  # the standard's own seam


def test_all_8_bit_values_return() -> None:
    codes = torch.arange(256)
    assert torch.equal((srgb_encode(srgb_decode(codes / 255)) * 255).round().long(), codes)


def test_srgb_to_xyz_follows_from_its_primaries_and_white() -> None:
    xy, white = np.array([[0.64, 0.33], [0.30, 0.60], [0.15, 0.06]]), np.array([0.3127, 0.3290])
    primaries = np.stack([[x / y, 1, (1 - x - y) / y] for x, y in xy], axis=1)
    light = np.array([white[0] / white[1], 1, (1 - white.sum()) / white[1]])
    np.testing.assert_allclose(SRGB_TO_XYZ, primaries * np.linalg.solve(primaries, light), atol=1e-12)


def test_matrices_act_on_colours() -> None:
    rng = np.random.default_rng(0)
    matrix, x = rng.standard_normal((2, 3, 3)), rng.random((2, 3, 4, 5))
    got = apply_matrix(torch.from_numpy(matrix), torch.from_numpy(x))
    np.testing.assert_allclose(got, np.einsum("bij,bjhw->bihw", matrix, x), atol=1e-12)
    one = apply_matrix(torch.from_numpy(matrix[0]), torch.from_numpy(x))
    np.testing.assert_allclose(one[1], np.einsum("ij,jhw->ihw", matrix[0], x[1]), atol=1e-12)


def test_balanced_grey_becomes_grey() -> None:
    matrix = camera_to_srgb(torch.tensor(CAMERA))
    assert torch.allclose(matrix.sum(1), torch.ones(3, dtype=torch.float64))


def test_a_colour_seen_by_the_camera_returns() -> None:
    camera = np.array(CAMERA) @ np.array(SRGB_TO_XYZ)
    srgb = np.array([0.2, 0.5, 0.1])
    balanced = camera @ srgb / (camera @ np.ones(3))  # the camera is balanced where white reads 1 1 1
    np.testing.assert_allclose(camera_to_srgb(torch.tensor(CAMERA)).numpy() @ balanced, srgb, atol=1e-6)


@given(st.lists(st.floats(0.1, 10), min_size=3, max_size=3))
def test_white_balance_in_the_matrix_cancels(gains: list[float]) -> None:
    camera = torch.tensor(CAMERA, dtype=torch.float64)
    scaled = torch.tensor(gains, dtype=torch.float64)[:, None] * camera
    assert torch.allclose(camera_to_srgb(scaled), camera_to_srgb(camera), atol=1e-9)


def test_what_cannot_be_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="cannot be inverted"):
        camera_to_srgb(torch.ones(3, 3))
    with pytest.raises(ValueError, match="cannot be inverted"):
        camera_to_srgb(torch.zeros(3, 3))
    with pytest.raises(ValueError, match=r"expected \(b, 3, 3\) and \(b, 3, h, w\)"):
        apply_matrix(torch.eye(3), torch.zeros(1, 4, 2, 2))
