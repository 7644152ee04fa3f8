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
    "crop": [
        {"op": "crop", "size": 16, "margin": 4, "per_photo": 7},
        {"op": "crop", "size": 8, "margin": 2, "per_photo": 7, "oversample": 2},
    ],
    "dark_current": [
        {"op": "dark_current", "rate": {"log_uniform": [0.1, 5]}, "temperature": {"uniform": [10, 40]}, "exposure": 10},
        {"op": "dark_current", "rate": 40, "temperature": 30, "exposure": {"choice": [1, 8]}, "mean": "subtract"}
        | {"gain": {"uniform": [0.1, 0.5]}, "per": "photo"},
    ],
    "downsample": [{"op": "downsample", "factor": 2}, {"op": "downsample", "factor": 3}],
    "exposure": [EXPOSURE, {"op": "exposure", "stops": {"normal": [0.5, 0.2, -1, 1]}, "per": "photo"}],
    "full_well": [{"op": "full_well", "electrons": {"uniform": [2000, 9000]}, "gain": 0.4}],
    "grid_crop": [{"op": "grid_crop", "size": 16, "margin": 4, "per_photo": 7, "stride": 10}],
    "illumination": [{"op": "illumination", "angle": {"uniform": [10, 40]}, "polynomial": [-0.2, 0.05]}],
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
    "psf_blur": [
        BLUR,
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
        aux={"clipped": (data[:, :1] > 1.2).float()},
    )


#: Parts of an address.
parts = st.lists(st.one_of(st.text(max_size=8), st.integers(-(2**70), 2**70)), min_size=1, max_size=4)
keys = st.builds(lambda seed, path: Key(seed).at(*path), st.integers(0, 2**53), parts)
