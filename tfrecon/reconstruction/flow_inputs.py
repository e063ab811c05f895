"""What the search with a flow is given, checked and brought to the flow's precision before the first step."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import DataError, UsageError

NAMES = ("kspace", "sens_maps", "mask")
_USUAL = (0.02, 5.0)  # the largest value of a zero-filled picture whose truth lies in [0, 1]


def checked_inputs(inputs: Any, flow: Any) -> dict[str, np.ndarray]:
    """The inputs of `solve_with_flow`, the k-space 0 where the mask is.

    Raises:
        UsageError: they are not what they should be, or do not fit together. DataError: numbers that are not finite in the
            flow's precision, empty maps, masks that are none.
    """
    if not isinstance(inputs, Mapping) or not set(NAMES) <= set(inputs):
        raise UsageError(f"The inverse problem takes {', '.join(NAMES)} by name, received "
                         f"{sorted(map(str, inputs)) if isinstance(inputs, Mapping) else type(inputs).__name__}.")
    kspace, maps, mask = (_numbers(inputs[name], name) for name in NAMES)
    _check_shapes(kspace.shape, maps.shape, mask.shape, flow.image_shape)
    if not np.iscomplexobj(kspace) or np.iscomplexobj(mask):
        raise UsageError(f"The k-space must be complex and the mask real, received {kspace.dtype} and {mask.dtype}.")
    _refuse(~np.isin(mask, (0, 1)).all((1, 2)) | ~mask.any((1, 2)), "a mask that is all zeros, or not of zeros and ones")
    real = np.dtype(getattr(getattr(flow, "flow", flow), "variable_dtype", "float32"))
    number = np.result_type(real, np.complex64)
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit is refused below
        kspace, maps = np.where(mask[:, None] != 0, kspace, 0).astype(number), maps.astype(number)
    _refuse(~np.isfinite(kspace).all((1, 2, 3)), f"measured samples that are not finite as {number}")
    _refuse(~np.isfinite(maps).all((1, 2, 3)), f"coil maps that are not finite as {number}")
    _refuse(~maps.any((1, 2, 3)), "coil maps that are all zeros")
    return {"kspace": kspace, "sens_maps": maps, "mask": mask.astype(real)}


def warn_of_scale(zero_filled: Any, maps: np.ndarray) -> None:
    """A warning where the zero-filled pictures are far from those of a truth in [0, 1]."""
    weight = np.maximum((np.abs(maps) ** 2).sum(axis=1).max(axis=(1, 2)), np.finfo(maps.real.dtype).tiny)
    largest = np.abs(np.asarray(zero_filled)).max(axis=(1, 2)) / weight
    far = np.flatnonzero((largest > 0) & ((largest < _USUAL[0]) | (largest > _USUAL[1])))
    if far.size:
        warnings.warn(f"the zero-filled picture {far[0]} has the largest value {largest[far[0]]:.3g}; a flow makes pictures in "
                      "[0, 1]. Divide the k-space by the largest value of the picture.", stacklevel=3)


def _numbers(value: Any, name: str) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise UsageError(f"{name} must be an array of numbers, received {array.dtype}.")
    return array


def _refuse(wrong: np.ndarray, what: str) -> None:
    if wrong.any():
        raise DataError(f"the pictures {np.flatnonzero(wrong)[:10].tolist()} have {what}; leave them out or correct them")


def _check_shapes(kspace: tuple, maps: tuple, mask: tuple, image_shape: tuple) -> None:
    height, width, channels = image_shape
    if len(kspace) != 4 or kspace[2:] != (height, width) or channels != 1 or not kspace[0]:
        raise UsageError(f"This flow makes pictures {image_shape} of one channel, the k-space is {kspace}, expected "
                         "(N, coils, H, W) with at least one picture. Build a flow of the pictures' size.")
    if maps != kspace or mask != (kspace[0], *kspace[2:]):
        raise UsageError(f"Expected coil maps like the k-space {kspace} and a mask {(kspace[0], *kspace[2:])}, received {maps} "
                         f"and {mask}.")
