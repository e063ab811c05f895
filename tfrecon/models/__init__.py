"""Builders: functions that return an uncompiled Keras model and do nothing else."""

from . import unet_gan

__all__ = ["unet_gan"]
