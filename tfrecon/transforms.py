"""Pure array functions every room may use: crops and the sizes they end in, bicubic resizing, the scale between two images.

The centre crop takes NumPy arrays and TensorFlow tensors alike: it only slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import DataError

_NEAR, _FAR = 9 / 16, 1 / 16  # bicubic weights halfway between two pixels


def center_crop(x: Any, shape: Sequence[int]) -> Any:
    """Cut the centre out of the last two axes, as fastMRI does (start = (n - m) // 2).

    Args:
        x: array or tensor (..., H, W) whose last two sizes are known.
        shape: (h, w), each between 1 and the size of its axis.

    Returns:
        A view (..., h, w).

    Raises:
        DataError: the crop is empty or larger than the array.

    Reference: facebookresearch/fastMRI@a55a1b1 data/transforms.py `center_crop`.
    """
    height, width = int(x.shape[-2]), int(x.shape[-1])
    h, w = (int(n) for n in shape)
    if not (0 < h <= height and 0 < w <= width):
        raise DataError(
            f"The crop must lie inside the array: expected 1..{height} x 1..{width}, received {h} x {w}. "
            "Ask for a smaller crop."
        )
    top, left = (height - h) // 2, (width - w) // 2
    return x[..., top : top + h, left : left + w]


def crop_size(height: int, width: int, largest: int = 320) -> tuple[int, int]:
    """The size a k-space of (height, width) is cropped to when no target says one.

    (largest, largest) where both axes reach it, else the square of the smaller axis, as fastMRI's test rule.
    """
    side = min(height, width, largest)
    return side, side


def best_fit_scale(target: np.ndarray, prediction: np.ndarray) -> float:
    """The factor s that makes s * prediction nearest to the target, arrays of one shape; 1 for an all-zero prediction."""
    target, prediction = (np.asarray(x, np.float64).ravel() for x in (target, prediction))
    energy = float(prediction @ prediction)
    return float(prediction @ target) / energy if energy else 1.0


def crop_or_pad(x: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Cut the centre out of the last two axes where they are larger, put zeros around it where they are smaller.

    Args:
        x: array (..., H, W). shape: (h, w), each at least 1.

    Returns:
        (..., h, w); an odd row or column of zeros too many goes to the end, as `center_crop` leaves it there.
    """
    h, w = (int(n) for n in shape)
    x = center_crop(x, (min(h, x.shape[-2]), min(w, x.shape[-1])))
    pads = [((n - m) // 2, (n - m) - (n - m) // 2) for n, m in zip((h, w), x.shape[-2:])]
    return np.pad(x, [(0, 0)] * (x.ndim - 2) + pads) if any(map(any, pads)) else x


def reduce_by_four(images: Any) -> Any:
    """Bicubic interpolation to a quarter without a low-pass, as `tf.image.resize(..., "bicubic")`.

    At exactly a quarter each axis has four taps, (-1, 9, 9, -1)/16, which lie inside the image at any place: one strided
    depthwise convolution, written out as weighted sums of rows and columns because TensorFlow's own takes four times the
    time of a processor for it. Exact at the borders; runs on any device and under XLA, which bicubic `tf.image.resize` does
    not.

    Args:
        images: float array or tensor (N, H, W, C), H and W multiples of 4; any range.

    Returns:
        (N, H / 4, W / 4, C); sharp edges overshoot, up to 1.5625 times the range of the images.
    """
    reshape, (_, height, width, channels) = np.reshape, images.shape
    if not isinstance(images, np.ndarray):
        from tensorflow import reshape, shape

        height, width = (shape(images)[axis] if n is None else n for axis, n in ((1, height), (2, width)))
    rows = reshape(images, (-1, height // 4, 4, width * channels))
    rows = (rows[:, :, 1] + rows[:, :, 2]) * _NEAR - (rows[:, :, 0] + rows[:, :, 3]) * _FAR
    columns = reshape(rows, (-1, height // 4, width // 4, 4, channels))
    return (columns[..., 1, :] + columns[..., 2, :]) * _NEAR - (columns[..., 0, :] + columns[..., 3, :]) * _FAR


def resize_bicubic(images: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Bicubic interpolation (Keys, a = -0.5, half-pixel centres, no low-pass), as `tf.image.resize(..., "bicubic")`.

    To float precision at powers of two; at other factors TensorFlow rounds the weights to a table, 1e-3 of the range.

    Args:
        images: real (..., H, W). shape: (h, w), each at least 1.

    Returns:
        float32 (..., h, w), computed in float64; what lies outside the image has no weight.
    """
    rows, columns = (_bicubic_matrix(n, m) for n, m in zip(images.shape[-2:], shape))
    return (rows @ images.astype(np.float64) @ columns.T).astype(np.float32)


def _bicubic_matrix(length: int, result: int) -> np.ndarray:
    """(result, length): each row holds the weights of one interpolated pixel."""
    distance = np.abs((np.arange(result)[:, None] + 0.5) * length / result - 0.5 - np.arange(length))
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
    return weights / weights.sum(axis=1, keepdims=True)


def complex_to_channels(x: Any) -> Any:
    """A complex tensor (...,) as real (..., 2): real and imaginary part, as networks see it (TensorFlow)."""
    import tensorflow as tf

    return tf.stack([tf.math.real(x), tf.math.imag(x)], axis=-1)


def channels_to_complex(x: Any) -> Any:
    """The inverse of `complex_to_channels`: real (..., 2), float32 or float64, to complex (...,)."""
    import tensorflow as tf

    return tf.complex(x[..., 0], x[..., 1])
