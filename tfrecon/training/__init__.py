"""Training classes: `keras.Model` subclasses with their own `train_step`, and what they need to train."""

from . import callbacks
from .cross_validation import cross_validate
from .ct_deblur import CTDeblurGAN
from .deblurgan import DeblurGAN
from .estimate import StepCost, measure_step
from .optimizers import TorchAdagrad, TorchAdam, torch_optimizer
from .pix2pix import Pix2Pix
from .scan_adaptation import ScanAdaptation
from .schedules import ConstantThenLinear, CosineToZero
from .session import fit_resumable
from .spline_flow import SplineFlowTrainer
from .srrescycgan import SRResCycGAN, adam_opt
from .unet_gan import UNetGAN
from .unrolled_recon import UnrolledRecon

__all__ = [
    "CTDeblurGAN", "ConstantThenLinear", "CosineToZero", "DeblurGAN", "Pix2Pix", "SRResCycGAN", "ScanAdaptation",
    "SplineFlowTrainer", "StepCost", "TorchAdagrad", "TorchAdam", "UNetGAN", "UnrolledRecon", "adam_opt", "callbacks",
    "cross_validate", "fit_resumable", "measure_step", "torch_optimizer",
]
