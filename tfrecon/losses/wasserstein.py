"""The critic's losses: Wasserstein means and the two gradient penalties in use."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from ..errors import UsageError

PENALTY_NORMS = ("pixel", "sample")


def wasserstein(y_true: Any, y_pred: Any) -> Any:
    """mean(y_true * y_pred): labels +1 and -1 against scores of any shape, as RaphaelMeudec/deblur-gan@8b4b15d has it."""
    return ops.mean(y_true * y_pred)


def gradient_penalty(
    discriminator: Any, real: Any, fake: Any, alpha: Any, weight: float = 10.0, norm: str = "pixel"
) -> Any:
    """weight * mean((||gradient|| - 1)^2), the gradient of the summed scores with respect to the interpolated images.

    Args:
        discriminator: a Keras model (called in training mode) or any callable from images to scores.
        real, fake: (N, H, W, C), same value range.
        alpha: share of `real` in the interpolation, in [0, 1]: a scalar for the whole batch (KupynOrest) or (N, 1, 1, 1).
        weight: 10 in both sources.
        norm: "pixel" takes the norm over the channels of every pixel and averages over pixels, as KupynOrest/DeblurGAN
            computes it; "sample" the norm over each whole image, as Gulrajani et al. (2017) define the penalty. They are
            different penalties: on one golden case 5.7 against 1554.

    Returns:
        Scalar float32 (float64 for float64 images), whatever the policy; its own gradient is right only if the
        discriminator's second derivatives are (`layers.InstanceNormalization`).

    Raises:
        UsageError: an unknown norm.
    """
    import tensorflow as tf

    if norm not in PENALTY_NORMS:
        raise UsageError(f"The penalty's norm must be one of {', '.join(PENALTY_NORMS)}, received {norm!r}.")
    precise = keras.backend.result_type(real.dtype, "float32")
    real, fake, alpha = (ops.cast(x, precise) for x in (real, fake, alpha))
    between = alpha * real + (1.0 - alpha) * fake
    with tf.GradientTape() as tape:
        tape.watch(between)
        is_model = isinstance(discriminator, keras.layers.Layer)
        scores = discriminator(between, training=True) if is_model else discriminator(between)
        total = ops.sum(ops.cast(scores, precise))
    gradient = ops.cast(tape.gradient(total, between), precise)
    power = ops.sum(ops.square(gradient), axis=-1 if norm == "pixel" else (1, 2, 3))
    return weight * ops.mean(ops.square(_root(power) - 1.0))


def _root(power: Any) -> Any:
    """The square root with gradient 0 at 0, where a pixel that no score depends on would give NaN."""
    positive = power > 0
    return ops.where(positive, ops.sqrt(ops.where(positive, power, ops.ones_like(power))), ops.zeros_like(power))
