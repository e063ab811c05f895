"""Serialisable Keras layers; every constructor argument round-trips through `get_config`.

All compute on every backend of Keras but `DataConsistency`, whose complex numbers need TensorFlow.
"""

import keras

from .bilinear import BilinearUpSampling2D
from .clip import Clip
from .composed import ExactBorder
from .coupling import RationalQuadraticCoupling
from .depth_to_space import DepthToSpace
from .fewer_passes import MaximumPReLU, RowwiseInstanceNormalization
from .flow_linear import ActNorm, CentreLevels, Conv1x1LU, Squeeze
from .flow_step import FlowStep
from .instance_normalization import InstanceNormalization
from .magnitude import Magnitude
from .noise import WaveletNoise
from .normalization import BatchNormalization, frozen_statistics
from .overhang import OverhangChannels
from .padding import PadToMatch
from .phases import AddShiftedRows, InterleavePhases
from .projection import L2BallProjection
from .reflection import ReflectionPadding2D
from .resize import AlignCornersUpSampling2D
from .shrinkage import KeepLargest, SoftThreshold
from .unused_scalar import UnusedScalar
from .weight_norm import ChannelPReLU, WeightNormConv2D
from .winograd import WinogradConv2D
from .winograd_rows import WinogradRowsConv2D

__all__ = [
    "ActNorm", "CentreLevels", "Conv1x1LU", "FlowStep", "RationalQuadraticCoupling", "Squeeze",
    "AddShiftedRows", "AlignCornersUpSampling2D", "BatchNormalization", "BilinearUpSampling2D", "ChannelPReLU", "Clip",
    "DepthToSpace", "ExactBorder", "InstanceNormalization", "InterleavePhases", "KeepLargest",
    "L2BallProjection", "Magnitude", "MaximumPReLU", "OverhangChannels", "PadToMatch", "ReflectionPadding2D",
    "RowwiseInstanceNormalization", "SoftThreshold", "UnusedScalar", "WaveletNoise", "WeightNormConv2D", "WinogradConv2D",
    "WinogradRowsConv2D", "frozen_statistics",
]

if keras.backend.backend() == "tensorflow":
    from .data_consistency import DataConsistency

    __all__ += ["DataConsistency"]
