"""From one k-space slice to the magnitudes a network trains on: zero-filled and full, with shared work.

The mask acts on columns only, so the inverse FFT along the readout (the rows' axis) is the same for both images: it is
done once, the rows outside the crop are dropped, and only then the column transforms run. The shifts of the centred
transform are a phase on the input side, which the magnitude forgets, and a cyclic slice on the output side.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .fourier import ifft2c


def zero_filled(kspace: Any, mask: Any = None) -> np.ndarray:
    """Magnitude of the inverse FFT with unmeasured columns set to zero (NumPy; the plain form).

    Args:
        kspace: complex (..., H, W), DC in the centre.
        mask: bool (W,), or None for everything measured.

    Returns:
        Real (..., H, W), in the units of the k-space.
    """
    kspace = np.asarray(kspace)
    if mask is not None:
        # where, not a product: an unmeasured sample may hold NaN and must not matter (fastMRI does the same).
        kspace = np.where(mask, kspace, np.zeros((), kspace.dtype))
    return np.abs(ifft2c(kspace))


def masked_and_full(kspace: Any, mask: Any, crop: Any, full: bool = True) -> tuple[Any, Any]:
    """Cropped zero-filled and full magnitudes of one slice, the readout transform shared (TensorFlow).

    Args:
        kspace: complex64 tensor (H, W), DC in the centre.
        mask: bool tensor (W,).
        crop: (h, w) not larger than (H, W), numbers or a tensor.
        full: whether the full image is wanted too; False saves its column transform and returns None for it.

    Returns:
        (zero_filled, full), float32 tensors (h, w). Equal to `center_crop(zero_filled(kspace, mask), crop)` to
        float precision.
    """
    import tensorflow as tf

    size = tf.shape(kspace)
    readout = tf.signal.ifft(tf.transpose(kspace))
    rows = tf.transpose(_shift_and_crop(readout, size[0], crop[0]))
    # Does what a where does (0 times NaN is 0 here); tf.where with a broadcast mask takes longer than all the transforms.
    masked = tf.math.multiply_no_nan(rows, tf.cast(mask, rows.dtype))
    root = tf.sqrt(tf.cast(size[0] * size[1], tf.float32))

    def magnitude(columns: Any) -> Any:
        return tf.abs(_shift_and_crop(tf.signal.ifft(columns), size[1], crop[1])) * root

    # One after the other: a stack of both would be a copy more.
    return magnitude(masked), magnitude(rows) if full else None


def _shift_and_crop(x: Any, size: Any, crop: Any) -> Any:
    """center_crop(fftshift(x)) along the last axis: a slice that runs over the end, without moving the rest."""
    import tensorflow as tf

    start = size + (size - crop) // 2 - size // 2
    return tf.concat([x[..., start:], x[..., : crop - (size - start)]], axis=-1)
