"""The physics of the measurement: Fourier transforms, masks, coils, undersampling, blur. No Keras layers, no files."""

from . import masks, motion_blur
from .coils import rss
from .fourier import fft2c, ifft2c
from .motion_blur import blur
from .undersampling import masked_and_full, zero_filled

__all__ = ["blur", "fft2c", "ifft2c", "masked_and_full", "masks", "motion_blur", "rss", "zero_filled"]
