"""The physics of the measurement: Fourier transforms, masks, coils, undersampling, blur. No Keras layers, no files.

`operators` and `solvers` compute with TensorFlow and are imported by name.
"""

from . import masks, motion_blur
from .coil_maps import estimate_maps
from .coils import rss
from .fourier import fft2c, ifft2c
from .motion_blur import blur
from .undersampling import columns_of, masked_and_full, zero_filled

__all__ = [
    "blur",
    "columns_of",
    "estimate_maps",
    "fft2c",
    "ifft2c",
    "masked_and_full",
    "masks",
    "motion_blur",
    "rss",
    "zero_filled",
]
