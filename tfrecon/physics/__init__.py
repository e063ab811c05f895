"""The physics of the measurement: Fourier transforms, masks, coils, undersampling. No Keras layers, no files."""

from . import masks
from .coils import rss
from .fourier import fft2c, ifft2c
from .undersampling import masked_and_full, zero_filled

__all__ = ["fft2c", "ifft2c", "masked_and_full", "masks", "rss", "zero_filled"]
