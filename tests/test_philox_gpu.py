"""The GPU's kernels without a GPU: Triton's interpreter runs them on a CPU, its compiler makes code for real ones."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from degrade.maths.philox import normal_field, uniform_field
from degrade.maths.sensor import noisy

pytest.importorskip("triton")

SEEDS = torch.tensor([1, 2**52 + 7, 99])
#: beginnings in the margin and far off, sizes that are no multiple of four, of one program, and of several
FIELDS = list(itertools.product([(0, 0), (-3, -7), (5, 2), (-300, 301)], [(1, 1), (5, 13), (33, 64)], [0, 2]))

INTERPRETED = """
import sys, torch
from degrade.maths import philox_gpu
asked = torch.load(sys.argv[1])
torch.save([getattr(philox_gpu, name)(*arguments) for name, arguments in asked], sys.argv[2])
"""

COMPILED = """
import sys, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from degrade.maths import philox_gpu
types = {"seeds": "*i64", "normal": "constexpr", "span": "constexpr"}
types |= dict.fromkeys(("x", "signal", "shot", "read", "out"), "*fp32")
for name in ("_field", "_noisy"):
    kernel = getattr(philox_gpu, name)
    fixed = {(kernel.arg_names.index(k),): v for k, v in (("normal", True), ("span", philox_gpu.SPAN))
             if k in kernel.arg_names}
    source = ASTSource(kernel, {n: types.get(n, "i32") for n in kernel.arg_names}, fixed)
    print(name, len(triton.compile(source, target=GPUTarget("cuda", int(sys.argv[1]), 32)).asm["cubin"]))
"""


def run(script: str, *arguments: object, **environment: str) -> str:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def interpreted(folder: Path, asked: list[tuple[str, tuple[Any, ...]]]) -> list[Tensor]:
    torch.save(asked, folder / "asked")
    run(INTERPRETED, folder / "asked", folder / "answered", TRITON_INTERPRET="1")
    return torch.load(folder / "answered")


def test_fields_are_those_of_the_cpu(tmp_path: Path) -> None:
    kinds = {"uniform": uniform_field, "normal": normal_field}
    cases = list(itertools.product(kinds, FIELDS))
    found = interpreted(tmp_path, [("field", (kind, SEEDS, 3, *where)) for kind, where in cases])
    for field, (kind, (start, size, stream)) in zip(found, cases, strict=True):
        expected = kinds[kind](SEEDS, 3, start, size, stream)
        torch.testing.assert_close(field, expected, rtol=0, atol=0 if kind == "uniform" else 1e-6)


def test_noise_is_that_of_the_cpu_also_of_part_of_a_picture(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    whole = 1.6 * torch.rand(3, 4, 21, 26, generator=generator) - 0.3
    x, signal = whole[..., 2:-2, 2:-2], whole[..., 4:, 4:]
    shot = 0.1 * torch.rand(3, 4, 1, 1, generator=generator)
    read = torch.tensor([-1e-3, 1e-6, 0.2, 0.0]).reshape(1, 4, 1, 1).expand(3, 4, 1, 1)
    (found,) = interpreted(tmp_path, [("noisy", (x, signal, shot, read, SEEDS, (-1, -2)))])
    torch.testing.assert_close(found, noisy(x, signal, shot, read, SEEDS, (-1, -2)), rtol=0, atol=2e-6)


@pytest.mark.parametrize("capability", [80, 90], ids=["A100", "H100"])
def test_kernels_compile_for_real_gpus(capability: int, tmp_path: Path) -> None:
    said = run(COMPILED, capability, TRITON_CACHE_DIR=str(tmp_path))
    sizes = dict(line.split() for line in said.splitlines())
    assert sizes.keys() == {"_field", "_noisy"}
    assert all(int(size) > 1000 for size in sizes.values())
