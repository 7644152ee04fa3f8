"""Kernels in few products, compiled, against the transforms that they stand in for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from degrade.maths import filter, filter_cpu, fourier, shapes

SIZES = [(64, 64), (37, 90), (5, 130), (1, 7), (1, 1)]


def bell(along: float, across: float, turn: float, beta: float = 1.0, radius: int = 10) -> Tensor:
    def shape(y: Tensor, x: Tensor) -> Tensor:
        q = shapes.distance(y, x, torch.tensor(along), torch.tensor(across), torch.tensor(turn))
        return shapes.generalised(q, torch.tensor(beta))

    return shapes.on_pixels(shape, 2 * radius + 1, point=True).float()


def low_pass(cutoff: float, radius: int = 10) -> Tensor:
    return shapes.on_pixels(
        lambda y, x: shapes.low_pass(y, x, torch.tensor(cutoff)), 2 * radius + 1, point=True
    ).float()


def lopsided(radius: int) -> Tensor:
    kernel = torch.rand(2 * radius + 1, 2 * radius + 1, generator=torch.Generator().manual_seed(radius))
    return kernel / kernel.sum()


KERNELS = {
    "round": bell(2.0, 2.0, 0.0),
    "narrow": bell(0.2, 0.2, 0.0),
    "turned": bell(2.5, 0.7, 0.5),
    "peaked": bell(2.0, 2.0, 0.0, beta=0.6),
    "ringing": low_pass(1.2),
    "small": lopsided(3),
    "one pixel": torch.ones(1, 1),
}


def by_sums(x: Tensor, kernel: Tensor) -> Tensor:
    """Of (b, c, h, w), every product in float64."""
    wide = fourier.reflected(x.double(), kernel.shape[-1] // 2)
    turned = kernel.double().flip(-1, -2)[None, None]
    return torch.nn.functional.conv2d(wide.flatten(0, 1)[:, None], turned).reshape(x.shape)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel", KERNELS.values(), ids=list(KERNELS))
def test_few_products_are_the_whole_convolution(kernel: Tensor, size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    index = np.zeros((2, 3), np.int64)
    done = filter_cpu.convolve(x.numpy(), filter_cpu.peeled(kernel[None].numpy()), index)
    assert (torch.from_numpy(done) - by_sums(x, kernel)).abs().max() < 1e-6


def test_kernels_along_the_axes_take_two_lines_and_small_ones_no_more_than_they_have() -> None:
    taken = {n: int(filter_cpu.products(filter_cpu.peeled(k[None].numpy()))[0]) for n, k in KERNELS.items()}
    assert taken["round"] == 2 * 21
    assert taken["narrow"] <= 2 * 3
    assert taken["small"] == 7 * 7
    assert taken["ringing"] < 21 * 21


def test_pictures_of_several_sizes_and_kernels_are_those_done_alone() -> None:
    generator = torch.Generator().manual_seed(2)
    kernels = torch.stack([k for k in KERNELS.values() if len(k) == 21])
    data = [torch.rand(b, 3, *size, generator=generator) for b, size in ((3, (80, 71)), (1, (30, 30)))]
    index = [torch.randint(len(kernels), (len(x), 3), generator=generator) for x in data]
    index[0][0] = 2  # a wide one that goes by transform, beside others that do not
    together = filter.convolve_mirrored(data, kernels, index)
    for x, i, done in zip(data, index, together, strict=True):
        assert done.is_contiguous()
        for b in range(len(x)):
            (alone,) = filter.convolve_mirrored([x[b : b + 1]], kernels, [i[b : b + 1]])
            assert torch.equal(alone[0], done[b])
            for c in range(3):
                assert (done[b, c] - by_sums(x[b : b + 1, c : c + 1], kernels[i[b, c]])[0, 0]).abs().max() < 1e-6


def test_gradients_pass_by_transform() -> None:
    x = torch.rand(1, 3, 24, 24, requires_grad=True)
    index = [torch.zeros(1, 3, dtype=torch.int64)]
    (learnt,) = filter.convolve_mirrored([x], KERNELS["round"][None], index)
    learnt.sum().backward()
    assert x.grad is not None
    assert abs(x.grad.sum().item() / x.numel() - 1) < 1e-5
    (plain,) = filter.convolve_mirrored([x.detach()], KERNELS["round"][None], index)
    assert (plain - learnt).abs().max() < 1e-6
