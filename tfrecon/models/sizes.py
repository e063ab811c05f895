"""The sizes and counts a network takes."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from ..errors import UsageError


def check_sizes(image_shape: tuple, multiple: int, smallest: int) -> None:
    """ValueError unless height and width are None, or multiples of `multiple` and at least `smallest`."""
    if any(n is not None and (n % multiple or n < smallest) for n in image_shape[:2]):
        raise ValueError(
            f"Expected a height and width that are multiples of {multiple} and at least {smallest}, or None, received "
            f"image_shape={image_shape}. Pad the images, or use `tfrecon reconstruct`, which pads and crops back."
        )


def check_counts(least: int = 1, most: float = math.inf, **counts: Any) -> None:
    """UsageError unless all are whole numbers from `least` to `most`."""
    wanted = f"of at least {least}" if most == math.inf else f"from {least} to {most}"
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or not least <= value <= most:
            raise UsageError(f"Expected {name} to be a whole number {wanted}, received {value!r}.")


def is_number(value: Any) -> bool:
    """Whether it is a real number, NumPy's included, and no truth value."""
    return isinstance(value, Real) and not isinstance(value, bool)
