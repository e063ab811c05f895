"""Structural similarity as a differentiable tensor function, and 1 minus it as a loss."""

from __future__ import annotations

from typing import Any

from keras import ops

_WINDOW = 7
_K1, _K2 = 0.01, 0.03


def ssim_per_image(y_true: Any, y_pred: Any, data_range: Any = None) -> Any:
    """SSIM of each image in fastMRI's definition (7x7 uniform window, sample covariance, 3-pixel border left out).

    Args:
        y_true: (N, H, W, 1) float, H and W at least 7, any value range.
        y_pred: same shape.
        data_range: (N,) or scalar; None takes each target image's own maximum. fastMRI's number for a volume is the
            mean over its slices with the VOLUME's maximum here.

    Returns:
        (N,) float32. Equal to `metrics.ssim` on the same images.
    """
    y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
    if data_range is None:
        data_range = ops.max(y_true, axis=(1, 2, 3))
    scale = ops.reshape(ops.cast(data_range, "float32"), (-1, 1, 1, 1))
    # A black target has no range: 1 keeps the quotient finite, and equal images still score 1.
    scale = ops.where(scale > 0, scale, ops.ones_like(scale))
    c1, c2 = (_K1 * scale) ** 2, (_K2 * scale) ** 2
    mean_t, mean_p = _window_mean(y_true), _window_mean(y_pred)
    sample = _WINDOW**2 / (_WINDOW**2 - 1.0)
    var_t = sample * (_window_mean(y_true * y_true) - mean_t * mean_t)
    var_p = sample * (_window_mean(y_pred * y_pred) - mean_p * mean_p)
    cov = sample * (_window_mean(y_true * y_pred) - mean_t * mean_p)
    score = (2 * mean_t * mean_p + c1) * (2 * cov + c2)
    score = score / ((mean_t**2 + mean_p**2 + c1) * (var_t + var_p + c2))
    return ops.mean(score, axis=(1, 2, 3))


def ssim(y_true: Any, y_pred: Any) -> Any:
    """1 - SSIM averaged over the batch, a scalar in [0, 2]; each target's maximum is its data range."""
    return 1.0 - ops.mean(ssim_per_image(y_true, y_pred))


def _window_mean(x: Any) -> Any:
    return ops.average_pool(x, _WINDOW, strides=1, padding="valid")
