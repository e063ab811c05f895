"""What magnitudes are multiplied by before a network made for 0..255 sees them, and how that is undone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import UsageError
from .volumes import MagnitudeVolume

LARGEST = 255.0
VALUE_RANGES = ("volume", "slice", "raw")
_DOUBTFUL = 2.0


@dataclass(frozen=True)
class Scale:
    """network value = (file value - offset) / scale, and back."""

    scale: float
    offset: float = 0.0

    def to_network(self, images: np.ndarray) -> np.ndarray:
        """float32 in the network's units."""
        return (images - np.float32(self.offset)) / np.float32(self.scale)

    def from_network(self, images: np.ndarray) -> np.ndarray:
        """float32 in the file's units."""
        return images * np.float32(self.scale) + np.float32(self.offset)


def check_value_range(value_range: str) -> str:
    """Return the name, or raise UsageError with the choices."""
    if value_range not in VALUE_RANGES:
        raise UsageError(f"The value range must be one of {', '.join(VALUE_RANGES)}, received {value_range!r}.")
    return value_range


def stated_maximum(volume: MagnitudeVolume) -> float | None:
    """The attribute `max` of a file, where it has a usable one."""
    value: Any = volume.attributes.get("max")
    usable = isinstance(value, (int, float, np.number)) and math.isfinite(value) and value > 0
    return float(value) if usable else None


def trusted_maximum(volume: MagnitudeVolume, middle: float, maximum: Callable[[], float]) -> tuple[float, str]:
    """(the maximum a volume is scaled by, a note): the attribute `max`, unless the images show it to be that of others.

    fastMRI states the maximum of one of its reconstructions, which those of another kind exceed or miss by little.

    Args:
        middle: largest value of the middle slice, which says enough for most volumes. maximum: gives that of the volume,
            where there is no attribute or it is in doubt.
    """
    stated = stated_maximum(volume)
    if stated is None:
        return maximum(), ""
    if stated / _DOUBTFUL <= middle <= stated * _DOUBTFUL or (middle < stated and maximum() >= stated / _DOUBTFUL):
        return stated, ""
    return maximum(), (f"its attribute max is {stated:.4g}, its images reach {maximum():.4g}: it belongs to other images, "
                       "and the real maximum is used")


def choose_scale(value_range: str, image: np.ndarray, maximum: Callable[[], float]) -> Scale:
    """The scale of one slice under a value range, see `superres_pairs`.

    Args:
        image: the slice. maximum: gives what the volume is scaled by.
    """
    if value_range == "raw":
        return Scale(1.0)
    if value_range == "slice":
        low, high = float(image.min()), float(image.max())
        return Scale((high - low) / LARGEST if high > low else 1.0, low)
    largest = maximum()
    return Scale(largest / LARGEST) if largest > 0 else Scale(1.0)
