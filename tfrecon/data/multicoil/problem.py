"""One slice as a reconstruction takes it: measured k-space, coil maps and mask, divided by a scale that is kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import DataError, UsageError
from ...physics import ifft2c

SCALINGS = ("zero_filled_max", "none")


@dataclass(frozen=True)
class Problem:
    """A slice; times `scale` its numbers are in the file's units.

    Attributes:
        kspace: complex64 (coils, H, W), 0 where nothing was measured, divided by the scale.
        sens_maps: complex64 (coils, H, W).
        mask: float32 (H, W), 1 where measured.
        zero_filled: complex64 (H, W), A^H kspace.
        scale: the largest magnitude of the zero-filled image in the file's units; 1 for an empty slice.
    """

    kspace: np.ndarray
    sens_maps: np.ndarray
    mask: np.ndarray
    zero_filled: np.ndarray
    scale: float

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """What `models.unrolled` take, without the batch axis."""
        return {"kspace": self.kspace, "sens_maps": self.sens_maps, "mask": self.mask}


def problem_of(kspace: np.ndarray, maps: np.ndarray, mask: np.ndarray, scaling: str = "zero_filled_max") -> Problem:
    """Undersample a slice.

    Args:
        kspace, maps: complex64 (coils, H, W).
        mask: bool (W,) or (H, W).
        scaling: "zero_filled_max" or "none".

    Raises:
        DataError: the sizes differ, or nothing was measured.
    """
    check_coil_scaling(scaling)
    if maps.shape != kspace.shape:
        raise DataError(f"the coil maps are {maps.shape}, the k-space {kspace.shape}: both must be (coils, H, W)")
    if mask.shape[-1] != kspace.shape[-1] or mask.shape not in (kspace.shape[-1:], kspace.shape[-2:]):
        raise DataError(f"the mask is {mask.shape}, the k-space {kspace.shape}: it must be (W,) or (H, W)")
    if not mask.any():
        raise DataError("the mask is all zeros, so nothing was measured")
    # where, not a product: what was not measured may hold NaN.
    measured = np.where(mask, kspace, np.zeros((), kspace.dtype))
    zero_filled = combine(measured, maps)
    scale = float(np.abs(zero_filled).max()) or 1.0 if scaling == "zero_filled_max" else 1.0
    full = np.broadcast_to(mask, kspace.shape[-2:]).astype(np.float32)
    factor = np.float32(1 / scale)
    return Problem(measured * factor, maps, full, zero_filled * factor, scale)


def combine(kspace: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """The coils' images weighted by their maps: complex64 (H, W) from (coils, H, W)."""
    return (ifft2c(kspace) * maps.conj()).sum(axis=0).astype(np.complex64)


def measured_columns(kspace: np.ndarray) -> np.ndarray:
    """The columns of k-space (coils, H, W) that is undersampled already, which are not zero: bool (W,)."""
    return np.any(kspace, axis=(0, 1))


def check_coil_scaling(scaling: str) -> None:
    """UsageError unless the scaling is one that complex images have."""
    if scaling not in SCALINGS:
        raise UsageError(f"Complex images are scaled by {' or '.join(SCALINGS)}, received {scaling!r}.")
