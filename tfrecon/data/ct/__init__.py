"""CT images: DICOM, NIfTI, PNG and HDF5 slices in Hounsfield units to (blurred, sharp) pairs, and back to files."""

from .blurring import Blurring, blur_slice
from .find import stem
from .index import index_images
from .pairs import blur_pairs
from .reader import ImageReader
from .volumes import ImageIndex, ImageVolume
from .window import WINDOWS, Window, choose_window, parse_window

__all__ = ["Blurring", "ImageIndex", "ImageReader", "ImageVolume", "WINDOWS", "Window", "blur_pairs", "blur_slice",
           "choose_window", "index_images", "parse_window", "stem"]
