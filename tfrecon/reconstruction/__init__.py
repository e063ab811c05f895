"""Reconstructs and judges volumes and folders with any callable as the model."""

from .evaluation import Evaluation, evaluate_folder, load_pair, load_zero_filled
from .volumes import Outcome, Settings, reconstruct_folder, reconstruct_volume

__all__ = [
    "Evaluation", "Outcome", "Settings", "evaluate_folder", "load_pair", "load_zero_filled", "reconstruct_folder",
    "reconstruct_volume",
]
