"""Image data in and out: HDF5 slices to `tf.data` pairs, splits by patient, demo volumes, saved reconstructions."""

from .checks import examine_slice
from .index import Index, Skipped, Volume, index_volumes, output_size
from .masking import Masking, choose_mask
from .memory import memory_shortage
from .output import check_folder, is_complete, save_reconstruction
from .pairs import create_paired_dataset
from .phantoms import write_demo_volumes
from .scaling import SCALINGS, array_scale, check_scaling
from .slices import SliceReader
from .splits import check_no_shared_patient, folds, pseudonyms, slice_folds, split
from .stream import EpochClock

__all__ = [
    "EpochClock", "Index", "Masking", "SCALINGS", "Skipped", "SliceReader", "Volume", "array_scale",
    "check_folder", "check_no_shared_patient", "check_scaling", "choose_mask", "create_paired_dataset",
    "examine_slice", "folds", "index_volumes", "is_complete", "memory_shortage", "output_size", "pseudonyms",
    "save_reconstruction", "slice_folds", "split", "write_demo_volumes",
]
