"""Regions of a picture: connected areas of one label, the largest of them, small ones given to their neighbours.

Pixels that share a side are connected. These need the whole picture and run on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PASSES = 16  #: times that small regions are looked for; each leaves fewer


def components(labels: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Connected regions of equal label.

    Args:
        labels: (h, w) whole numbers from 0 up.

    Returns:
        (h, w) number of each pixel's region from 0 up, and (n,) their pixels.

    >>> components(np.array([[0, 1, 0]], np.int32))[0].tolist()
    [[0, 1, 2]]
    """
    from skimage import measure

    label = cast("Callable[..., NDArray[np.int64]]", measure.label)
    numbers = label(labels, background=-1, connectivity=1) - 1
    return numbers, np.bincount(numbers.ravel())


def largest(mask: Tensor) -> Tensor:
    """The largest connected area of a mask (h, w), the first of equals; nothing where the mask is empty.

    >>> largest(torch.tensor([[1, 0, 1, 1]]) > 0).tolist()
    [[False, False, True, True]]
    """
    if not bool(mask.any()):
        return mask
    numbers, sizes = components(mask.cpu().numpy().astype(np.int32))
    inside = np.zeros(len(sizes), bool)
    inside[numbers[mask.cpu().numpy()]] = True
    return torch.from_numpy(numbers == np.where(inside, sizes, 0).argmax()).to(mask.device)


def without_small(labels: Tensor, least: int) -> Tensor:
    """Labels (h, w) int32 whose regions of fewer than ``least`` pixels took the label of the nearest larger region.

    >>> without_small(torch.tensor([[0, 0, 0, 1, 0, 0]], dtype=torch.int32), 2).tolist()
    [[0, 0, 0, 0, 0, 0]]
    """
    from scipy import ndimage

    transform = cast("Callable[..., NDArray[np.int32]]", ndimage.distance_transform_edt)
    found = labels.cpu().numpy()
    for _ in range(PASSES):
        numbers, sizes = components(found)
        small = (sizes < least)[numbers]
        if not small.any() or small.all():
            break
        at = transform(small, return_distances=False, return_indices=True)
        found = found[at[0], at[1]]
    return torch.from_numpy(np.ascontiguousarray(found)).to(labels.device)


def outlines(labels: Tensor, width: int) -> Tensor:
    """Where a region of (b, h, w) labels meets another: (b, 1, h, w) of 0 and 1, lines ``width`` pixels thick.

    A line of 1 lies on the pixels whose right or lower neighbour has another label; each further pixel of width
    grows it by one on alternate sides.

    >>> outlines(torch.tensor([[[0, 0, 1, 1, 1]]]), 2).flatten().tolist()
    [0.0, 1.0, 1.0, 0.0, 0.0]
    """
    line = torch.zeros_like(labels, dtype=torch.bool)
    if width == 0:
        return line[:, None].float()
    line[:, :, :-1] |= labels[:, :, 1:] != labels[:, :, :-1]
    line[:, :-1, :] |= labels[:, 1:, :] != labels[:, :-1, :]
    for step in range(width - 1):
        line = _shifted(line, step % 2 == 0)
    return line[:, None].float()


def _shifted(line: Tensor, onwards: bool) -> Tensor:
    """A mask and itself moved by one pixel along x, y and both."""
    for dim in (1, 2):
        n = line.shape[dim]
        here, there = line.narrow(dim, 0, n - 1), line.narrow(dim, 1, n - 1)
        moved = line.clone()
        moved.narrow(dim, 1, n - 1).logical_or_(here) if onwards else moved.narrow(dim, 0, n - 1).logical_or_(there)
        line = moved
    return line
