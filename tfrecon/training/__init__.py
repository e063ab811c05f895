"""Training classes: `keras.Model` subclasses with their own `train_step`, and what they need to train."""

from . import callbacks
from .cross_validation import cross_validate
from .optimizers import TorchAdagrad, TorchAdam, torch_optimizer
from .session import fit_resumable
from .unet_gan import UNetGAN

__all__ = ["TorchAdagrad", "TorchAdam", "UNetGAN", "callbacks", "cross_validate", "fit_resumable", "torch_optimizer"]
