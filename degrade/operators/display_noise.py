"""Noise of developed pictures, in levels of 1/255: Gaussian, Poisson, speckle, and with correlated colours.

It knows no camera: `sensor_noise` does. ``grey`` is the share of the variance that all channels have in common, 0 for
colour noise and 1 for grey. Nothing is clipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from degrade.core.frame import Frame, Space
from degrade.core.operator import Operator
from degrade.core.param import Param, column
from degrade.core.prior import Seed
from degrade.core.registry import register
from degrade.core.spec import Spec
from degrade.maths import display

EightBit = Annotated[float, Field(ge=0, le=255)]
Grey = Annotated[float, Field(ge=0, le=1)]
WHITE: Final = np.float32(255)


def _float(value: Any) -> NDArray[np.float32]:
    return np.asarray(value, np.float32)


class DisplayNoise(Operator):
    """Base: an addressed field on DISPLAY pictures."""

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.DISPLAY})

    seed: Param[int] = Field(default=Seed(), description="seed of the unit field")

    def plan(self, spec: Spec) -> Spec:
        return replace(super().plan(spec), digital=False)

    def apply(self, frame: Frame) -> Frame:
        return self.together([frame])[0]

    def together(self, frames: Sequence[Frame]) -> list[Frame]:
        sizes, device = [len(f) for f in frames], frames[0].data.device
        fields = (torch.from_numpy(np.full(sum(sizes), v)) for v in (np.asarray(self.seed), *self.numbers))
        return [self.noisy(*each) for each in zip(frames, *(v.to(device).split(sizes) for v in fields), strict=True)]

    @property
    def numbers(self) -> tuple[NDArray[Any], ...]:
        """The fields that `noisy` takes, one number each or one a row."""
        raise NotImplementedError

    def noisy(self, frame: Frame, seed: Tensor, *numbers: Tensor) -> Frame:
        """A frame with noise, from (b,) seeds and `numbers` of its rows."""
        raise NotImplementedError


def more(noise: Tensor, line: int, variance: Tensor) -> Tensor:
    """A frame's noise with some (b,) variance more, of shot (0) or of read noise (1)."""
    noise = noise.clone()
    noise[:, line] += variance.reshape(-1, 1)
    return noise


class NormalNoise(DisplayNoise):
    """Base: normal numbers of a standard deviation, some of their variance common to the channels."""

    sigma: Param[EightBit] = Field(description="standard deviation, of speckle that at white [1/255]")
    grey: Param[Grey] = Field(default=0.0, description="share of the variance that the channels have in common")

    @property
    def numbers(self) -> tuple[NDArray[Any], ...]:
        return _float(self.sigma) / WHITE, _float(self.grey)


@register("gaussian_noise")
class GaussianNoise(NormalNoise):
    """White noise: ``y = x + sigma n / 255``.

    >>> from degrade import Frame, Sensor, Space
    >>> grey = Frame(torch.full((1, 3, 64, 64), 0.5), Space.DISPLAY, Sensor.make())
    >>> noisy = GaussianNoise(sigma=10.0, seed=1).apply(grey)
    >>> abs((noisy.data * 255).std().item() / 10 - 1) < 0.02
    True
    """

    examples = ({"sigma": {"uniform": [1, 30]}, "grey": {"choice": [0, 0.3, 1]}},)

    def noisy(self, frame: Frame, seed: Tensor, *numbers: Tensor) -> Frame:
        sigma, grey = numbers
        data = display.gaussian(frame.data, sigma, grey, seed, frame.grid.start)
        return frame.with_data(data, noise=None if frame.noise is None else more(frame.noise, 1, sigma.square()))


