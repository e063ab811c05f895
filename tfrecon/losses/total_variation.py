"""The gradient difference, which the super-resolution systems call total variation."""

from __future__ import annotations

from typing import Any

from keras import ops


def total_variation(y_true: Any, y_pred: Any) -> Any:
    """mean |dy(y_true) - dy(y_pred)| + mean |dx(y_true) - dx(y_pred)|, forward differences along height and width.

    The last row (and column) has no difference: it counts as 0 in the mean over all H (and W), as in
    `tf.image.image_gradients`. It compares the images' edges and says nothing of their level.

    Args:
        y_true, y_pred: (N, H, W, C), floating, any value range.

    Returns:
        A scalar tensor.

    Reference: JanPanjan/SRResCycGAN_MRI (seed 002) src/losses.py; equal to RaoUmer/SRResCGAN@cfb4217 `TV_L1LOSS`.
    """
    error = y_true - y_pred  # the difference of differences is the difference of the error
    down, right = error[:, 1:] - error[:, :-1], error[:, :, 1:] - error[:, :, :-1]
    count = ops.cast(ops.size(error), error.dtype)
    return (ops.sum(ops.abs(down)) + ops.sum(ops.abs(right))) / count
