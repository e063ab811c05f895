"""The measurement that inputs by name describe: what every reconstruction here begins with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from ..errors import UsageError
from ..physics.operators import Fourier, LinearOperator, Mask, Sense, fits


def measured_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs as tensors, k-space 0 where the mask is: what was not measured may hold NaN and must not matter."""
    found = {name: tf.convert_to_tensor(x) for name, x in inputs.items() if x is not None}
    if {"kspace", "mask"} <= set(found) and len(found["kspace"].shape) in (3, 4):
        kspace, mask = found["kspace"], found["mask"] != tf.zeros((), found["mask"].dtype)
        found["kspace"] = tf.where(mask[:, None] if len(kspace.shape) == 4 else mask, kspace, tf.zeros_like(kspace))
    return found


def apply_padded(network: Callable[[Any], Any], x: Any, multiple: int, value: float = 0.0, mirrored: bool = False) -> Any:
    """A network on images (N, H, W, C) padded around to multiples, its answer cropped back to (N, H, W, ...).

    Outside is `value`, or what is inside `mirrored`, which asks for images larger than half the multiple.
    """
    if multiple == 1:
        return network(x)
    height, width = (tf.shape(x)[axis] if x.shape[axis] is None else x.shape[axis] for axis in (1, 2))
    sides = [[(-n % multiple) // 2, -n % multiple - (-n % multiple) // 2] for n in (height, width)]
    (top, _), (left, _) = sides
    mode = "REFLECT" if mirrored else "CONSTANT"
    answer = network(tf.pad(x, [[0, 0], *sides, [0, 0]], mode, constant_values=value))[:, top : top + height, left : left + width]
    return tf.ensure_shape(answer, (*x.shape[:3], None))


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
    if (maps := inputs.get("sens_maps")) is not None:
        kspace = tuple(inputs["kspace"].shape)
        if len(maps.shape) not in (4, 5) or not fits(maps.shape[-3:], kspace[1:]):
            raise UsageError(f"The coil maps must have the k-space's coils, height and width, received {tuple(maps.shape)} for "
                             f"k-space {kspace}.")
        return Sense(inputs["sens_maps"], inputs["mask"], centered)
    shape = inputs["kspace"].shape
    if len(shape) != 3:
        raise UsageError(f"k-space of several coils, {tuple(shape)}, needs their sens_maps; without, give (N, H, W).")
    return Mask(inputs["mask"], shape) @ Fourier(shape, centered)