@register("speckle_noise")
class SpeckleNoise(NormalNoise):
    """Noise that grows with the signal: ``y = x (1 + sigma n / 255)``.

    >>> from degrade import Frame, Sensor, Space
    >>> black = Frame(torch.zeros(1, 3, 8, 8), Space.DISPLAY, Sensor.make())
    >>> SpeckleNoise(sigma=10.0, seed=1).apply(black).data.abs().max().item()
    0.0
    """

    examples = ({"sigma": {"uniform": [2, 25]}, "grey": {"uniform": [0, 1]}},)

    def noisy(self, frame: Frame, seed: Tensor, *numbers: Tensor) -> Frame:
        sigma, grey = numbers
        gain = display.gaussian(torch.ones_like(frame.data), sigma, grey, seed, frame.grid.start)
        return frame.with_data(frame.data * gain)  # its variance is no line of the signal


@register("poisson_noise")
class PoissonNoise(DisplayNoise):
    """Counts: ``y = x + scale (Poisson(levels x) / levels - x)``; grey noise is that of the luma.

    Published chains set ``levels`` to the number of grey values found in a patch, rounded up to a power of 2; here it
    is stated, 256, so that a patch's noise does not change with its crop.

    >>> from degrade import Frame, Sensor, Space
    >>> grey = Frame(torch.full((1, 3, 64, 64), 0.5), Space.DISPLAY, Sensor.make())
    >>> noisy = PoissonNoise(scale=2.0, seed=1).apply(grey)
    >>> expected = 2 * (0.5 / 256) ** 0.5
    >>> abs(noisy.data.std().item() / expected - 1) < 0.02
    True
    """

    scale: Param[Annotated[float, Field(ge=0, le=100)]] = Field(description="of the noise, 1 is that of the counts")
    levels: Param[Annotated[float, Field(gt=0, le=65536)]] = Field(default=256.0, description="counts at white")
    grey: Param[Grey] = Field(default=0.0, description="share of the variance that is the luma's, the same in all")

    examples = (
        {"scale": {"uniform": [0.05, 3]}, "grey": {"choice": [0, 1]}},
        {"scale": 1, "levels": {"log_uniform": [4, 4000]}, "grey": 0.5},
    )

    @property
    def numbers(self) -> tuple[NDArray[Any], ...]:
        return _float(self.scale), _float(self.levels), _float(self.grey)

    def noisy(self, frame: Frame, seed: Tensor, *numbers: Tensor) -> Frame:
        scale, levels, grey = numbers
        data = display.poisson(frame.data, scale, levels, grey, seed, frame.grid.start)
        if frame.noise is None or bool(grey.any()):  # grey noise follows the luma: no line of a channel's own signal
            return frame.with_data(data)
        return frame.with_data(data, noise=more(frame.noise, 0, scale.square() / levels))


@register("correlated_noise")
class CorrelatedNoise(DisplayNoise):
    """White noise whose colours vary together, in a drawn way: ``y = x + sigma L n / 255``, ``L L^T`` the covariance.

    The covariance is ``|U^T D U|`` of three uniform eigenvalues D and a drawn basis U; ``sigma`` is its upper limit.

    Source: Zhang et al. 2021 (BSRGAN), 4.2.

    >>> from degrade import Frame, Sensor, Space
    >>> grey = Frame(torch.full((1, 3, 64, 64), 0.5), Space.DISPLAY, Sensor.make())
    >>> 0 < (CorrelatedNoise(sigma=25.0, colours=3, seed=1).apply(grey).data * 255).std().item() < 25
    True
    """

    sigma: Param[EightBit] = Field(description="standard deviation of the noisiest colour, at most [1/255]")
    colours: Param[int] = Field(default=Seed(), description="seed of the covariance")

    examples = ({"sigma": {"uniform": [5, 25]}},)

    @property
    def numbers(self) -> tuple[NDArray[Any], ...]:
        return np.asarray(self.colours), _float(self.sigma) / WHITE

    def noisy(self, frame: Frame, seed: Tensor, *numbers: Tensor) -> Frame:
        colours, sigma = numbers
        unit = display.correlated(seed, colours, frame.grid.start, frame.size)
        return frame.with_data(frame.data + column(sigma, frame.data) * unit)
