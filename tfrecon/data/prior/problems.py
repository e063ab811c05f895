"""Pictures measured by several coils: the inverse problem of the seed's article, from pictures or from the prepared knee set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import DataError, shown
from ...hdf5 import get_dataset, guard, open_hdf5
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


def knee_pictures(
    path: Any, wanted: int | None = None, num_bits: int = 4, size: tuple[int, int] | None = None
) -> PictureProblem:
    """The problem in a file of `prepare_knees`: its pictures, maps and masks.

    The file's pictures are level / (2^bits - 1); they come to the middles of their levels and are measured anew there, so that
    a flow can make them.

    Args:
        wanted: so many of them, at even distances; None: all.
        num_bits: of the flow.
        size: (H, W) of the flow's pictures; None: any.

    Raises:
        DataError: imgs, maps or masks are missing, do not fit together or are of another size, a picture does not have
            2^num_bits levels, maps are not finite, a mask is not of zeros and ones or is all zeros.
    """
    with open_hdf5(path) as file, guard(path, "reading the knee set"):
        arrays = [get_dataset(file, key, "an array of the knee set") for key in _KNEE_KEYS]
        _check_shapes(path, *(tuple(array.shape) for array in arrays), size)
        chosen = evenly(arrays[0].shape[0], wanted)
        truth, maps, masks = (np.stack([array[i] for i in chosen]) for array in arrays)
    for i, picture, sensitivities, mask in zip(chosen, truth, maps, masks):
        _check_values(f"{shown(path)}, slice {i}", picture, sensitivities, mask, num_bits)
    levels = np.rint(truth * (2**num_bits - 1))
    return _measured((levels + 0.5) / 2.0**num_bits, maps, masks, f"{len(chosen)} pictures of the knee set")


def _check_shapes(path: Any, imgs: tuple, maps: tuple, masks: tuple, size: tuple[int, int] | None) -> None:
    if len(imgs) != 3 or len(maps) != 4 or (maps[0], *maps[2:]) != imgs or masks != imgs or not all((*imgs, *maps)):
        raise DataError(f"{shown(path)}: imgs {imgs}, maps {maps} and masks {masks} do not fit together; expected (slices, H, "
                        "W), (slices, coils, H, W) and (slices, H, W), at least one slice and coil")
    if size and imgs[1:] != tuple(size):
        raise DataError(f"{shown(path)}: pictures of {imgs[1]}x{imgs[2]}, the flow makes {size[0]}x{size[1]}; prepare the knee "
                        "set with another scale (data.prepare_knees), or train a flow of its size")


def _check_values(place: str, picture: np.ndarray, maps: np.ndarray, mask: np.ndarray, num_bits: int) -> None:
    top = 2**num_bits - 1
    if not np.isfinite(picture).all() or not np.isfinite(maps).all() or not maps.any():
        raise DataError(f"{place}: the picture or its maps hold NaN or infinity, or the maps are all zeros")
    levels = np.rint(picture.real * top)
    if np.iscomplexobj(picture) or levels.min() < 0 or levels.max() > top or np.abs(levels - picture * top).max() > 1e-3:
        raise DataError(f"{place}: expected a real picture in [0, 1] of {top + 1} levels, as many as the flow makes; prepare the "
                        f"knee set with {num_bits} bits first (data.prepare_knees)")
    if not np.isin(mask, (0, 1)).all() or not mask.any():
        raise DataError(f"{place}: expected a mask of zeros and ones, with ones")


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
