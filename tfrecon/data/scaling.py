"""What a slice is divided by before a network sees it: one rule, for the pipeline's tensors and for arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import UsageError

SCALINGS = ("zero_filled_max", "zero_filled_max_uncropped", "symmetric", "none")
_ORIGINAL_FLOOR = 1e-6  # seed 001's


def check_scaling(scaling: str) -> str:
    """Return the name, or raise UsageError with the choices."""
    if scaling not in SCALINGS:
        raise UsageError(f"The scaling must be one of {', '.join(SCALINGS)}, received {scaling!r}.")
    return scaling


def to_network(scaling: str, magnitude: Any) -> Any:
    """Magnitudes divided by their scale, as the network takes them; arrays or tensors of any shape."""
    return 2.0 * magnitude - 1.0 if scaling == "symmetric" else magnitude


def from_network(scaling: str, output: Any) -> Any:
    """The inverse of `to_network`."""
    return (output + 1.0) / 2.0 if scaling == "symmetric" else output


def array_scale(scaling: str, whole: np.ndarray, cropped: np.ndarray) -> float:
    """The divisor of a slice from its whole and its cropped zero-filled magnitude."""
    if scaling == "none":
        return 1.0
    if scaling == "zero_filled_max_uncropped":
        return max(float(whole.max()), _ORIGINAL_FLOOR)
    return float(cropped.max()) or 1.0


def tensor_scale(scaling: str, largest: Any) -> Any:
    """As `array_scale`, from the largest value of the image the rule looks at; a scalar tensor."""
    import tensorflow as tf

    if scaling == "none":
        return tf.ones(())
    if scaling == "zero_filled_max_uncropped":
        return tf.maximum(largest, _ORIGINAL_FLOOR)
    return tf.where(largest > 0, largest, 1.0)
