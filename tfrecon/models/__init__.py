"""Builders: functions returning an uncompiled Keras model, every layer named. One module for each system.

All networks compute on every backend of Keras but the unrolled ones, whose complex numbers need TensorFlow, as does training.
"""

import keras

from . import ct_deblur, deblurgan_mri, pix2pix, spline_flow, srrescycgan, unet_gan

__all__ = ["ct_deblur", "deblurgan_mri", "pix2pix", "spline_flow", "srrescycgan", "unet_gan"]

if keras.backend.backend() == "tensorflow":
    from . import unrolled
    from .data_consistent import with_data_consistency

    __all__ += ["unrolled", "with_data_consistency"]
