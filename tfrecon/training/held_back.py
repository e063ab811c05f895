"""Self-supervision by data undersampling: samples held back from a reconstruction, which it has to foretell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from ..errors import UsageError
from ..layers.magnitude import flat_sqrt

CENTRE = 8  # columns, or rows and columns, around DC that always stay with the reconstruction


def check_share(held_back: Any, supervised: bool) -> float:
    """The share as a number; UsageError unless it is in [0, 1) and, above 0, meant for training without images."""
    if not isinstance(held_back, (int, float)) or not 0 <= held_back < 1:
        raise UsageError(f"held_back is a share of the measured samples, at least 0 and below 1; received {held_back!r}.")
    if held_back and supervised:
        raise UsageError("held_back is for training without full images; give supervised=False with it.")
    return float(held_back)


def split_mask(mask: Any, share: float, centered: bool, generator: keras.random.SeedGenerator) -> tuple[Any, Any]:
    """(mask to reconstruct from, mask to be judged by) of a mask (N, H, W): no sample is in both, none is lost.

    Args:
        mask: real, not 0 where sampled. Of a mask of whole columns whole columns are held back, of others single points.
        share: of the samples outside the centre, on average.
        centered: where DC is, see `models.unrolled`.
    """
    sampled = mask != tf.zeros((), mask.dtype)
    batch, height, width = (tf.shape(mask)[axis] if size is None else size for axis, size in enumerate(mask.shape))
    draws = keras.random.uniform((batch, height, width), seed=generator)
    columns = tf.reduce_all(sampled == sampled[:, :1], axis=(1, 2), keepdims=True)
    held = (tf.where(columns, draws[:, :1], draws) < share) & sampled
    near_height, near_width = _near(height, centered), _near(width, centered)
    held &= ~(near_width[None, None, :] & (columns | near_height[None, :, None]))
    return tf.cast(sampled & ~held, mask.dtype), tf.cast(held, mask.dtype)


def _near(size: Any, centered: bool) -> Any:
    """Which indices are within CENTRE of DC: bool (size,)."""
    frequency = tf.range(size) - size // 2
    near = (frequency >= -(CENTRE // 2)) & (frequency < CENTRE - CENTRE // 2)
    return near if centered else tf.roll(near, -(size // 2), axis=0)


def held_back_loss(operator: Any, inputs: Mapping[str, Any], image: Any) -> Any:
    """|A x - y| / |y| + |A x - y|_1 / |y|_1 on what the operator measures, (N,); 0 where it measures nothing."""
    difference = operator.forward(image) - inputs["kspace"]
    return sum(tf.math.divide_no_nan(norm(difference), norm(inputs["kspace"])) for norm in (_euclidean, _absolute))


def _euclidean(x: Any) -> Any:
    # A sample without held-back parts has to have the gradient 0.
    return flat_sqrt(tf.reduce_sum(tf.square(tf.math.real(x)) + tf.square(tf.math.imag(x)), axis=list(range(1, len(x.shape)))))


def _absolute(x: Any) -> Any:
    return tf.reduce_sum(tf.abs(x), axis=list(range(1, len(x.shape))))
