"""Serialisable Keras layers; every constructor argument round-trips through `get_config`."""

from .magnitude import Magnitude
from .normalization import BatchNormalization
from .padding import PadToMatch
from .resize import AlignCornersUpSampling2D

__all__ = ["AlignCornersUpSampling2D", "BatchNormalization", "Magnitude", "PadToMatch"]
