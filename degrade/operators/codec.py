"""Codecs: what a picture looks like after JPEG, WebP or a frame of H.264, on levels of 1/255.

JPEG works block by block, so that a patch is cut from a larger picture compressed: blocks start at the patch's own
corner, its margin belongs to further blocks. WebP and H.264 predict each block from those before it, so that a pixel
depends on the whole picture: they compress the patch with as much around it as ``margin`` says, whatever else there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from importlib.util import find_spec
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch.nn import functional

from degrade.core.errors import RecipeError
from degrade.core.frame import Frame, Space
from degrade.core.operator import Operator
from degrade.core.param import Param
from degrade.core.prior import Choice
from degrade.core.registry import register
from degrade.core.spec import Spec, up
from degrade.maths import jpeg

Sampling = Literal["4:4:4", "4:2:2", "4:2:0"]
Image = NDArray[np.uint8]


class Codec(Operator):
    """Base: DISPLAY in, clipped and put on 8-bit levels, DISPLAY out."""

    accepts: ClassVar[frozenset[Space]] = frozenset({Space.DISPLAY})

    def plan(self, spec: Spec) -> Spec:
        return replace(super().plan(spec), digital=True)


@register("jpeg")
class Jpeg(Codec):
    """Baseline JPEG there and back: the levels of libjpeg-turbo, bit for bit, without its bytes.

    >>> from degrade import Frame, Sensor, Space
    >>> ramp = Frame(torch.linspace(0, 1, 16).expand(1, 3, 16, 16), Space.DISPLAY, Sensor.make())
    >>> [round(v * 255) for v in Jpeg(quality=10).apply(ramp).data[0, 0, 0, ::4].tolist()]
    [1, 69, 141, 209]
    """

    quality: Param[Annotated[int, Field(ge=1, le=100)]] = Field(description="as libjpeg scales its tables, 1 to 100")
    sampling: Param[Sampling] = Field(default="4:2:0", description="chroma subsampling")

    examples = (
        {"quality": {"integer": [5, 95]}, "sampling": "4:4:4"},
        {"quality": {"choice": [30, 90]}, "sampling": {"choice": ["4:2:0", "4:2:2"]}, "per": "photo"},
    )

    @property
    def blocks(self) -> tuple[int, int]:
        """How far it looks beyond its blocks, and their side [pixels]."""
        drawn = self.sampling.values if isinstance(self.sampling, Choice) else (self.sampling,)
        # chroma is spread over its neighbours, which lie in the next block
        return (0, 8) if set(drawn) == {"4:4:4"} else (2, 16)

    def needs(self, spec: Spec, after: int) -> int:
        spread, block = self.blocks
        sizes = spec.size or (1,)  # of unknown sizes the worst
        ends = (up(n + after + spread, block) - n for n in sizes)
        return up(max(after + spread, *ends), block)

    def multiple(self, spec: Spec) -> int:
        return self.blocks[1]

    def apply(self, frame: Frame) -> Frame:
        return self.together([frame])[0]

    def together(self, frames: Sequence[Frame]) -> list[Frame]:
        sizes, (_, block), done = [len(f) for f in frames], self.blocks, list[Frame]()
        quality = torch.from_numpy(np.full(sum(sizes), self.quality))
        tables = (t.split(sizes) for t in jpeg.tables(quality, frames[0].data.device))
        for frame, luma, chroma in zip(frames, *tables, strict=True):
            top, left = (-margin % block for margin in _margin(frame))
            x = functional.pad(frame.data, (left, 0, top, 0), mode="replicate") if top or left else frame.data
            data = jpeg.requantised(x, luma, chroma, str(self.sampling))
            done.append(frame.with_data(data[..., top:, left:].contiguous() if top or left else data))
        return done


class WholeCodec(Codec):
    """Base of codecs of other libraries, row by row on the CPU, that make a pixel depend on the whole picture."""

    margin: int = Field(
        default=0, description="pixels around a patch compressed with it, for what follows and looks further", ge=0
    )

    def needs(self, spec: Spec, after: int) -> int:
        if after > self.margin and spec.size is not None:
            raise RecipeError(
                f"{self.op}: what follows looks {after} pixels beyond the patch, margin is {self.margin}: "
                f"set margin: {after} or more"
            )
        return max(after, self.margin)

    def coded(self, image: Image, row: int) -> Image:
        """One picture (h, w, 3) after the codec."""
        raise NotImplementedError

    def apply(self, frame: Frame) -> Frame:
        y, x = (max(0, n - self.margin) for n in _margin(frame))
        h, w = frame.size
        inside = frame.data[..., y : h - y, x : w - x]
        images = (inside.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        done = np.stack([self.coded(np.ascontiguousarray(image), row) for row, image in enumerate(images)])
        data = frame.data.clone()  # what lies further out is not valid after this
        data[..., y : h - y, x : w - x] = torch.from_numpy(done).to(data).permute(0, 3, 1, 2) / 255
        return frame.with_data(data)


@register("webp")
class WebP(WholeCodec):
    """Lossy WebP there and back, by libwebp.

    >>> from degrade import Frame, Sensor, Space
    >>> grey = Frame(torch.full((1, 3, 16, 16), 0.5), Space.DISPLAY, Sensor.make())
    >>> round(WebP(quality=50).apply(grey).data.mean().item() * 255)
    128
    """

    quality: Param[Annotated[int, Field(ge=0, le=100)]] = Field(description="libwebp's factor, 0 to 100")
    effort: int = Field(default=4, description="libwebp's method, 0 quick to 6 thorough", ge=0, le=6)

    examples = ({"quality": {"integer": [10, 90]}, "margin": 4},)

    def coded(self, image: Image, row: int) -> Image:
        import imagecodecs

        data = imagecodecs.webp_encode(image, level=_of(self.quality, row), lossless=False, method=self.effort)
        return np.asarray(imagecodecs.webp_decode(data))[..., :3]


@register("video_frame")
class VideoFrame(WholeCodec):
    """A frame of H.264 video, by x264 at a constant rate factor on one thread.

    The frame is coded by itself (``intra``), or predicted from one before (``inter``): the same picture shifted by
    ``shift_y`` and ``shift_x`` whole pixels, as a camera that pans sees it. Colour is full-range YCbCr 4:2:0 by the
    formulas of JPEG. Needs PyAV, ``pip install degrade[video]``.

    >>> from degrade import Frame, Sensor, Space
    >>> grey = Frame(torch.full((1, 3, 32, 32), 0.5), Space.DISPLAY, Sensor.make())
    >>> round(VideoFrame(crf=30).apply(grey).data.mean().item() * 255)
    128
    """

    crf: Param[Annotated[int, Field(ge=0, le=51)]] = Field(description="constant rate factor, 0 lossless to 51")
    frame: Param[Literal["intra", "inter"]] = Field(default="intra", description="coded by itself, or predicted")
    shift_y: Param[int] = Field(default=0, description="motion since the frame before, down [pixels]")
    shift_x: Param[int] = Field(default=0, description="motion since the frame before, to the right [pixels]")
    preset: Literal["ultrafast", "veryfast", "fast", "medium", "slow", "veryslow"] = Field(
        default="medium", description="x264's trade of time for quality"
    )

    examples = (
        {"crf": {"integer": [20, 40]}, "margin": 4},
        {"crf": 30, "frame": {"choice": ["intra", "inter"]}, "shift_x": {"integer": [-3, 3]}},
    )

    def plan(self, spec: Spec) -> Spec:
        if find_spec("av") is None:
            raise RecipeError("video_frame needs PyAV, which is not installed: pip install 'degrade[video]'")
        return super().plan(spec)

    def coded(self, image: Image, row: int) -> Image:
        h, w = image.shape[:2]
        now = _planes(image)
        shown = [now]
        if self.frame == "inter":
            shift = _of(self.shift_y, row), _of(self.shift_x, row)
            y, x = (np.clip(np.arange(n) + d, 0, n - 1) for n, d in zip((h, w), shift, strict=True))
            shown = [_planes(image[np.ix_(y, x)]), now]
        return _picture(_x264(shown, _of(self.crf, row), self.preset), h, w)


def _x264(shown: list[Image], crf: int, preset: str) -> Image:
    """The last of some frames, each (3 h / 2, w) of planar 4:2:0, after H.264."""
    import av

    (rows, w), packets = shown[0].shape, []
    encoder, decoder = av.CodecContext.create("libx264", "w"), av.CodecContext.create("h264", "r")
    encoder.width, encoder.height, encoder.pix_fmt = w, rows * 2 // 3, "yuv420p"
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"crf": str(crf), "preset": preset, "threads": "1", "bf": "0", "x264-params": "scenecut=0"}
    decoder.thread_count = 1
    for image in shown:
        packets += encoder.encode(av.VideoFrame.from_ndarray(image, format="yuv420p"))
    packets += encoder.encode(None)
    frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    return np.asarray(frames[-1].to_ndarray(format="yuv420p"), np.uint8)


def _planes(image: Image) -> Image:
    """(h, w, 3) as planar 4:2:0, (3 h' / 2, w') of the next even size."""
    h, w = image.shape[:2]
    even = np.pad(image, ((0, h % 2), (0, w % 2), (0, 0)), mode="edge")
    y, cbcr = jpeg.to_ycc(torch.from_numpy(even).permute(2, 0, 1)[None].float())
    cbcr = jpeg.reduced(cbcr, "4:2:0")[..., : even.shape[1] // 2]
    flat = torch.cat((y.flatten(), cbcr.flatten())).to(torch.uint8)
    return flat.reshape(-1, even.shape[1]).numpy()


def _picture(planes: Image, h: int, w: int) -> Image:
    """Planar 4:2:0 as (h, w, 3)."""
    rows, wide = planes.shape
    high = rows * 2 // 3
    y, cbcr = torch.from_numpy(planes.ravel()).float().split((high * wide, high * wide // 2))
    luma = y.reshape(1, 1, high, wide)
    chroma = jpeg.enlarged(cbcr.reshape(1, 2, high // 2, wide // 2), "4:2:0", luma)
    return jpeg.from_ycc(luma, chroma)[0, :, :h, :w].permute(1, 2, 0).to(torch.uint8).numpy()


def _margin(frame: Frame) -> tuple[int, int]:
    """Pixels, down and across, before the patch's own corner, or the nearest to it; 0 for a photo."""
    y, x = (max(0, round(-o / s)) for o, s in zip(frame.grid.offset, frame.grid.scale, strict=True))
    return y, x


def _of(value: Any, row: int) -> int:
    return int(value[row] if isinstance(value, np.ndarray) else value)
