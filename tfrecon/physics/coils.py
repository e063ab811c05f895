"""Combining the images of several receiver coils."""

from __future__ import annotations

from typing import Any

import numpy as np


def rss(coil_images: Any, axis: int = -3) -> np.ndarray:
    """Root of the sum of squares over the coils.

    Args:
        coil_images: real or complex array (..., coils, H, W).
        axis: the coil axis.

    Returns:
        Magnitude (..., H, W) in the precision of the input.

    Reference: facebookresearch/fastMRI@a55a1b1 data/transforms.py `root_sum_of_squares`.
    """
    return np.sqrt((np.abs(coil_images) ** 2).sum(axis=axis))
