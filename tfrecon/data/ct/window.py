"""Windows: which Hounsfield units a network sees as [-1, 1], by name or by numbers, and the way back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import DataError, UsageError, shown
from .volumes import ImageVolume

# (centre, width) in HU as radiology uses them; "head_wide" shows brain and skull at once, "full" is a scanner's 12 bits.
WINDOWS = {
    "brain": (40, 80),
    "subdural": (75, 215),
    "head_wide": (300, 1400),
    "soft_tissue": (50, 400),
    "abdomen": (50, 400),
    "mediastinum": (50, 350),
    "liver": (30, 150),
    "spine": (50, 250),
    "lung": (-600, 1500),
    "bone": (400, 1800),
    "full": (1023.5, 4095),
}
GREY = "grey"
DEFAULT = "soft_tissue"


@dataclass(frozen=True)
class Window:
    """The values from `centre - width / 2` to `centre + width / 2`, which a network sees as -1 to 1."""

    name: str
    centre: float
    width: float

    @property
    def low(self) -> float:
        return self.centre - self.width / 2

    @property
    def half(self) -> float:
        """What 1 in the network's units is worth in HU (or grey levels)."""
        return self.width / 2

    def to_network(self, values: Any) -> np.ndarray:
        """HU (or grey levels) of any shape to float32 in [-1, 1], clipped."""
        scaled = (np.asarray(values, np.float64) - self.centre) / self.half
        return np.clip(scaled, -1, 1).astype(np.float32)

    def write_back(self, values: Any, windowed: Any, output: Any) -> np.ndarray:
        """What the network changed, put on top of what went in: float32 in HU (or grey levels).

        Values outside of the window, which the network never saw, keep what they were, and a network that changes nothing
        gives back exactly what went in.

        Args:
            values: what was windowed. windowed: `to_network(values)`. output: the network's answer to it, [-1, 1].
        """
        change = (np.asarray(output, np.float64) - np.asarray(windowed, np.float64)) * self.half
        return (np.asarray(values, np.float64) + change).astype(np.float32)

    def as_attributes(self) -> dict[str, Any]:
        """Plain values for a file's attributes or a JSON record."""
        return {"window": self.name, "window_center": float(self.centre), "window_width": float(self.width)}


def parse_window(window: Any) -> Window | None:
    """A window from a name, from (centre, width), or from text "centre,width"; None for "grey", which each file decides.

    Raises:
        UsageError: no such name, or numbers that are no window.
    """
    if isinstance(window, Window):
        return window
    if isinstance(window, str):
        name = window.strip().lower().replace(" ", "_").replace("-", "_")
        if name in (GREY, "gray"):
            return None
        if name in WINDOWS:
            return Window(name, *map(float, WINDOWS[name]))
        window = window.split(",")
    try:
        centre, width = (float(n) for n in window)
    except (TypeError, ValueError):
        centre = width = math.nan
    if not (math.isfinite(centre) and math.isfinite(width) and width > 0):
        raise UsageError(f"The window must be one of {', '.join(WINDOWS)}, {GREY}, or (centre, width) with a positive "
                         f"width, received {_as_given(window)}.")
    return Window(f"{centre:g},{width:g}", centre, width)


def _as_given(window: Any) -> str:
    return repr(",".join(window)) if isinstance(window, list) and all(isinstance(w, str) for w in window) else repr(window)


def choose_window(window: Any, volume: ImageVolume) -> Window:
    """The window of one volume; nothing is guessed about files that do not say what their numbers are.

    Args:
        window: see `parse_window`; None takes soft tissue for Hounsfield units and asks for one else.
        volume: its `kind` and `grey_range` decide.

    Raises:
        DataError: a window in HU for grey levels, "grey" for HU or for levels without a range, none for grey levels.
    """
    chosen = parse_window(DEFAULT if window is None else window)
    where = shown(volume.name)
    if chosen is None:
        return _grey_window(volume, where)
    by_numbers = chosen.name not in WINDOWS
    if volume.kind == "hu" or (by_numbers and window is not None):
        return chosen
    asked = "no window was named" if window is None else f"the window {chosen.name} is in Hounsfield units"
    raise DataError(f"{where}: holds grey levels ({volume.levels}), not Hounsfield units, and {asked}; ask for their whole "
                    f'range with window="{GREY}" (--window {GREY}), or give centre and width in grey levels')


def _grey_window(volume: ImageVolume, where: str) -> Window:
    if volume.kind == "hu":
        raise DataError(f"{where}: holds Hounsfield units, expected grey levels for the window {GREY}; name a window in HU, "
                        f"{DEFAULT} for example (--window {DEFAULT})")
    if volume.grey_range is None:
        raise DataError(f"{where}: its numbers have no natural range of grey levels ({volume.levels}); give the window as "
                        "centre and width (--window CENTRE,WIDTH)")
    low, high = volume.grey_range
    return Window(GREY, (low + high) / 2, float(high - low))
