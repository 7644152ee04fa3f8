"""Area means against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from degrade.maths.resample import area


@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(5, 13), st.integers(5, 13))
def test_area_is_the_mean_of_each_square(seed: int, factor: int, h: int, w: int) -> None:
    x = np.random.default_rng(seed).random((2, 3, h, w)).astype(np.float32)
    rows, columns = h // factor, w // factor
    cut = x[..., : rows * factor, : columns * factor].astype(float)
    wanted = cut.reshape(2, 3, rows, factor, columns, factor).mean((3, 5))
    got = area(torch.from_numpy(x), factor)
    np.testing.assert_allclose(got, wanted, atol=1e-6)
    assert torch.equal(area(torch.from_numpy(x[1:]), factor)[0], got[1])


@pytest.mark.parametrize("factor", [0, -1, 1.5, True])
def test_factors_that_are_no_counts_are_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="whole number from 1 up"):
        area(torch.zeros(1, 1, 4, 4), factor)


def test_a_picture_smaller_than_a_square_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot shrink"):
        area(torch.zeros(1, 1, 4, 2), 3)
