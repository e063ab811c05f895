"""Builders: functions returning an uncompiled Keras model, every layer named. One module for each system."""

from . import ct_deblur, deblurgan_mri, pix2pix, spline_flow, srrescycgan, unet_gan, unrolled
from .data_consistent import with_data_consistency

__all__ = ["ct_deblur", "deblurgan_mri", "pix2pix", "spline_flow", "srrescycgan", "unet_gan", "unrolled",
           "with_data_consistency"]
