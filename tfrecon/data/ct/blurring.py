"""Which motion blur a slice gets: the rule that training, reconstruction and evaluation share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import DataError, UsageError
from ...physics import blur
from ...physics.motion_blur import CANVAS, MAX_LENGTH, centred, normalized, path_kernels, trajectory

EXPOSURES = (0.01, 0.009, 0.008, 0.007, 0.005, 0.003)
FRACTIONS = (0.1, 0.5, 1.0)
_LARGEST = 1024
_PREFIX = "blur_"


@dataclass(frozen=True)
class Blurring:
    """How images are blurred: a random path on a canvas, seen for a fraction of its time, as KupynOrest/DeblurGAN draws it.

    Attributes:
        canvas: side of the kernel in pixels.
        max_length: length of the whole path in pixels.
        exposures: nervousness of the path, one is drawn.
        fractions: share of the path that is seen, one is drawn; the original's elements 1, 2 and 3.
        seed: "file" seeds with the volume's file name and the slice number; an int gives every slice the same kernel; None
            draws a fresh one for every visit of a slice, from the position given.
        centred: move the kernel so that its centre of mass lies in the middle, as far as its canvas allows. The original's
            kernels sit where the path happens to begin, which shifts the blurred image by up to half a path against the
            sharp one: a network cannot know by how much. False: as the original.
    """

    canvas: int = CANVAS
    max_length: float = MAX_LENGTH
    exposures: Sequence[float] = EXPOSURES
    fractions: Sequence[float] = FRACTIONS
    seed: Any = "file"
    centred: bool = True

    def __post_init__(self) -> None:
        whole = isinstance(self.seed, (int, np.integer)) and not isinstance(self.seed, bool) and 0 <= self.seed < 2**32
        if not (self.seed in ("file", None) or whole):
            raise UsageError(f'The blur seed must be "file", a whole number from 0 or None, received {self.seed!r}.')
        _check_numbers("exposures", self.exposures, lambda e: e >= 0, "at least 0")
        _check_numbers("fractions", self.fractions, lambda f: 0 < f <= 1, "above 0 and at most 1")
        if self.canvas > _LARGEST:
            raise UsageError(f"The blur canvas must be at most {_LARGEST} pixels, received {self.canvas!r}.")
        trajectory(0, self.canvas, self.max_length, self.exposures[0], iterations=2)  # its checks of the other numbers

    def draw(self, name: str, position: Sequence[int] = (0,)) -> np.ndarray:
        """The kernel of a slice, float32 (canvas, canvas), sum 1.

        Args:
            name: of the volume; the last part of its path counts.
            position: where the slice is visited, its number in the volume last.
        """
        by_file = (*map(ord, name.rsplit("/", 1)[-1]), position[-1])
        rng = np.random.RandomState({"file": by_file, None: tuple(position)}.get(self.seed, self.seed))
        path = trajectory(rng, self.canvas, self.max_length, rng.choice(self.exposures))
        kernel = path_kernels(path, self.canvas, (rng.choice(self.fractions),))[0]  # drawn last, as in the original
        return normalized(centred(kernel) if self.centred else kernel).astype(np.float32)

    def as_attributes(self) -> dict[str, Any]:
        """The rule as plain values under names beginning with `blur_`, for a file's attributes or a JSON record."""
        return {
            "blur_canvas": int(self.canvas), "blur_max_length": float(self.max_length),
            "blur_exposures": _as_text(self.exposures), "blur_fractions": _as_text(self.fractions),
            "blur_seed": "fresh" if self.seed is None else self.seed, "blur_centred": bool(self.centred),
        }

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> Blurring | None:
        """The rule a result was made with; None where its attributes hold none, or one that cannot be repeated.

        Raises:
            DataError: the attributes are no rule.
        """
        found = {key.removeprefix(_PREFIX): value for key, value in attributes.items() if key.startswith(_PREFIX)}
        if not found or found.get("seed") == "fresh":
            return None
        try:
            for key in ("exposures", "fractions"):
                found[key] = tuple(map(float, found[key].split()))
            return cls(**found)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"The attributes {', '.join(_PREFIX + key for key in sorted(found))} are no rule of a motion "
                            "blur; the file was changed by hand, make it anew.") from error


def blur_slice(values: Any, kernel: Any, air: Any) -> Any:
    """Blur a slice (H, W) in HU or grey levels, array or tensor, with `air` around it; a kernel of sum 1 keeps levels."""
    return blur(values - air, kernel) + air


def _check_numbers(name: str, values: Any, fits: Any, range_: str) -> None:
    try:
        good = len(values) > 0 and all(math.isfinite(v) and fits(v) for v in values)
    except TypeError:
        good = False
    if not good:
        raise UsageError(f"The blur {name} must be numbers {range_}, one or more of them, received {values!r}.")


def _as_text(values: Sequence[float]) -> str:
    return " ".join(repr(float(v)) for v in values)
