"""An operator of somebody else's, as another package would bring it through the entry point."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from degrade import Frame, Operator, Param, Space, Uniform, register


@register("bleach")
class Bleach(Operator):
    """Mixes with white: ``y = x (1 - a) + a``."""

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.LINEAR})

    amount: Param[Annotated[float, Field(ge=0, le=1)]] = Field(default=Uniform(0.1, 0.2), description="a")

    def apply(self, frame: Frame) -> Frame:
        a = self.column("amount", frame)
        return frame.with_data(frame.data * (1 - a) + a)
