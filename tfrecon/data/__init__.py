"""Image data in and out: HDF5 slices to `tf.data` pairs, splits by patient, demo volumes, saved reconstructions.

CT images (DICOM, NIfTI, PNG) have a room of their own in `ct`.
"""

from . import ct
from .checks import examine_slice
from .ct import Blurring, ImageIndex, ImageReader, ImageVolume, blur_pairs, index_images
from .index import Index, Skipped, Volume, check_single_coil, index_volumes, output_size
from .masked_pairs import masked_pairs
from .masking import Masking, choose_mask
from .memory import memory_shortage
from .multicoil import CoilMapSource, Combining, Problem, multicoil_pairs, problem_of
from .output import check_folder, is_complete, save_reconstruction
from .pairs import create_paired_dataset
from .phantoms import write_demo_ct, write_demo_volumes
from .prior import (
    PictureProblem,
    bit_scale,
    knee_pictures,
    measured_pictures,
    picture_batches,
    prepare_knees,
    resize_area,
    resize_nearest,
    to_picture,
)
from .scaling import SCALINGS, array_scale, check_scaling, from_network, to_network
from .slices import SliceReader
from .splits import check_no_shared_patient, folds, pseudonyms, slice_folds, split, split_slices
from .stream import EpochClock, StillClock
from .superres import MagnitudeIndex, MagnitudeVolume, calculate_slices, index_magnitudes, superres_pairs

__all__ = [
    "Blurring", "CoilMapSource", "Combining", "EpochClock", "ImageIndex", "ImageReader", "ImageVolume", "Index",
    "MagnitudeIndex", "MagnitudeVolume", "Masking", "PictureProblem", "Problem", "SCALINGS", "Skipped", "SliceReader",
    "StillClock", "Volume", "array_scale", "bit_scale", "blur_pairs", "calculate_slices", "check_folder",
    "check_no_shared_patient", "check_scaling", "check_single_coil", "choose_mask", "create_paired_dataset", "ct",
    "examine_slice", "folds", "from_network", "index_images", "index_magnitudes", "index_volumes", "is_complete",
    "knee_pictures", "masked_pairs", "measured_pictures", "memory_shortage", "multicoil_pairs", "output_size",
    "picture_batches", "prepare_knees", "problem_of", "pseudonyms", "resize_area", "resize_nearest",
    "save_reconstruction", "slice_folds", "split", "split_slices", "superres_pairs", "to_network", "to_picture",
    "write_demo_ct", "write_demo_volumes",
]
