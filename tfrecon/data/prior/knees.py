"""Preparation of the knee set in DeepInPy's layout (imgs, ksp, maps, masks): bit scaling, resizing, k-space anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError, UsageError, shown
from ...files import hdf5_when_complete
from ...hdf5 import get_dataset, guard, open_hdf5
from ...physics import fft2c

_SOURCES = {"imgs": 3, "maps": 4, "masks": 3}


def bit_scale(image: Any, bits: int) -> np.ndarray:
    """Magnitudes in 2^bits levels: round((|x| - min) (2^bits - 1) / (max - min)), halves to even; 0 for a flat image.

    Args:
        image: real or complex (H, W).
        bits: 1 to 8.

    Returns:
        uint8 (H, W), 0 to 2^bits - 1. Divide by 2^bits - 1 for [0, 1].

    Reference: SamiKhandker/ImprovingMRIQuality@9f53d9e mcmri_preprocessing (OpenCV `normalize`, NORM_MINMAX). It subtracts
        the MINIMUM, so levels are no longer proportional to the magnitude.
    """
    if isinstance(bits, bool) or bits not in range(1, 9):
        raise UsageError(f"The bits must be a whole number from 1 to 8, received {bits!r}.")
    magnitude = np.abs(np.asarray(image)).astype(np.float64)
    low, high = magnitude.min(), magnitude.max()
    factor = (2**bits - 1) / (high - low) if high > low else 0.0
    return np.rint(magnitude * factor - low * factor).astype(np.uint8)


def resize_area(image: Any, scale: float) -> np.ndarray:
    """Shrink by area: every pixel of the result is the mean of what it covers (the last two axes).

    Args:
        image: (..., H, W); complex ones part by part; uint8 stays uint8, halves rounded to even.
        scale: above 0 and at most 1; the result has round(H scale) x round(W scale) pixels.

    Returns:
        Array (..., h, w): float64, complex128 or uint8.

    Reference: same (OpenCV `resize`, INTER_AREA; maps real and imaginary part apart).
    """
    image = np.asarray(image)
    down, across = (_area_weights(n, _shrunk(n, scale)) for n in image.shape[-2:])
    result = down @ image.astype(np.result_type(image.dtype, np.float64)) @ across.T
    return np.rint(result).astype(np.uint8) if image.dtype == np.uint8 else result


def resize_nearest(image: Any, scale: float) -> np.ndarray:
    """Shrink by taking single pixels, index floor(i / scale) (the last two axes): for masks, which must stay 0 and 1."""
    image = np.asarray(image)
    rows, columns = (np.minimum((np.arange(_shrunk(n, scale)) / scale).astype(int), n - 1) for n in image.shape[-2:])
    return image[..., rows[:, None], columns]


def prepare_knees(
    source: Any, out: Any, bits: int = 4, scale: float = 1.0, indices: Sequence[int] | None = None, transpose: bool = True
) -> Path:
    """Write a data set for the unrolled reconstructions and the spline flow's inverse problem.

    Every slice is transposed, resized, scaled to 2^bits levels in [0, 1], and measured anew, without a mask: ksp =
    fft2c(image maps). So the full k-space fits the image exactly ("inverse crime"), as in the article.

    Args:
        source: HDF5 file with imgs (slices, H, W), maps (slices, coils, H, W) and masks (slices, H, W).
        out: file to write: imgs float64 in [0, 1], ksp and maps complex128, masks float64, and `kspace`, the same array as
            ksp, so that every command reads it.
        bits, scale: see `bit_scale` and `resize_area`.
        indices: slices to take; None: 0, 100, ..., 1400, the article's test pictures.
        transpose: swap height and width first, as the original.

    Raises:
        DataError: keys are missing, sizes differ, or slices are not there. UsageError: bits or scale out of range.

    Reference: SamiKhandker/ImprovingMRIQuality@9f53d9e mcmri_preprocessing, cells 47-52.
    """
    wanted = list(range(0, 1500, 100) if indices is None else indices)
    with open_hdf5(source) as file, guard(source, "reading the knee set"):
        arrays = {key: get_dataset(file, key, f"an array of {rank} axes") for key, rank in _SOURCES.items()}
        _check_layout(arrays, wanted, source)
        slices = [_prepared(arrays, i, bits, scale, transpose) for i in wanted]
    out = Path(out)
    with hdf5_when_complete(out) as file:
        for key in slices[0]:
            file[key] = np.stack([one[key] for one in slices])
        file["kspace"] = file["ksp"]  # a hard link: no second copy
        file.attrs.update({"bits": bits, "scale": scale, "indices": wanted})
    return out


def _prepared(arrays: dict[str, Any], i: int, bits: int, scale: float, transpose: bool) -> dict[str, np.ndarray]:
    image, maps, mask = (np.asarray(arrays[key][i]) for key in _SOURCES)
    if transpose:
        image, maps, mask = (x.swapaxes(-2, -1) for x in (image, maps, mask))
    if scale != 1:
        image, maps, mask = resize_area(np.abs(image), scale), resize_area(maps, scale), resize_nearest(mask, scale)
    levels = bit_scale(image, bits) / (2**bits - 1)
    ksp = fft2c(levels * maps.astype(np.complex128))
    return {"imgs": levels, "ksp": ksp, "maps": maps.astype(np.complex128), "masks": mask.astype(np.float64)}


def _check_layout(arrays: dict[str, Any], wanted: list[int], source: Any) -> None:
    shapes = {key: tuple(array.shape) for key, array in arrays.items()}
    same = {(shape[0], *shape[-2:]) for shape in shapes.values()}
    if any(len(shapes[key]) != rank for key, rank in _SOURCES.items()) or len(same) != 1:
        raise DataError(f"{shown(source)}: expected imgs and masks (slices, H, W) and maps (slices, coils, H, W) of one "
                        f"size, found {shapes}")
    count = shapes["imgs"][0]
    if not wanted or min(wanted) < 0 or max(wanted) >= count:
        raise DataError(f"{shown(source)}: has slices 0 to {count - 1}, asked for {wanted[:5]}; give other indices")


def _shrunk(n: int, scale: float) -> int:
    if not 0 < scale <= 1:
        raise UsageError(f"The scale must lie above 0 and be at most 1, received {scale!r}.")
    return max(1, round(n * scale))


def _area_weights(n: int, m: int) -> np.ndarray:
    """(m, n): the share of each input pixel in each output pixel."""
    edges = np.arange(m + 1) * (n / m)
    pixels = np.arange(n)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.clip(overlap, 0, None) * (m / n)
