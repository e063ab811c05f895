"""Pictures measured by several coils: the inverse problem of the seed's article, from pictures or from the prepared knee set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import DataError
from ...hdf5 import get_dataset, guard, open_hdf5, shown
from ...physics import fft2c
from ...physics.masks import variable_density_mask

_KNEE_KEYS = ("imgs", "maps", "masks")


@dataclass(frozen=True)
class PictureProblem:
    """Pictures and their measurement, all on one scale.

    Attributes:
        truth: float32 (N, H, W) in [0, 1], the middles of 2^bits levels: (level + 0.5) / 2^bits, the scale of a flow's
            G(z) / 2^bits.
        inputs: "kspace", "sens_maps" complex64 (N, coils, H, W), "mask" float32 (N, H, W), as `models.unrolled` take them.
        source: a sentence that says where pictures, maps and masks come from.
    """

    truth: np.ndarray
    inputs: dict[str, np.ndarray]
    source: str


def measured_pictures(
    pictures: np.ndarray, num_bits: int = 4, acceleration: float = 5.0, coils: int = 8, seed: int = 0
) -> PictureProblem:
    """Measure pictures with invented coils and masks of single points.

    Args:
        pictures: (N, H, W), 0..255; their levels are floor(p / 2^(8 - bits)).
        num_bits: levels.
        acceleration: of the variable-density masks, another one for each picture.
        coils: Gaussian sensitivities around the field with a phase each, the same for all pictures.
        seed: of phases and masks.
    """
    pictures = np.asarray(pictures)
    count, height, width = pictures.shape
    truth = (np.floor(pictures / 2.0 ** (8 - num_bits)) + 0.5) / 2.0**num_bits
    maps = np.broadcast_to(invented_maps((height, width), coils, seed), (count, coils, height, width))
    side = max(2, min(16, int(np.sqrt(height * width / acceleration / 2))))
    masks = np.stack([variable_density_mask((height, width), acceleration, side, seed=seed + i) for i in range(count)])
    source = f"{count} pictures of {height}x{width}, {coils} invented coils, masks of points at {acceleration:g}x"
    return _measured(truth, maps, masks, source)


def knee_pictures(path: Any, wanted: int | None = None, num_bits: int = 4) -> PictureProblem:
    """The problem in a file of `prepare_knees`: its pictures, maps and masks.

    The file's pictures are level / (2^bits - 1); they come to the middles of their levels and are measured anew there, so that
    a flow can make them.

    Args:
        wanted: so many of them, at even distances; None: all.
        num_bits: of the flow.

    Raises:
        DataError: imgs, maps or masks are missing, do not fit together, or the pictures do not have 2^num_bits levels.
    """
    with open_hdf5(path) as file, guard(path, "reading the knee set"):
        arrays = [get_dataset(file, key, "an array of the knee set") for key in _KNEE_KEYS]
        chosen = evenly(arrays[0].shape[0], wanted)
        truth, maps, masks = (np.stack([array[i] for i in chosen]) for array in arrays)
    if truth.ndim != 3 or maps.ndim != 4 or maps[:, 0].shape != truth.shape or masks.shape != truth.shape:
        raise DataError(f"{shown(path)}: imgs {truth.shape}, maps {maps.shape} and masks {masks.shape} do not fit together")
    levels = np.rint(truth.real * (2**num_bits - 1))
    if np.iscomplexobj(truth) or levels.min() < 0 or not np.allclose(levels, truth * (2**num_bits - 1), atol=1e-3) or (
            levels.max() >= 2**num_bits):
        raise DataError(f"{shown(path)}: imgs must be real pictures in [0, 1] of {2**num_bits} levels, as many as the flow "
                        f"makes; prepare the knee set with {num_bits} bits first (data.prepare_knees)")
    return _measured((levels + 0.5) / 2.0**num_bits, maps, masks > 0, f"{len(chosen)} pictures of the knee set")


def evenly(count: int, wanted: int | None) -> list[int]:
    """`wanted` of the numbers 0 to count - 1 (all where there are fewer), at even distances from 0."""
    wanted = min(wanted or count, count)
    return [i * count // wanted for i in range(wanted)]


def invented_maps(shape: tuple[int, int], coils: int, seed: int = 0) -> np.ndarray:
    """Sensitivities complex64 (coils, H, W) of coils around the field; the sum of their squares is 1 everywhere."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    angles = 2 * np.pi * np.arange(coils) / coils
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, coils)
    maps = np.stack([np.exp(-((x - 1.2 * np.cos(a)) ** 2 + (y - 1.2 * np.sin(a)) ** 2) / 2 + 1j * p)
                     for a, p in zip(angles, phases)])
    return (maps / np.sqrt((np.abs(maps) ** 2).sum(0))).astype(np.complex64)


def _measured(truth: np.ndarray, maps: np.ndarray, masks: np.ndarray, source: str) -> PictureProblem:
    maps, masks = maps.astype(np.complex64), masks.astype(np.float32)
    kspace = (fft2c(truth[:, None] * maps) * masks[:, None]).astype(np.complex64)
    return PictureProblem(truth.astype(np.float32), {"kspace": kspace, "sens_maps": maps, "mask": masks}, source)
