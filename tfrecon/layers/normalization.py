"""Batch normalisation that keeps the running variance as PyTorch and Keras 2 keep it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras
from keras import ops

_keep_statistics: ContextVar[bool] = ContextVar("keep_statistics", default=False)


@contextmanager
def frozen_statistics() -> Iterator[None]:
    """Inside, `BatchNormalization` in training mode uses the batch's statistics but leaves its moving ones alone.

    So a frozen batch norm of stand-alone Keras 2 behaves. Holds for what is called (or traced) inside.
    """
    token = _keep_statistics.set(True)
    try:
        yield
    finally:
        _keep_statistics.reset(token)


@keras.saving.register_keras_serializable(package="tfrecon")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch normalisation over the last axis whose moving variance takes the UNBIASED batch variance.

    A batch is normalised with its biased variance, as everywhere. The moving variance is fed with the unbiased one,
    n / (n - 1) times as large, as PyTorch and Keras 2 do; Keras 3 feeds the biased one, which matters where a
    feature map is small (batch 1 at 4x4: 7 %). Arguments, weights and their order are Keras' own; masks and
    renormalisation are not used here and refused.

    Args:
        second_order: compute the batch's variance in a way that can be differentiated twice, as a gradient penalty needs
            it. TensorFlow's kernel and `ops.moments` are faster, and their second derivatives are wrong.

    Input shape, output shape: (N, ..., C), any dtype; computed in float32 or, for float64 inputs, float64.
    """

    def __init__(self, momentum: float = 0.99, epsilon: float = 1e-3, second_order: bool = False, **kwargs: Any):
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)
        self.second_order = bool(second_order)
        if self.axis != -1 or self.synchronized or getattr(self, "renorm", False):  # renorm: Keras 3.15 on
            raise ValueError("Expected axis=-1 without renorm and synchronized; use keras.layers.BatchNormalization.")

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if mask is not None:
            raise ValueError("A mask was received; this layer has no masked statistics.")
        if not (training and self.trainable):
            return super().call(inputs, training=False)
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        gamma, beta = (self.gamma if self.scale else None), (self.beta if self.center else None)
        if _has_kernel(x) and self.scale and self.center and not self.second_order:
            x, mean, unbiased = _fused(x, gamma, beta, self.epsilon)
        else:
            mean, variance = _moments(x, list(range(len(x.shape) - 1)), self.second_order)
            count = ops.cast(ops.size(x) // x.shape[-1], x.dtype)
            unbiased = variance * (count / ops.maximum(count - 1.0, 1.0))
            x = ops.batch_normalization(x, mean, variance, axis=-1, offset=beta, scale=gamma, epsilon=self.epsilon)
        if not _keep_statistics.get():
            self.moving_mean.assign(self.moving_mean * self.momentum + mean * (1.0 - self.momentum))
            self.moving_variance.assign(self.moving_variance * self.momentum + unbiased * (1.0 - self.momentum))
        return ops.cast(x, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "second_order": self.second_order}


def _moments(x: Any, axes: list[int], second_order: bool) -> tuple[Any, Any]:
    if not second_order:
        return ops.moments(x, axes=axes)
    mean = ops.mean(x, axis=axes)
    return mean, ops.mean(ops.square(x - mean), axis=axes)


def _has_kernel(x: Any) -> bool:
    float32 = keras.backend.standardize_dtype(x.dtype) == "float32"
    return float32 and len(x.shape) == 4 and keras.backend.backend() == "tensorflow"


def _fused(x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """TensorFlow's one kernel: output, mean and unbiased variance without the plain form's temporaries."""
    import tensorflow as tf

    gamma, beta, none = tf.convert_to_tensor(gamma), tf.convert_to_tensor(beta), tf.zeros((0,))
    kernel = tf.raw_ops.FusedBatchNormV3
    return kernel(x=x, scale=gamma, offset=beta, mean=none, variance=none, epsilon=epsilon, is_training=True)[:3]
