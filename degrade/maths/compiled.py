"""Loops compiled by numba, kept between processes where there is a place to keep them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(f: Callable[..., Any]) -> Callable[..., Any]:
    """``f`` as machine code that holds no lock while it runs.

    >>> @compiled
    ... def twice(x):
    ...     return 2 * x
    >>> twice(21)
    42
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}
    try:
        return njit(cache=True, **options)(f)
    except RuntimeError:  # nowhere to keep compiled code: it is compiled anew in each process
        return njit(**options)(f)
