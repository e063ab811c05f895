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


def choose_scale(
    value_range: str, volume: MagnitudeVolume, image: np.ndarray, maximum: Callable[[], float]
) -> Scale:
    """The scale of one slice under a value range, see `superres_pairs`.

    Args:
        image: the slice. maximum: gives the volume's largest value where its file does not state it.
    """
    if value_range == "raw":
        return Scale(1.0)
    if value_range == "slice":
        low, high = float(image.min()), float(image.max())
        return Scale((high - low) / LARGEST if high > low else 1.0, low)
    stated = stated_maximum(volume)
    largest = maximum() if stated is None else stated
    return Scale(largest / LARGEST) if largest > 0 else Scale(1.0)
