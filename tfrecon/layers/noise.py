"""The noise of an image, estimated from its finest wavelet coefficients."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

# Daubechies' wavelet with seven vanishing moments, the high-pass filter of the decomposition as pywt.Wavelet("db7").dec_hi.
_DB7_HIGH = (
    -0.07785205408506236, 0.39653931948230575, -0.7291320908465551, 0.4697822874053586, 0.14390600392910627,
    -0.22403618499416572, -0.07130921926705004, 0.0806126091510659, 0.03802993693503463, -0.01657454163101562,
    -0.012550998556013784, 0.00042957797300470274, 0.0018016407039998328, 0.0003537138000010399,
)
_PAD = 7
# The median of the magnitude of a standard normal number.
_MEDIAN_OF_NORMAL = 0.6745


@keras.saving.register_keras_serializable(package="tfrecon")
class WaveletNoise(keras.layers.Layer):
    """Standard deviation of the noise of each image: the median of |diagonal db7 coefficients| / 0.6745, mean over channels.

    White noise passes the two high-pass filters with its standard deviation unchanged, smooth images hardly pass at all
    (seven vanishing moments). No gradient. Of an even number of coefficients the lower of the two in the middle is taken,
    as PyTorch does. Computed in float32 at least.

    Input shape: (N, H, W, C), floating, H and W above 7, any value range.
    Output shape: (N,), in the units of the input.
    Reference: RaoUmer/SRResCGAN@cfb4217 modules/wmad_estimator.py `Wmad_estimator`; Donoho and Johnstone (1994).
    Departures: the original divides by 255 when the largest value of the whole BATCH is above 1 and gives units of [0, 1];
        the estimate is proportional to the image, so here it is simply in the image's own units.
    """

    def call(self, inputs: Any) -> Any:
        x = ops.stop_gradient(ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32")))
        n, height, width, channels = ops.shape(x)
        x = ops.reshape(ops.transpose(x, (0, 3, 1, 2)), (n * channels, height, width, 1))
        x = _high_pass(_high_pass(x, 1), 2)
        count = (height // 2 + 1) * (width // 2 + 1)
        magnitudes = ops.sort(ops.reshape(ops.abs(x), (n, channels, count)), axis=-1)
        return ops.mean(magnitudes[:, :, (count - 1) // 2], axis=-1) / _MEDIAN_OF_NORMAL

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0],)


def _high_pass(x: Any, axis: int) -> Any:
    """(M, H, W, 1) with the axis mirrored by seven on both sides, filtered, every second value kept."""
    pads, taps, strides = [(0, 0)] * 4, [1, 1, 1, 1], [1, 1]
    pads[axis], taps[axis - 1], strides[axis - 1] = (_PAD, _PAD), len(_DB7_HIGH), 2
    kernel = ops.convert_to_tensor(np.reshape(_DB7_HIGH, taps), dtype=x.dtype)
    return ops.conv(ops.pad(x, pads, mode="reflect"), kernel, strides=tuple(strides), padding="valid")
