"""The kernel of a measured lens: a place in the states, the field and the channels of a lens file.

Kernels of the four neighbouring nodes are blended bilinearly. With f in cycles a pixel of the plane and samples ``r``
pixels apart the transfer function is ``sum K[y, x] exp(-2 pi i r (fy y + fx x))``, exact for any r; the samples say
nothing beyond their own Nyquist frequency, ``|r f| > 1/2``, and it is 0 there.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal, Self, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor

from degrade.core.errors import RecipeError
from degrade.core.frame import Sensor
from degrade.core.param import Param
from degrade.core.prior import Choice, Prior, bounds
from degrade.gear.lens import Lens
from degrade.maths.fourier import frequencies
from degrade.operators.kernels import ApertureKernel, Kernel, by_channel


class LensKernel(Kernel):
    """A lens from a file; on sensors of another pitch than its samples' it is resampled exactly."""

    lengths: ClassVar[int] = 1

    psf: Literal["lens"] = "lens"
    file: str = Field(description="a .npz or .zarr, or the name of one in the folder of one's own lenses")
    state: Param[Annotated[int, Field(ge=0)]] = Field(
        default=0,
        description="number of a state; all of them by default, or those of `{f_number: [2.8, 4]}`, a column's bounds",
    )

    @property
    def lens(self) -> Lens:
        """The file's content."""
        return Lens.named(self.file)

    @model_validator(mode="before")
    @classmethod
    def _every_state(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(cast("dict[str, Any]", given).get("file"), str):
            return given
        fields = cast("dict[str, Any]", given)
        lens, state = Lens.named(fields["file"]), fields.get("state")
        if state is None:
            state = 0 if len(lens) == 1 else {"integer": [0, len(lens) - 1]}
        elif isinstance(state, dict) and not (state.keys() <= Prior.named.keys()):
            fit = lens.where(cast("dict[str, Any]", state))
            state = fit[0] if len(fit) == 1 else {"choice": fit}
        return {**fields, "state": state}

    @model_validator(mode="after")
    def _known(self) -> Self:
        last = len(self.lens) - 1
        if bounds(self.state)[1] > last:
            raise RecipeError(f"state: lens {self.file!r} has states 0 to {last}, got {bounds(self.state)[1]}")
        return self

    def values(self, sensor: Sensor, field: Tensor) -> Tensor:
        """Distance of samples in pixels of the sensor or in those of the plane (one is 0); state, y, x, channel."""
        lens = self.lens
        y, x = lens.place(field)
        pixels, ratio = (1.0, 0.0) if lens.pitch is None else (0.0, lens.pitch / self._pitch(sensor))
        return by_channel(pixels, ratio, self.state, y, x, (0.0, 1.0, 2.0))

    def suits(self, sensor: Sensor) -> None:
        if self.lens.pitch is not None:
            self._pitch(sensor)

    def _pitch(self, sensor: Sensor) -> Tensor:
        pitch = sensor.pitch.double().cpu()
        if not bool(torch.isfinite(pitch).all()):
            raise RecipeError(
                f"psf_blur: lens {self.file!r} is sampled every {self.lens.pitch:g} um, so it needs the pixel pitch: "
                "name a camera in `source: {camera: ...}`"
            )
        return pitch

    def blended(self, values: Tensor) -> Tensor:
        """(u, 6) numbers to (u, k, k) float32 kernels."""
        psf = torch.from_numpy(self.lens.psf)
        _, rows, columns, channels = psf.shape[:4]
        state, channel = values[:, 2].long(), values[:, 5].long()
        top, left = (values[:, i].long().clamp(max=max(n - 2, 0)) for i, n in ((3, rows), (4, columns)))
        down, right = ((values[:, i] - at).float()[:, None, None] for i, at in ((3, top), (4, left)))
        below, beside = min(rows - 1, 1), min(columns - 1, 1)
        every = psf.flatten(0, 3)

        def node(y: Tensor, x: Tensor) -> Tensor:
            return every[((state * rows + y) * columns + x) * channels + channel]

        upper = torch.lerp(node(top, left), node(top, left + beside), right)
        lower = torch.lerp(node(top + below, left), node(top + below, left + beside), right)
        return torch.lerp(upper, lower, down)

    def spatial(self, values: Tensor, radius: int) -> tuple[Tensor, Tensor] | None:
        edge = radius - self.lens.radius()
        if edge < 0 or bool(((values[:, 0] + values[:, 1] - 1).abs() > 1e-6).any()):
            return None
        return torch.nn.functional.pad(self.blended(values), (edge,) * 4), torch.zeros(len(values))

    def transfer(self, values: Tensor, size: int) -> Tensor:
        reach = self.lens.radius()
        kernel = self.blended(values).to(torch.complex128)
        at = torch.arange(-reach, reach + 1, dtype=torch.float64)
        fy, fx = frequencies((size, size))
        done = kernel.new_empty(len(kernel), size, size // 2 + 1)
        ratios = values[:, 0] + values[:, 1]
        for ratio in ratios.unique().tolist():
            if reach * ratio > size // 2:
                raise RecipeError(
                    f"lens {self.file!r} reaches {math.ceil(reach * ratio)} pixels each way, further than the working "
                    f"grid of {size} pixels: give a larger radius"
                )
            # outside the lens' own band its samples say nothing
            wave_y, wave_x = (
                torch.exp(-2j * math.pi * ratio * f.reshape(-1, 1) * at) * (f.reshape(-1, 1).abs() * ratio <= 0.5)
                for f in (fy, fx)
            )
            rows = (ratios == ratio).nonzero()[:, 0]
            done[rows] = wave_y @ kernel[rows] @ wave_x.T
        return done


def check_lenses(kernels: tuple[Any, ...], radius: int, sensor: Sensor | None = None) -> None:
    """Whether lenses fit into a blur, on a camera (one row) or as far as is known without one.

    Raises:
        RecipeError: if a lens is wider than the radius, or the photosite's aperture would count twice.
    """
    each = [k.values if isinstance(k, Choice) else (k,) for k in kernels]
    for i, lens in ((i, k) for i, alternatives in enumerate(each) for k in alternatives if isinstance(k, LensKernel)):
        lens.lens.check(lens.file, radius, None if sensor is None else sensor.pitch[0].item())
        others = (k for j, alternatives in enumerate(each) for k in alternatives if j != i)
        if lens.lens.includes_aperture and any(isinstance(k, ApertureKernel) for k in others):
            raise RecipeError(
                f"psf_blur: lens {lens.file!r} includes the photosite's aperture, so pixel_aperture would count it "
                "twice: leave it out"
            )
