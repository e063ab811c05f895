"""Pure array functions every room may use: centre crops, the sizes they end in, and the scale between two images.

The crop takes NumPy arrays and TensorFlow tensors alike: it only slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import DataError


def center_crop(x: Any, shape: Sequence[int]) -> Any:
    """Cut the centre out of the last two axes, as fastMRI does (start = (n - m) // 2).

    Args:
        x: array or tensor (..., H, W) whose last two sizes are known.
        shape: (h, w), each between 1 and the size of its axis.

    Returns:
        A view (..., h, w).

    Raises:
        DataError: the crop is empty or larger than the array.

    Reference: facebookresearch/fastMRI@a55a1b1 data/transforms.py `center_crop`.
    """
    height, width = int(x.shape[-2]), int(x.shape[-1])
    h, w = (int(n) for n in shape)
    if not (0 < h <= height and 0 < w <= width):
        raise DataError(
            f"The crop must lie inside the array: expected 1..{height} x 1..{width}, received {h} x {w}. "
            "Ask for a smaller crop."
        )
    top, left = (height - h) // 2, (width - w) // 2
    return x[..., top : top + h, left : left + w]


def crop_size(height: int, width: int, largest: int = 320) -> tuple[int, int]:
    """The size a k-space of (height, width) is cropped to when no target says one.

    (largest, largest) where both axes reach it, else the square of the smaller axis, as fastMRI's test rule.
    """
    side = min(height, width, largest)
    return side, side


def best_fit_scale(target: np.ndarray, prediction: np.ndarray) -> float:
    """The factor s that makes s * prediction nearest to the target, arrays of one shape; 1 for an all-zero prediction."""
    target, prediction = (np.asarray(x, np.float64).ravel() for x in (target, prediction))
    energy = float(prediction @ prediction)
    return float(prediction @ target) / energy if energy else 1.0
