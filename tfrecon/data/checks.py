"""Looks at one slice for the mistakes that make a picture wrong without raising an error."""

from __future__ import annotations

import numpy as np

from ..physics import ifft2c
from ..transforms import best_fit_scale, center_crop

MEASURED = 0.95  # share of the columns from which on k-space counts as whole
_EVEN_EDGES = 0.05
_CENTRE = 0.125
_SCALE_TOLERANCE = 0.05
_CORRELATION = 0.9


def examine_slice(kspace: np.ndarray, target: np.ndarray | None = None) -> list[str]:
    """Sentences about what looks wrong in one slice; empty when nothing does.

    Args:
        kspace: complex (H, W) or (coils, H, W).
        target: real (h, w) or None.
    """
    found = []
    fraction = sampled_fraction(kspace)
    if 0 < fraction < MEASURED:
        found.append(
            f"{fraction:.0%} of the k-space columns are measured, the others are zero: the data are already "
            "undersampled, and a mask on top leaves even less"
        )
    offset = peak_offset(kspace)
    if offset > _CENTRE:
        found.append(
            f"the largest k-space sample lies {offset:.0%} of the field off the centre: the data may not be "
            "shifted; try --shift"
        )
    if target is not None and kspace.ndim == 2 and not found:
        found += _compare(np.abs(ifft2c(kspace)), target)
    if target is not None and target.any() and target.min() == target.max():
        found.append(f"the target is constant, {float(target.flat[0]):.3g} everywhere")
    if target is not None and (target < 0).any():
        found.append("the target has negative values though it should be a magnitude; they are kept")
    return found


def sampled_fraction(kspace: np.ndarray) -> float:
    """Share of measured columns, edges that are padding left out; 0 for an empty slice.

    Padding to a size, as fastMRI's knees have it, leaves columns of zeros at both edges alike and at least half of the
    width between them. Anything else (one side only, a narrow centre) is undersampling.
    """
    width = kspace.shape[-1]
    measured = np.flatnonzero(np.any(kspace, axis=tuple(range(kspace.ndim - 1))))
    if not measured.size:
        return 0.0
    left, right = int(measured[0]), int(width - 1 - measured[-1])
    padded = abs(left - right) <= 1 + _EVEN_EDGES * width and left + right <= width / 2
    return measured.size / float(width - left - right if padded else width)


def peak_offset(kspace: np.ndarray) -> float:
    """Distance of the largest sample from the centre, as a share of the size, the worse of the two axes."""
    power = np.abs(kspace).reshape(-1, *kspace.shape[-2:]).sum(axis=0)
    if not power.any():
        return 0.0
    peak = np.unravel_index(int(power.argmax()), power.shape)
    return max(abs(p - n // 2) / n for p, n in zip(peak, power.shape))


def _compare(image: np.ndarray, target: np.ndarray) -> list[str]:
    if any(t > i for t, i in zip(target.shape, image.shape)):
        return [f"the target {target.shape} is larger than the k-space {image.shape}"]
    image = center_crop(image, target.shape)
    if not image.any() or not target.any() or image.std() == 0 or target.std() == 0:
        return []
    correlation = float(np.corrcoef(image.ravel(), target.ravel())[0, 1])
    if correlation < _CORRELATION:
        return [f"target and k-space show different pictures (correlation {correlation:.2f}): rotated, flipped, "
                "shifted or another key?"]
    scale = best_fit_scale(target, image)
    if abs(scale - 1) > _SCALE_TOLERANCE:
        return [f"the target is {scale:.3g} times the image of the k-space: another unit? Name target kspace to "
                "compute it from the k-space instead"]
    return []
