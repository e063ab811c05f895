"""Several coils as one, for networks on magnitudes that know nothing of coils."""

from __future__ import annotations

import numpy as np

from ...errors import UsageError
from ...physics import fft2c, rss, zero_filled
from ..index import Volume
from ..slices import SliceReader
from .maps import CoilMapSource
from .problem import combine, measured_columns

COMBINATIONS = ("rss", "sense")


class Combining:
    """K-space of the one image that several coils make together.

    Args:
        how: "rss", the root sum of squares of the coils' zero-filled images (its noise is never below 0); "sense", their sum
            weighted by the coil maps, complex.
        reader: reads coil maps, where the file has them; else they are estimated from the sampled centre (ESPIRiT).

    Raises:
        UsageError: unknown `how`.
    """

    def __init__(self, how: str, reader: SliceReader):
        if how not in COMBINATIONS:
            raise UsageError(f"Coils are combined by {' or '.join(COMBINATIONS)}, received {how!r}.")
        self.how, self._maps = how, CoilMapSource("auto", reader)

    def check(self, volume: Volume) -> None:
        """DataError where maps that would be used do not have the k-space's size; nothing but headers is read."""
        if self.how == "sense":
            self._maps.check(volume)

    def __call__(self, volume: Volume, i: int, kspace: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        """complex64 (H, W) from slice `i`'s (coils, H, W), of which the mask (W,) or (H, W) is applied to every coil beforehand.

        Undersampled before it is combined, as a scanner does it; so the result has no columns of zeros and no mask is left
        to apply. A single coil's (H, W) is only masked.
        """
        measured = kspace if mask is None else np.where(mask, kspace, np.zeros((), kspace.dtype))
        if kspace.ndim == 2:
            return measured
        if self.how == "rss":
            return fft2c(rss(zero_filled(measured))).astype(np.complex64)
        sampled = measured_columns(kspace) if mask is None else mask
        return fft2c(combine(measured, self._maps(volume, i, kspace, sampled))).astype(np.complex64)
