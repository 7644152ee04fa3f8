"""Formulas in tensors and their twins: the same as compiled loops over arrays, which a CPU takes."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, ParamSpec

import torch
from torch import Tensor

P = ParamSpec("P")


def compilable(x: Tensor, *others: object, dtype: torch.dtype = torch.float32) -> bool:
    """Whether a twin can do the work: all tensors lie on a CPU, none asks for a gradient, the first has its ``dtype``.

    >>> x = torch.zeros(1)
    >>> compilable(x), compilable(x.double()), compilable(x, "4:2:0", x.clone().requires_grad_())
    (True, False, False)
    """
    if x.dtype is not dtype or not x.is_cpu or x.requires_grad:
        return False
    return all(t.is_cpu and not t.requires_grad for t in others if isinstance(t, Tensor))


def twin(module: str, dtype: torch.dtype = torch.float32) -> Callable[[Callable[P, Tensor]], Callable[P, Tensor]]:
    """A formula that hands the work to its twin where that can do it, which costs about 2 us a call.

    The twin is the function of the formula's name, less an underscore in front, in ``degrade.maths.<module>``. It takes
    the same arguments, arrays in place of tensors, and gives an array. It is imported, and compiled, when first needed.
    ``inspect.unwrap`` gives the formula alone.

    Args:
        module: ends in ``_cpu``.
        dtype: of the first tensor among the arguments.
    """

    def decorated(formula: Callable[P, Tensor]) -> Callable[P, Tensor]:
        @functools.cache
        def loops() -> Callable[..., Any]:
            return getattr(importlib.import_module(f"degrade.maths.{module}"), formula.__name__.removeprefix("_"))

        @functools.wraps(formula)
        def chosen(*args: P.args, **kwargs: P.kwargs) -> Tensor:
            if not compilable(*[t for t in args if isinstance(t, Tensor)], dtype=dtype):
                return formula(*args, **kwargs)
            return torch.from_numpy(loops()(*(t.numpy() if isinstance(t, Tensor) else t for t in args), **kwargs))

        return chosen

    return decorated
