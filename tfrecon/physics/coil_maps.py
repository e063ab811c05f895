"""Coil sensitivity maps from the fully sampled centre of the k-space: ESPIRiT, and low-resolution images as the simple way.

NumPy, for one slice. Maps are normalised, sum over coils of |map|^2 = 1, with the phase of the first coil taken as 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DataError, UsageError
from .fourier import AXES, ifft2c

METHODS = ("espirit", "low_resolution")
_KERNEL = 6
_LEAST = 2  # rows and columns of the centre below which nothing can be said about coils


def estimate_maps(
    kspace: Any, mask: Any = None, method: str = "espirit", largest: int = 24, threshold: float = 0.02, crop: float = 0.0
) -> np.ndarray:
    """Coil maps of one slice from its calibration area, which `calibration_area` finds.

    Args:
        kspace: complex (coils, H, W), DC in the centre.
        mask: (H, W) or (W,), True where sampled; None: everywhere.
        method: "espirit": the eigenvectors of the calibration area's local correlations (Uecker et al., 2014). Where the
            area is smaller than 12 in a direction, kernels shrink with it. "low_resolution": coil images of the Hann-windowed
            area divided by their root sum of squares.
        largest: rows and columns of the area that are used at most.
        threshold: singular values below this share of the largest are noise (ESPIRiT).
        crop: maps are 0 where ESPIRiT's eigenvalue, at most about 1, is below; 0 keeps them everywhere, which a
            reconstruction of the whole image wants.

    Returns:
        complex64 (coils, H, W).

    Raises:
        UsageError: unknown method. DataError: the area is smaller than 2 x 2, or holds zeros only.
    """
    if method not in METHODS:
        raise UsageError(f"The method must be one of {', '.join(METHODS)}, received {method!r}.")
    kspace = np.asarray(kspace)
    if kspace.ndim != 3 or (mask is not None and np.shape(mask) not in (kspace.shape[1:], kspace.shape[2:])):
        raise UsageError(f"Expected k-space (coils, H, W) and a mask (H, W) or (W,), received {kspace.shape} and "
                         f"{None if mask is None else np.shape(mask)}.")
    area = calibration_area(np.ones(kspace.shape[-2:], bool) if mask is None else mask, kspace.shape[-2:])
    area = tuple(min(n, largest) for n in area)
    if min(area) < _LEAST:
        raise DataError(f"the fully sampled centre of the k-space is {area[0]} x {area[1]}; estimating coil maps needs at "
                        f"least {_LEAST} x {_LEAST}. Give maps (sens_maps), or a mask with a wider centre")
    centre = _middle(kspace, area)
    if not centre.any():
        raise DataError("the centre of the k-space is zero everywhere, which says nothing about coils")
    find = _espirit if method == "espirit" else _low_resolution
    maps, values = find(centre.astype(np.complex128), kspace.shape[-2:], threshold)
    maps = maps * np.exp(-1j * np.angle(maps[:1]))
    return np.where(values >= crop, maps, 0).astype(np.complex64)


def calibration_area(mask: Any, shape: tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) of a fully sampled rectangle around DC, grown by turns until neither side can grow."""
    mask = np.broadcast_to(np.asarray(mask).astype(bool), shape)
    size, growing = [0, 0], [True, True]
    while any(growing):
        for axis in (0, 1):
            wider = [n + (i == axis) for i, n in enumerate(size)] if size != [0, 0] else [1, 1]
            growing[axis] = wider[axis] <= shape[axis] and bool(_middle(mask, wider).all())
            size = wider if growing[axis] else size
    return size[0], size[1]


def _middle(x: np.ndarray, size: Any) -> np.ndarray:
    """The rectangle of that size around index n // 2 of the last two axes."""
    top, left = (n // 2 - m // 2 for n, m in zip(x.shape[-2:], size))
    return x[..., top : top + size[0], left : left + size[1]]


def _low_resolution(centre: np.ndarray, shape: tuple[int, int], _: float) -> tuple[np.ndarray, np.ndarray]:
    window = np.outer(*(np.hanning(n + 2)[1:-1] for n in centre.shape[-2:]))
    images = ifft2c(_padded(centre * window, shape))
    power = np.sqrt((np.abs(images) ** 2).sum(axis=0))
    return images / np.where(power > 0, power, 1), np.ones(shape)


def _espirit(centre: np.ndarray, shape: tuple[int, int], threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """First eigenvectors (coils, H, W) and eigenvalues (H, W) of the projection onto the area's row space."""
    coils = len(centre)
    kernel = tuple(min(_KERNEL, max(2, n // 2)) for n in centre.shape[1:])
    patches = np.lib.stride_tricks.sliding_window_view(centre, kernel, axis=AXES)
    rows = np.moveaxis(patches, 0, 2).reshape(-1, coils * kernel[0] * kernel[1])
    values, vectors = np.linalg.eigh(rows.conj().T @ rows)  # squared singular values
    kept = vectors[:, values > threshold**2 * values[-1]]
    gram = (kept @ kept.conj().T).reshape(coils, *kernel, coils, *kernel)
    # The images of all kernels' products at once: their correlations first, then one transform for each pair of coils.
    lags = np.zeros((coils, coils, 2 * kernel[0] - 1, 2 * kernel[1] - 1), complex)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            down, right = (slice(k - 1 - n, 2 * k - 1 - n) for k, n in zip(kernel, (i, j)))
            lags[..., down, right] += gram[:, i, j]
    field = ifft2c(_padded(lags, shape)) * np.sqrt(shape[0] * shape[1]) / (kernel[0] * kernel[1])
    matrices = field.transpose(2, 3, 0, 1)
    eigenvalues, eigenvectors = np.linalg.eigh((matrices + matrices.conj().swapaxes(2, 3)) / 2)
    return eigenvectors[..., -1].conj().transpose(2, 0, 1), eigenvalues[..., -1]


def _padded(centre: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Zeros around, the middle staying the middle (n // 2)."""
    before = [n // 2 - m // 2 for n, m in zip(shape, centre.shape[-2:])]
    sides = [(b, n - m - b) for b, n, m in zip(before, shape, centre.shape[-2:])]
    return np.pad(centre, [(0, 0)] * (centre.ndim - 2) + sides)
