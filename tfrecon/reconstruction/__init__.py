"""Reconstructs and judges volumes and folders with any callable as the model."""

from .batches import Outcome
from .coils import CoilSettings, reconstruct_coil_folder, reconstruct_coil_volume, residual
from .evaluation import ENLARGED_KEYS, Evaluation, evaluate_folder, evaluate_superres, load_pair, load_zero_filled
from .image_evaluation import evaluate_images, load_image_triple
from .images import ImageSettings, reconstruct_images, reconstruct_images_of
from .superres import SuperresSettings, bicubic, enlarge_folder, enlarge_volume
from .tiles import apply_padded, apply_tiled
from .volumes import Settings, reconstruct_folder, reconstruct_volume

__all__ = [
    "CoilSettings", "ENLARGED_KEYS", "Evaluation", "ImageSettings", "Outcome", "Settings", "SuperresSettings", "apply_padded",
    "apply_tiled", "bicubic", "enlarge_folder", "enlarge_volume", "evaluate_folder", "evaluate_images", "evaluate_superres",
    "load_image_triple", "load_pair", "load_zero_filled", "reconstruct_coil_folder", "reconstruct_coil_volume",
    "reconstruct_folder", "reconstruct_images", "reconstruct_images_of", "reconstruct_volume", "residual",
]
