"""The demo: three RAW photographs of real scenes, pairs from them, a look at them, a check, and a short training.

The scenes are colour pictures from the scikit-image wheel. Each is enlarged four times so that its means over 4 x 4
pixels are the picture itself, turned into linear camera RGB of an invented camera, sampled through a Bayer mosaic and
written as DNG: read at ``shrink: 4`` it is the scene at its own sharpness.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from degrade.core.progress import Progress
from degrade.gear.cameras import Camera
from degrade.maths import bayer
from degrade.maths.colour import apply_matrix, camera_to_srgb, srgb_decode
from degrade.maths.resample import area
from degrade.pairs.run import Report, build
from degrade.pairs.store import PatchStore
from degrade.photos import write_dng
from degrade.recipe.recipe import Recipe

SCENES = ("astronaut", "coffee", "rocket")
ENLARGE = 4
BLACK, WHITE = 512, 16383
GAINS = (2.1, 1.0, 1.6)  #: white balance of the invented camera
XYZ_TO_CAMERA = ((0.7171, -0.1986, -0.0648), (-0.8085, 1.5555, 0.2718), (-0.2170, 0.2512, 0.7457))


def enlarge(scene: Tensor, factor: int = ENLARGE, rounds: int = 8) -> Tensor:
    """Enlarges (b, c, h, w) smoothly so that the means over ``factor`` x ``factor`` pixels give the scene back.

    Bicubic interpolation, then back-projection of what the means still lack (Irani & Peleg 1991).

    >>> scene = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    >>> bool((area(enlarge(scene), 4) - scene).abs().max() < 0.01)
    True
    """

    def larger(x: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(x, scale_factor=factor, mode="bicubic", align_corners=False)

    out = larger(scene)
    for _ in range(rounds):
        out = out + larger(scene - area(out, factor))
    return out


def camera_rgb(srgb: Tensor) -> Tensor:
    """(b, 3, h, w) sRGB picture as linear RGB of the invented camera, unbalanced, white at 1 in green."""
    to_camera = torch.linalg.inv(camera_to_srgb(torch.tensor(XYZ_TO_CAMERA)))
    return apply_matrix(to_camera, srgb_decode(srgb)) / torch.tensor(GAINS).reshape(1, 3, 1, 1)


def make_photo(name: str, path: Path) -> None:
    """Writes the RAW photograph of one scene."""
    import skimage.data

    picture = cast("NDArray[np.uint8]", getattr(skimage.data, name)())
    scene = torch.from_numpy(picture[..., :3].copy()).permute(2, 0, 1)[None].float() / 255
    even = scene[..., : scene.shape[-2] // 2 * 2, : scene.shape[-1] // 2 * 2]
    raw = bayer.unpack(bayer.mosaic(enlarge(camera_rgb(even)).clamp(0, 1)))[0]
    dn = torch.round(raw * (WHITE - BLACK) + BLACK).numpy().astype(np.uint16)
    write_dng(
        path,
        dn,
        black=BLACK,
        white=WHITE,
        iso=100,
        exposure=1 / 60,
        white_balance=GAINS,
        matrix=XYZ_TO_CAMERA,
        make="degrade",
        model="degrade demo camera",
    )


def check_noise(store: PatchStore) -> list[tuple[float, float, float]]:
    """Measured noise variance against the formula, by ISO.

    The residual ``noise - clean`` is squared and averaged over samples that the ADC did not clip, and so is
    ``[k1 (S - OB) + k0] ISO / 100`` with S the blurred signal; rounding adds 1/12 DN^2 to each of the two planes.

    Returns:
        (ISO, measured, expected) in DN^2.
    """
    camera = Camera.named(str(store.recipe.source.camera))
    k1, k0 = (np.array(k, np.float64).reshape(1, 4, 1, 1) for k in (camera.k1, camera.k0))
    iso = store.columns["noise.iso"][store.rows]
    found: list[tuple[float, float, float]] = []
    for level in np.unique(iso):
        rows = store.rows[iso == level][:64]
        clean, noise, blur = (store.read(p, rows, dn=True).astype(np.float64) for p in ("clean", "noise", "blur"))
        black, white = (store.columns[n][rows].reshape(-1, 1, 1, 1) for n in ("black", "white"))
        expected = (k1 * np.maximum(blur - black, 0) + k0) * level / 100 + 2 / 12
        room = 6 * np.sqrt(expected)
        good = (blur + room < white) & (clean + room < white) & (clean - room > 0)
        found.append((float(level), float(((noise - clean)[good] ** 2).mean()), float(expected[good].mean())))
    return found


def train(store: PatchStore, steps: int = 20) -> list[float]:
    """A ten-line network that learns the noise map, and its loss at each step."""
    generator = torch.Generator().manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(4, 24, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(24, 24, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(24, 4, 3, padding=1),
    )
    for weights in net.parameters():
        if weights.ndim == 1:
            torch.nn.init.zeros_(weights)
        else:
            torch.nn.init.kaiming_normal_(weights, generator=generator)
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
    losses: list[float] = []
    batches: Any = iter(store.loader(16, planes=("noise_blur", "blur"), seed=0))
    for _ in range(steps):
        batch = next(batches)
        loss = (net(batch["noise_blur"]) - (batch["blur"] - batch["noise_blur"])).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def demo(
    folder: str | os.PathLike[str],
    *,
    workers: int | None = None,
    say: Callable[[str], object] = print,
    progress: Progress | None = None,
) -> Report:
    """Makes photos, pairs and a contact sheet in ``folder``, and tells what it measured.

    Raises:
        StoreError: if ``pairs.zarr`` there was built otherwise.
    """
    from degrade.look.sheet import contact_sheet

    home = Path(folder)
    (home / "photos").mkdir(parents=True, exist_ok=True)
    for name in SCENES:
        path = home / "photos" / f"{name}.dng"
        if not path.exists():
            say(f"writing {path}")
            make_photo(name, path)
    report = build(
        Recipe.load("residual-maps"), home / "photos", home / "pairs.zarr", workers=workers, progress=progress
    )
    say(f"{report.store}: {report.rows} rows of {report.photos} photos")
    store = PatchStore(report.store)
    say("noise variance, measured against [k1 (S - OB) + k0] ISO/100 [DN^2]")
    for iso, measured, expected in check_noise(store):
        say(
            f"  ISO {iso:5.0f}   measured {measured:10.2f}   formula {expected:10.2f}   ratio {measured / expected:.3f}"
        )
    contact_sheet(store, home / "sheet.png")
    say(f"{home / 'sheet.png'}: look at it")
    losses = train(store)
    say(f"20 training steps from the loader: loss {losses[0]:.4f} -> {losses[-1]:.4f}")
    return report
