"""Examples of every operator, and frames to try them on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from degrade import Frame, Grid, Key, Sensor, Space

GAUSSIAN = {"psf": "gaussian", "sigma": {"uniform": [0.5, 1.5]}}
BLUR = {"op": "psf_blur", "radius": 4, "kernels": [GAUSSIAN]}
EXPOSURE = {"op": "exposure", "stops": {"uniform": [-1, 1]}}
NOISE = {"op": "sensor_noise", "iso": {"choice": [100, 800]}, "k1": 0.4, "k0": {"log_uniform": [1, 4]}}

#: By name: undrawn operators as a recipe writes them, with every kind of field that they have.
EXAMPLES: Mapping[str, list[dict[str, Any]]] = {
    "bad_pixels": [
        {"op": "bad_pixels", "hot": {"uniform": [0.01, 0.05]}, "dead": 0.02, "level": 0.7, "camera_seed": 3}
    ],
    "chain": [
        {"op": "chain", "steps": [EXPOSURE, BLUR, {"op": "downsample", "factor": 2}]},
        {"op": "chain", "steps": [BLUR | {"radius": 3}, {"op": "mosaic"}, NOISE]},
    ],
    "correlated_noise": [{"op": "correlated_noise", "sigma": {"uniform": [5, 25]}}],
    "crop": [
        {"op": "crop", "size": 16, "margin": 4, "per_photo": 7},
        {"op": "crop", "size": 8, "margin": 2, "per_photo": 7, "oversample": 2},
    ],
    "dark_current": [
        {"op": "dark_current", "rate": {"log_uniform": [0.1, 5]}, "temperature": {"uniform": [10, 40]}, "exposure": 10},
        {"op": "dark_current", "rate": 40, "temperature": 30, "exposure": {"choice": [1, 8]}, "mean": "subtract"}
        | {"gain": {"uniform": [0.1, 0.5]}, "per": "photo"},
    ],
    "depth_defocus": [
        {"op": "depth_defocus", "focus": {"uniform": [1, 3]}, "blur": {"uniform": [0, 6]}, "radius": 5, "layers": 4},
        {"op": "depth_defocus", "focus": {"log_uniform": [1, 3]}, "focal_length": 8, "f_number": {"choice": [2, 4]}}
        | {"radius": 6, "per": "photo"},
    ],
    "develop": [
        {"op": "develop", "curve": {"choice": ["srgb", "gamma"]}},
        {"op": "develop", "demosaic": {"choice": ["bilinear", "menon"]}, "curve": "filmic"},
    ],
    "darken_edges": [{"op": "darken_edges", "factor": {"uniform": [0, 0.8]}, "aux": "clipped"}],
    "day_to_night": [{"op": "day_to_night", "rods": {"uniform": [0.2, 1]}}],
    "downsample": [{"op": "downsample", "factor": 2}, {"op": "downsample", "factor": 3}],
    "edge_crop": [
        {"op": "edge_crop", "size": 16, "margin": 4, "per_photo": 7, "aux": "clipped", "share": 0.1},
        {"op": "edge_crop", "size": 8, "margin": 2, "per_photo": 7, "oversample": 2, "aux": "clipped"},
    ],
    "edges": [
        {"op": "edges", "threshold": {"uniform": [0.1, 0.9]}},
        {"op": "edges", "gradient": "prewitt", "aux": "lines", "per": "photo"},
    ],
    "exposure": [EXPOSURE, {"op": "exposure", "stops": {"normal": [0.5, 0.2, -1, 1]}, "per": "photo"}],
    "fog": [
        {"op": "fog", "beta": {"log_uniform": [0.01, 1]}, "airlight": {"uniform": [0.6, 0.95]}},
        {"op": "fog", "beta": {"choice": [0, 0.5]}, "scale_height": {"log_uniform": [1, 50]}, "tilt": 10}
        | {"per": "photo"},
    ],
    "full_well": [{"op": "full_well", "electrons": {"uniform": [2000, 9000]}, "gain": 0.4}],
    "gaussian_noise": [{"op": "gaussian_noise", "sigma": {"uniform": [1, 30]}, "grey": {"choice": [0, 0.3, 1]}}],
    "grid_crop": [{"op": "grid_crop", "size": 16, "margin": 4, "per_photo": 7, "stride": 10}],
    "illumination": [{"op": "illumination", "angle": {"uniform": [10, 40]}, "polynomial": [-0.2, 0.05]}],
    "jpeg": [
        {"op": "jpeg", "quality": {"integer": [5, 95]}, "sampling": "4:4:4"},
        {"op": "jpeg", "quality": {"choice": [30, 90]}, "sampling": {"choice": ["4:2:0", "4:2:2"]}, "per": "photo"},
    ],
    "lateral_chromatic": [
        {"op": "lateral_chromatic", "red": {"uniform": [0.2, 1.5]}, "blue": -0.5, "cubic": 0.4},
    ],
    "maybe": [{"op": "maybe", "p": 0.5, "do": BLUR}, {"op": "maybe", "p": 0.4, "do": NOISE}],
    "mosaic": [{"op": "mosaic"}],
    "one_of": [{"op": "one_of", "ops": [BLUR, EXPOSURE, NOISE], "weights": [1, 2, 1]}],
    "photon_noise": [
        {"op": "photon_noise", "iso": {"choice": [100, 3200]}, "tails": {"uniform": [-0.2, 0.2]}},
        {"op": "photon_noise", "iso": 800, "k1": 5, "k0": 1, "tails": {"choice": [None, 0.0]}, "source": "refuse"},
        {"op": "photon_noise", "iso": 800, "shot": "gaussian", "per": "photo"},
    ],
    "pixel_response": [{"op": "pixel_response", "prnu": {"uniform": [0, 0.02]}, "dsnu": 2, "camera_seed": 5}],
    "poisson_noise": [
        {"op": "poisson_noise", "scale": {"uniform": [0.05, 3]}, "grey": {"choice": [0, 1]}},
        {"op": "poisson_noise", "scale": 1, "levels": {"log_uniform": [4, 4000]}, "grey": 0.5},
    ],
    "psf_blur": [
        BLUR,
        BLUR
        | {
            "border": "reflect",
            "window": {"integer": [1, 4]},
            "kernels": [{"psf": "anisotropic_gaussian", "sigma_x": 1.5, "sigma_y": 0.7, "point": True}],
        },
        BLUR | {"kernels": [{"psf": "disc", "radius": [1.0, {"uniform": [0.6, 2.5]}, 1.5]}, {"psf": "pixel_aperture"}]},
        BLUR | {"kernels": [{"psf": "airy", "f_number": {"choice": [2.8, 8]}}, {"choice": [GAUSSIAN, GAUSSIAN]}]},
        BLUR
        | {
            "kernels": [
                {
                    "psf": "pupil",
                    "f_number": {"choice": [4, 8]},
                    "wavelength": [[0.58, 0.62], 0.54, 0.46],
                    "coma": {"uniform": [0.1, 0.4]},
                    "zernike": [{"noll": 4, "waves": {"normal": [0, 0.1, -0.2, 0.2]}}],
                    "blades": {"integer": [5, 7]},
                    "vignetting": 0.3,
                },
                {"psf": "olpf"},
            ]
        },
        BLUR | {"kernels": [{"psf": "gp_motion", "extent": 4}, {"psf": "annular", "radius": [1.5, 1.4, 1.3]}]},
        BLUR
        | {
            "kernels": [
                {
                    "choice": [
                        {"psf": "generalised_gaussian", "sigma_x": 1.2, "sigma_y": 0.6, "beta": {"uniform": [0.5, 4]}},
                        {"psf": "plateau_gaussian", "sigma_x": {"uniform": [0.4, 1]}, "beta": 1.5, "point": True},
                        {"psf": "anisotropic_gaussian", "sigma_x": 1.4, "sigma_y": 0.7, "rotation": 30},
                        {"psf": "sinc", "cutoff": {"uniform": [1.1, 3]}},
                        {"psf": "linear_motion", "length": 3, "angle": {"uniform": [-90, 90]}},
                        {"psf": "double_line", "length": 2, "separation": {"uniform": [1, 3]}},
                    ]
                }
            ]
        },
    ],
    "quantise": [{"op": "quantise"}],
    "recolour": [],  # looks at whole pictures, see test_style.py
    "reduce_colours": [
        {"op": "reduce_colours", "palette": [[0, 0, 0], [1, 0.2, 0.1], [0.3, 0.5, 1], [1, 1, 1]], "metric": m}
        for m in ("srgb", "linear", "lab")
    ],
    "relight": [
        {"op": "relight", "lights": [{"light": "directional", "azimuth": {"uniform": [0, 360]}, "elevation": 40}]}
        | {"taken": [{"light": "environment", "intensity": {"uniform": [0.5, 1]}}], "f0": {"uniform": [0, 0.1]}},
        {
            "op": "relight",
            "lights": [
                {"light": "point", "x": {"uniform": [-9, 9]}, "z": 20, "colour": [1, {"uniform": [0.5, 1]}, 0.4]},
                {"light": "area", "y": -30, "z": {"uniform": [20, 40]}, "width": 9, "height": 4, "samples": 2},
            ],
            "albedo": "map",
            "shadow": 6,
            "per": "photo",
        },
    ],
    "resize": [
        {"op": "resize", "scale": {"uniform": [0.3, 1.5]}, "filter": {"choice": ["bilinear", "area"]}}
        | {"antialias": False},
        {"op": "resize", "size": 8},
        {"op": "resize", "factor": 3, "filter": "mitchell", "prefilter": "gaussian"},
        {"op": "resize", "scale": 1.5, "filter": {"choice": ["lanczos", "hamming", "nearest"]}},
        {"op": "resize", "scale": 0.5, "filter": "area"},
    ],
    "row_noise": [
        {"op": "row_noise", "row": {"uniform": [0, 4]}, "column": 1, "band": 2, "period": {"uniform": [9, 30]}},
        {"op": "row_noise", "row": 1, "per": "photo"},
    ],
    "saturate": [{"op": "saturate", "level": {"uniform": [0.4, 0.8]}}],
    "sensor_noise": [
        NOISE,
        NOISE | {"iso": {"choice": [100, "photo"]}, "k1": [0.1, 0.2, 0.3, 0.4], "source": "subtract"},
        NOISE | {"per": "photo", "pedestal": False, "k0": None},
    ],
    "shuffle": [{"op": "shuffle", "steps": [EXPOSURE, BLUR, {"op": "saturate"}]}],
    "speckle_noise": [{"op": "speckle_noise", "sigma": {"uniform": [2, 25]}, "grey": {"uniform": [0, 1]}}],
    "usm": [{"op": "usm", "radius": 4, "weight": {"uniform": [0.3, 1]}, "threshold": {"uniform": [5, 20]}}],
    "smooth": [
        {"op": "smooth", "sigma": {"uniform": [0.5, 2]}, "radius": 6},
        {"op": "smooth", "method": "bilateral", "sigma": {"uniform": [0.5, 2]}, "contrast": 0.3, "radius": 2},
        {"op": "smooth", "method": "guided", "contrast": {"uniform": [0.05, 0.4]}, "radius": 6, "per": "photo"},
    ],
    "threads": [],  # looks at whole pictures, see test_style.py
    "unprocess": [
        {"op": "unprocess"},
        {"op": "unprocess", "matrices": [], "exposure": 1, "curve": {"choice": ["srgb", "gamma"]}, "per": "photo"},
    ],
    "unprocess_noise": [{"op": "unprocess_noise"}, {"op": "unprocess_noise", "shot": 0.01, "per": "photo"}],
    "video_frame": [
        {"op": "video_frame", "crf": {"integer": [20, 40]}, "margin": 4},
        {"op": "video_frame", "crf": 30, "frame": {"choice": ["intra", "inter"]}, "shift_x": {"integer": [-3, 3]}},
    ],
    "webp": [{"op": "webp", "quality": {"integer": [10, 90]}, "margin": 4}],
}


def sensors(b: int) -> Sensor:
    """Cameras that differ from row to row."""
    one = Sensor.make(
        b, bits=14, pitch=4.0, iso=200.0, k1=0.3, k0=2.0, white_balance=(2.0, 1.0, 1.5), half_diagonal=100.0
    )
    step = torch.arange(b, dtype=torch.float32)
    changed = {"black": 256 + 64 * step, "white": 4095 + 1000 * step, "pitch": 4 + step, "iso": 200 * (1 + step)}
    return Sensor(**{**one.__dict__, **changed, "centre": torch.zeros(b, 2)})


def photo(space: Space = Space.LINEAR, h: int = 160, w: int = 160, seed: int = 2) -> Frame:
    """A whole photo, nothing of it clipped and nothing known of its noise."""
    whole = frame(space, 1, (h, w), margin=0, seed=seed)
    return replace(whole, data=whole.data.clamp(0, 1), noise=None, aux={}, origin=torch.zeros(1, 2, dtype=torch.int64))


def frame(space: Space, b: int = 1, size: tuple[int, int] = (36, 36), margin: int = 6, seed: int = 1) -> Frame:
    """Rough pictures from -0.1 to 1.3 of mixed cameras, which hold some noise; ``margin`` is counted in ``size``."""
    rng = np.random.default_rng(seed)
    data = torch.from_numpy(rng.uniform(-0.1, 1.3, (b, space.channels, *size)).astype(np.float32))
    place = torch.from_numpy(rng.integers(0, 1000, (b, 2)) * 2)
    return Frame(
        data=data,
        space=space,
        sensor=sensors(b),
        grid=Grid(offset=(-float(margin), -float(margin))),
        origin=place,
        field=torch.from_numpy(rng.uniform(-1, 1, (b, 2)).astype(np.float32)),
        noise=torch.full((b, 2, space.channels), 1e-7),
        aux={"clipped": (data[:, :1] > 1.2).float(), **maps(b, size)},
    )


def maps(b: int, size: tuple[int, int]) -> dict[str, torch.Tensor]:
    """Rough maps of every kind: surfaces of several depths, normals that face the camera."""
    rng = np.random.default_rng(8)
    depth = rng.choice(np.array([0.8, 1.5, 2.5, 40.0], np.float32), (b, 1, *size))
    tilt = rng.uniform(-0.5, 0.5, (b, 2, *size))
    normal = np.concatenate((tilt, np.sqrt(1 - np.square(tilt).sum(1, keepdims=True))), axis=1)
    found = {"depth": depth, "normal": normal, "height": rng.uniform(0, 2, (b, 1, *size))}
    found["albedo"] = rng.uniform(0, 1, (b, 3, *size))
    return {n: torch.from_numpy(v.astype(np.float32)) for n, v in found.items()}


#: Parts of an address.
parts = st.lists(st.one_of(st.text(max_size=8), st.integers(-(2**70), 2**70)), min_size=1, max_size=4)
keys = st.builds(lambda seed, path: Key(seed).at(*path), st.integers(0, 2**53), parts)
