"""From one k-space slice to the magnitudes a network trains on: zero-filled and full, with shared work.

The mask acts on columns only, so the inverse FFT along the readout (the rows' axis) is the same for both images: it is
done once, for measured columns only where the full image is not wanted, the rows outside the crop are dropped, and only then
the other transforms run. The shifts of the centred transform are a phase on the input side, which the magnitude forgets, and
a cyclic slice on the output side.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .fourier import ifft2c

_SMALL, _LARGE = 1e-12, 1e18  # between them an image's magnitudes are right to 1e-7 of the largest one


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


def columns_of(kspace: np.ndarray, mask: Any = None) -> np.ndarray:
    """The measured columns of one slice as rows, one after the other in memory: what `masked_and_full` takes (NumPy).

    Args:
        kspace: complex (H, W).
        mask: bool (W,), or None for all of them.

    Returns:
        complex (n, H), n of them measured.
    """
    columns = np.asarray(kspace).T
    return np.ascontiguousarray(columns if mask is None else columns[mask])


def masked_and_full(columns: Any, mask: Any, crop: Any, full: bool = True) -> tuple[Any, Any]:
    """Cropped zero-filled and full magnitudes of one slice, the readout transform shared (TensorFlow).

    Args:
        columns: complex64 tensor (n, H), DC in the centre: `columns_of(kspace)` where the full image is wanted, else
            `columns_of(kspace, mask)`, which spares the readout transform of what is not measured.
        mask: bool tensor (W,).
        crop: (h, w) not larger than (H, W), numbers or a tensor.
        full: whether the full image is wanted too; None is returned for it where not.

    Returns:
        (zero_filled, full), float32 tensors (h, w). Equal to `center_crop(zero_filled(kspace, mask), crop)` to
        float precision.
    """
    import tensorflow as tf

    height, width = tf.shape(columns)[1], tf.size(mask)
    readout = _shift_and_crop(tf.signal.ifft(columns), height, crop[0])
    root = tf.sqrt(tf.cast(height * width, tf.float32))

    def magnitude(columns: Any) -> Any:
        return _shift_and_crop(_absolute(tf.signal.ifft(tf.transpose(columns))), width, crop[1]) * root

    # Row 0 are the zeros of what is not measured: a product would let NaN through, and both take longer than this.
    place = tf.range(1, width + 1) if full else tf.cumsum(tf.cast(mask, tf.int32))
    masked = tf.gather(tf.pad(readout, [[1, 0], [0, 0]]), tf.where(mask, place, 0))
    # One after the other: a stack of both would be a copy more.
    return magnitude(masked), magnitude(readout) if full else None


def _absolute(x: Any) -> Any:
    """|x| of a complex tensor in a third of tf.abs's time, which was longer than the transforms'."""
    import tensorflow as tf

    real, imaginary = tf.math.real(x), tf.math.imag(x)
    plain = tf.sqrt(tf.square(real) + tf.square(imaginary))

    def in_units() -> Any:
        largest = tf.maximum(tf.reduce_max(tf.abs(real)), tf.reduce_max(tf.abs(imaginary)))
        unit = tf.where(largest > 0, largest, 1.0)
        return tf.sqrt(tf.square(real / unit) + tf.square(imaginary / unit)) * unit

    # Squares of very small or large numbers leave float32; a NaN is neither.
    largest = tf.reduce_max(plain)
    return tf.cond((largest > _SMALL) & (largest < _LARGE), lambda: plain, in_units)


def _shift_and_crop(x: Any, size: Any, crop: Any) -> Any:
    """center_crop(fftshift(x)) along the last axis: a slice that runs over the end, without moving the rest."""
    import tensorflow as tf

    start = size + (size - crop) // 2 - size // 2
    return tf.concat([x[..., start:], x[..., : crop - (size - start)]], axis=-1)
