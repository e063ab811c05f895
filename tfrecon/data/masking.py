"""Which mask a slice gets: the rule that training, reconstruction and evaluation share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import UsageError
from ..physics import masks
from .checks import MEASURED, sampled_fraction
from .index import Volume


@dataclass(frozen=True)
class Masking:
    """How columns are left out.

    Attributes:
        accelerations: one number or several to draw from.
        center_fractions: as many; None takes fastMRI's (0.08 at 4x, 0.04 at 8x).
        mask_type: random, equispaced or magic.
        seed: "file" seeds with the volume's file name as fastMRI's validation does; an int gives every volume of one
            width the same mask; None draws a fresh mask for every visit of a slice, from the position given.
    """

    accelerations: Any = 4
    center_fractions: Any = None
    mask_type: str = "random"
    seed: Any = "file"

    def __post_init__(self) -> None:
        if not (self.seed in ("file", None) or isinstance(self.seed, (int, np.integer))):
            raise UsageError(f'The mask seed must be "file", a whole number or None, received {self.seed!r}.')
        masks.create_mask(self.mask_type, 64, self.center_fractions, self.accelerations, 0)

    def draw(self, width: int, name: str, position: Sequence[int] = (0,)) -> np.ndarray:
        """The mask, bool (width,), of a slice of the volume of that name; `position` matters for fresh masks only."""
        seed = {"file": name.rsplit("/", 1)[-1], None: tuple(position)}.get(self.seed, self.seed)
        return masks.create_mask(self.mask_type, width, self.center_fractions, self.accelerations, seed)

    def as_attributes(self) -> dict[str, Any]:
        """The rule as plain values for a file's attributes or a JSON record."""
        return {key: "fresh" if value is None and key == "seed" else value for key, value in asdict(self).items()}


def choose_mask(volume: Volume, kspace: Sequence[np.ndarray], masking: Masking) -> tuple[np.ndarray | None, str]:
    """The mask for a volume that is reconstructed or judged, and a note where it is not the rule's.

    The file's own mask comes first. k-space that is undersampled already (by its key, or by columns of zeros between
    measured ones in all of its slices) gets none: a second mask would leave even less.
    """
    if volume.mask is not None:
        return volume.mask, "the file's own mask was used"
    fraction = max(sampled_fraction(k) for k in kspace)
    if volume.undersampled or 0 < fraction < MEASURED:
        return None, f"undersampled already ({fraction:.0%} of the columns); no mask was applied"
    return masking.draw(volume.width, volume.name), ""
