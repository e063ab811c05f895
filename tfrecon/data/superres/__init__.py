"""Magnitude images for super-resolution: found by headers, scaled to 0..255, streamed as pairs of two sizes."""

from .pairs import superres_pairs
from .shards import ShardVolume, index_shards, index_superres, write_shards
from .value_range import VALUE_RANGES, Scale, check_value_range, choose_scale, trusted_maximum
from .volumes import MagnitudeIndex, MagnitudeVolume, calculate_slices, index_magnitudes

__all__ = ["MagnitudeIndex", "MagnitudeVolume", "Scale", "ShardVolume", "VALUE_RANGES", "calculate_slices",
           "check_value_range", "choose_scale", "index_magnitudes", "index_shards", "index_superres", "superres_pairs",
           "trusted_maximum", "write_shards"]
