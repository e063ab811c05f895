"""Serialisable Keras layers; every constructor argument round-trips through `get_config`."""

from .clip import Clip
from .instance_normalization import InstanceNormalization
from .magnitude import Magnitude
from .normalization import BatchNormalization, frozen_statistics
from .padding import PadToMatch
from .reflection import ReflectionPadding2D
from .resize import AlignCornersUpSampling2D

__all__ = [
    "AlignCornersUpSampling2D", "BatchNormalization", "Clip", "InstanceNormalization", "Magnitude", "PadToMatch",
    "ReflectionPadding2D", "frozen_statistics",
]
