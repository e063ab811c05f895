"""Centred orthonormal Fourier transforms over the last two axes.

Index 0 of both domains lies in the middle (n // 2). NumPy arrays go through NumPy and stay NumPy, so that
metrics and file tools need no TensorFlow; tensors go through TensorFlow, differentiably and under XLA.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

AXES = (-2, -1)


def fft2c(image: Any) -> Any:
    """Image to k-space.

    Args:
        image: complex (..., H, W), complex64 or complex128, array or tensor. A real one is taken as complex.

    Returns:
        k-space of the same shape, precision and kind; the norm is kept (orthonormal).

    Reference: facebookresearch/fastMRI@a55a1b1 data/transforms.py `fft2` (there on a last axis of two reals).
    """
    if is_tensor(image):
        return _tensor_transform(image, inverse=False)
    return _array_transform(image, np.fft.fft2)


def ifft2c(kspace: Any) -> Any:
    """k-space to image, the inverse (and adjoint) of `fft2c`; same arguments and shapes."""
    if is_tensor(kspace):
        return _tensor_transform(kspace, inverse=True)
    return _array_transform(kspace, np.fft.ifft2)


def is_tensor(x: Any) -> bool:
    """Whether x is a TensorFlow tensor or variable, told without importing TensorFlow."""
    return type(x).__module__.startswith("tensorflow")


def _array_transform(x: Any, transform: Any) -> np.ndarray:
    x = np.asarray(x)
    x = x if np.iscomplexobj(x) else x.astype(np.result_type(x.dtype, np.complex64))
    shifted = transform(np.fft.ifftshift(x, axes=AXES), norm="ortho")
    # NumPy 1 computes and returns complex128 whatever goes in.
    return np.fft.fftshift(shifted, axes=AXES).astype(x.dtype, copy=False)


def _tensor_transform(x: Any, inverse: bool) -> Any:
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    if not x.dtype.is_complex:
        x = tf.cast(x, tf.complex128 if x.dtype == tf.float64 else tf.complex64)
    x = from_the_middle(x)
    count = tf.cast(tf.reduce_prod(tf.shape(x)[-2:]), x.dtype.real_dtype)
    if inverse:
        x = tf.signal.ifft2d(x) * tf.cast(tf.sqrt(count), x.dtype)
    else:
        x = tf.signal.fft2d(x) / tf.cast(tf.sqrt(count), x.dtype)
    return to_the_middle(x)


def to_the_middle(x: Any) -> Any:
    """Index 0 of the last two axes moved to n // 2 (TensorFlow): `tf.signal.fftshift`, by a constant where sizes are known.

    XLA takes no other shift in the derivative of a loop.
    """
    return _rolled(x, lambda n: n // 2)


def from_the_middle(x: Any) -> Any:
    """The inverse of `to_the_middle`: `tf.signal.ifftshift`."""
    return _rolled(x, lambda n: -(n // 2))


def _rolled(x: Any, by: Callable[[Any], Any]) -> Any:
    import tensorflow as tf

    sizes = [known or size for known, size in zip(x.shape[-2:], tf.unstack(tf.shape(x)[-2:]))]
    return tf.roll(x, [by(size) for size in sizes], [len(x.shape) + axis for axis in AXES])
