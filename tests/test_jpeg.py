"""JPEG against libjpeg-turbo itself, through Pillow: the same levels, not nearly the same."""

from __future__ import annotations

import io

import numpy as np
import pytest
import skimage.data
import torch
from numpy.typing import NDArray
from PIL import Image

from degrade.maths.jpeg import SAMPLING, compress, enlarged, from_ycc, reduced, tables, to_ycc

PICTURES: dict[str, NDArray[np.uint8]] = {
    "cat": skimage.data.chelsea(),
    "rocket": skimage.data.rocket()[100:301, 50:351],
    "odd size": skimage.data.coffee()[:37, :53],
    "one block and a bit": skimage.data.coffee()[200:217, 200:209],
    "noise": np.random.default_rng(1).integers(0, 256, (75, 90, 3), dtype=np.uint8),
    "saturated": np.random.default_rng(2).choice(np.array([0, 255], np.uint8), (64, 64, 3)),
}


def tensor(image: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255


def levels(x: torch.Tensor) -> NDArray[np.uint8]:
    return (x * 255).round().to(torch.uint8)[0].permute(1, 2, 0).numpy()


def pillow(image: NDArray[np.uint8], quality: int, sampling: str) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=sampling)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("sampling", SAMPLING)
@pytest.mark.parametrize("name", PICTURES)
def test_levels_are_libjpegs(name: str, sampling: str) -> None:
    image = PICTURES[name]
    for quality in (1, 5, 10, 25, 49, 50, 75, 90, 95, 100):
        error = np.abs(
            levels(compress(tensor(image), quality, sampling)).astype(int) - pillow(image, quality, sampling)
        )
        assert (error > 0).mean() <= 1e-3, f"quality {quality}: {(error > 0).mean():.2%} of samples differ"
        assert error.max() <= 1, f"quality {quality}: {error.max()} levels apart"


def test_rows_of_a_batch_have_their_own_quality() -> None:
    x = tensor(PICTURES["cat"])[..., :64, :80]
    qualities = torch.tensor([5, 50, 95])
    many = compress(x.expand(3, -1, -1, -1), qualities)
    for i, quality in enumerate(qualities.tolist()):
        assert torch.equal(many[i], compress(x, quality)[0])


def test_a_lower_quality_is_further_away() -> None:
    x = tensor(PICTURES["cat"])
    errors = [(compress(x, q) - x).square().mean().item() for q in (100, 90, 70, 40, 10, 2)]
    assert errors == sorted(errors)


def test_blocks_do_not_see_each_other_without_chroma_subsampling() -> None:
    x = tensor(PICTURES["noise"])[..., :64, :64]
    changed = x.clone()
    changed[..., 8:16, 16:24] = 0.5
    differs = (compress(x, 40, "4:4:4") != compress(changed, 40, "4:4:4")).any(1)[0].nonzero()
    assert differs.amin(0).tolist() >= [8, 16]
    assert differs.amax(0).tolist() <= [15, 23]


def test_levels_are_whole_and_within_range() -> None:
    y = compress(tensor(PICTURES["saturated"]) * 3 - 1, 20) * 255
    assert (y - y.round()).abs().max() < 1e-4
    assert 0 <= y.min() < y.max() <= 255


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 51, 75, 99, 100])
def test_tables_are_those_in_the_file(quality: int) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
    found = Image.open(file).quantization
    for k, table in enumerate(tables(quality)):
        assert sorted(table.flatten().tolist()) == sorted(found[k])


def test_grey_stays_grey() -> None:
    grey = torch.arange(256.0).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    y, cbcr = to_ycc(grey)
    assert torch.equal(y, grey[:, :1])
    assert (cbcr == 128).all()
    assert torch.equal(from_ycc(y, cbcr), grey)


def test_chroma_keeps_its_mean() -> None:
    rng = np.random.default_rng(3)
    chroma = torch.from_numpy(rng.integers(0, 256, (1, 2, 256, 256))).float()
    for sampling in SAMPLING:
        small = reduced(chroma, sampling)
        assert abs(small.mean() - chroma.mean()) < 0.02
        assert abs(enlarged(small, sampling, chroma).mean() - chroma.mean()) < 0.1


def test_a_gradient_passes_roundings() -> None:
    x = tensor(PICTURES["cat"])[..., :40, :40].requires_grad_()
    y = compress(x, 80)
    assert torch.equal(y.detach(), compress(x.detach(), 80))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.mean().item() == pytest.approx(1, abs=0.05)  # a brighter picture comes out as much brighter


def test_what_cannot_be_is_refused_in_a_sentence() -> None:
    x = torch.zeros(1, 3, 8, 8)
    with pytest.raises(ValueError, match=r"unknown chroma sampling '4:1:1', must be one of 4:4:4, 4:2:2, 4:2:0"):
        compress(x, 50, "4:1:1")
    with pytest.raises(ValueError, match=r"quality goes from 1 to 100, got \[0\]"):
        compress(x, 0)
    with pytest.raises(ValueError, match=r"takes \(b, 3, h, w\), got \(1, 1, 8, 8\)"):
        compress(x[:, :1], 50)


@pytest.mark.parametrize("sampling", SAMPLING)
@pytest.mark.parametrize("size", [(64, 64), (130, 71), (17, 23), (9, 65), (1, 1)])
def test_the_compiled_way_gives_the_levels_of_the_one_for_all_devices(size: tuple[int, int], sampling: str) -> None:
    generator = torch.Generator().manual_seed(4)
    rough = torch.rand(1, 3, *size, generator=generator) * 1.2 - 0.1  # some is clipped
    small = torch.rand(1, 3, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(small, size, mode="bicubic")
    x, quality = torch.cat((rough, smooth)), torch.tensor([30, 93])
    assert torch.equal(compress(x, quality, sampling), compress(x.clone().requires_grad_(), quality, sampling).detach())
