"""Serialisable Keras layers; every constructor argument round-trips through `get_config`."""

from .clip import Clip
from .instance_normalization import InstanceNormalization
from .magnitude import Magnitude
from .normalization import BatchNormalization, frozen_statistics
from .padding import PadToMatch
from .phases import AddShiftedRows, InterleavePhases
from .reflection import ReflectionPadding2D
from .resize import AlignCornersUpSampling2D
from .winograd import WinogradConv2D

__all__ = [
    "AddShiftedRows", "AlignCornersUpSampling2D", "BatchNormalization", "Clip", "InstanceNormalization", "InterleavePhases",
    "Magnitude", "PadToMatch", "ReflectionPadding2D", "WinogradConv2D", "frozen_statistics",
]
