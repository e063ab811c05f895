"""The measurement that inputs by name describe: what every reconstruction here begins with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import UsageError
from ..physics.operators import Fourier, LinearOperator, Mask, Sense


def measurement(inputs: Mapping[str, Any], centered: bool) -> LinearOperator:
    """Coil maps, Fourier transform and mask.

    Args:
        inputs: "kspace" and "mask" (N, H, W), and "sens_maps" (N, coils, H, W) unless the k-space is a single coil's (N, H, W).
        centered: see `physics.operators.Fourier`.

    Raises:
        UsageError: one is missing, or several coils have no maps.
    """
    missing = {"kspace", "mask"} - set(inputs)
    if missing:
        raise UsageError(f"A reconstruction takes kspace, mask and sens_maps by name; missing: {sorted(missing)}.")
    if inputs.get("sens_maps") is not None:
        return Sense(inputs["sens_maps"], inputs["mask"], centered)
    shape = inputs["kspace"].shape
    if len(shape) != 3:
        raise UsageError(f"k-space of several coils, {tuple(shape)}, needs their sens_maps; without, give (N, H, W).")
    return Mask(inputs["mask"], shape) @ Fourier(shape, centered)
