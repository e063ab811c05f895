"""Twins of networks: the same layers, variables and outputs, differentiated by hand where TensorFlow wastes time or memory.

TensorFlow's derivatives of Keras' instance norm and PReLU keep every intermediate image, and on a processor those of a
convolution copy the image once for each of the kernel's elements, or under XLA convolve with a kernel as large as the image.
With few filters they leave most of a processor's vectors empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

_BAND = 160  # image rows in one matrix product of a kernel's gradient, which bounds the copies it needs
_FEW_FILTERS, _MANY_ROWS = 4, 5  # from where on a convolution goes by rows
_MANY_CHANNELS = 64  # from where on one to a single filter goes by taps
FULL = ("float32", "float64")


def twin_of(model: keras.Model) -> keras.Model:
    """The model with its derivatives by hand; itself if it is no functional model. Not to be saved."""
    if not isinstance(model, keras.Function):
        return model
    return keras.models.clone_model(model, clone_function=_by_hand)


def few_filters_twin(model: keras.Model) -> keras.Model:
    """The model with its convolutions to few filters alone by hand; itself where it has none.

    For networks whose other convolutions have many channels and small images, which TensorFlow differentiates as fast: a 7x7
    convolution to 3 filters took a sixth of the whole step of DeblurGAN for MRI, a 4x4 one to a single filter a twelfth of
    the CT DeblurGAN's.
    """
    if not isinstance(model, keras.Function) or not any(_by_few(layer) for layer in model.layers):
        return model
    return keras.models.clone_model(model, clone_function=lambda layer: _by_few(layer) or layer)


def after(done: Sequence[tf.Tensor], x: tf.Tensor) -> tf.Tensor:
    """x, unchanged, but not before all of `done` are there.

    Graphs compute whatever they can as soon as they can, and XLA in an order of its own: both would make copies in the
    forward pass and keep them, and merge a network's second pass with its first. Only the flow of data holds them back. So
    a number is added that is 0, which they cannot know: it is 1e-30, which changes no image, if `done` is not finite.
    """
    if not done or tf.executing_eagerly():
        return x
    seen = tf.add_n([tf.cast(tf.reshape(tensor, [-1])[0], "float32") for tensor in done])
    return x + tf.cast(tf.where(tf.math.is_finite(seen), 0.0, 1e-30), x.dtype)


class Twins:
    """Twins by name, out of sight of Keras, which would save and count their variables a second time."""

    def __init__(self, models: Mapping[str, keras.Model], make: Callable[[keras.Model], Any] = twin_of):
        self._twins = {name: make(model) for name, model in models.items()}

    def __getitem__(self, name: str) -> Any:
        return self._twins[name]


def _by_hand(layer: Any) -> Any:
    """The layer, or a layer around it with the same output."""
    if type(layer) is keras.layers.Conv2D and _has_products(layer):
        return _ByHand(layer, _convolve)
    if type(layer) is keras.layers.GroupNormalization and _is_instance_norm(layer):
        return _ByHand(layer, _normalize)
    if type(layer) is keras.layers.PReLU and len(layer.alpha.shape) == 3 and tuple(layer.alpha.shape[:2]) == (1, 1):
        return _ByHand(layer, _rectify)
    return layer


def _has_products(layer: keras.layers.Conv2D) -> bool:
    """Whether the gradients of a convolution are as `convolution` takes them, and faster so: not on GPUs and TPUs."""
    return _is_plain(layer) and all(n % 2 for n in layer.kernel_size)


def _is_plain(layer: keras.layers.Conv2D) -> bool:
    plain = layer.data_format == "channels_last" and layer.groups == 1 and layer.strides == layer.dilation_rate == (1, 1)
    return plain and layer.padding in ("same", "valid") and not accelerated()


def _by_few(layer: Any) -> Any:
    """A layer around a convolution to few filters; None around others."""
    if _goes_by_taps(layer):
        return _ByHand(layer, _sum_taps)
    return _ByHand(layer, _convolve) if _goes_by_rows(layer) else None


def _goes_by_taps(layer: Any) -> bool:
    if type(layer) is not keras.layers.Conv2D or layer.filters > 1 or not _is_plain(layer):
        return False
    return layer.kernel.shape[2] >= _MANY_CHANNELS


def _goes_by_rows(layer: Any) -> bool:
    few = type(layer) is keras.layers.Conv2D and layer.filters <= _FEW_FILTERS and layer.kernel_size[0] >= _MANY_ROWS
    return few and _has_products(layer)


def accelerated() -> bool:
    """Whether there is a GPU or TPU."""
    return any(device.device_type != "CPU" for device in tf.config.list_logical_devices())


def _is_instance_norm(layer: keras.layers.GroupNormalization) -> bool:
    return layer.axis == -1 and layer.scale and layer.center and layer.groups == layer.gamma.shape[0]


class _ByHand(keras.layers.Layer):
    """A layer's output computed by `function(layer, inputs)`, for which `layer` gives its variables and its dtype policy."""

    def __init__(self, layer: keras.layers.Layer, function: Callable[[Any, Any], Any]):
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self.layer, self.function, self.built = layer, function, True

    def call(self, inputs: Any) -> Any:
        return self.function(self.layer, inputs)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return self.layer.compute_output_shape(input_shape)


def _convolve(layer: keras.layers.Conv2D, x: Any) -> Any:
    if None in x.shape[1:3] or keras.backend.standardize_dtype(x.dtype) not in FULL:
        return layer.call(x)
    convolve = by_rows if _goes_by_rows(layer) else convolution
    x = convolve(x, tf.convert_to_tensor(layer.kernel), layer.padding.upper())
    x = x if layer.bias is None else x + tf.convert_to_tensor(layer.bias)
    return x if layer.activation is None else layer.activation(x)


def _sum_taps(layer: keras.layers.Conv2D, x: Any) -> Any:
    """A convolution to a single filter as one product, whose columns are the kernel's taps, and shifted sums.

    All of it TensorFlow's own operations, which can be differentiated twice, as a gradient penalty needs.
    """
    if None in x.shape[1:3]:
        return layer.call(x)
    kernel = tf.cast(tf.convert_to_tensor(layer.kernel), x.dtype)
    tall, wide, channels, _ = kernel.shape
    parts = tf.matmul(x, tf.transpose(tf.reshape(kernel, (tall * wide, channels))))
    if layer.padding == "same":
        parts = tf.pad(parts, [[0, 0], [(tall - 1) // 2, tall // 2], [(wide - 1) // 2, wide // 2], [0, 0]])
    height, width = parts.shape[1] - tall + 1, parts.shape[2] - wide + 1
    taps = enumerate(tf.split(parts, tall * wide, -1))
    y = tf.add_n([part[:, n // wide : n // wide + height, n % wide : n % wide + width] for n, part in taps])
    y = y if layer.bias is None else y + tf.cast(tf.convert_to_tensor(layer.bias), y.dtype)
    return y if layer.activation is None else layer.activation(y)


def _normalize(layer: keras.layers.GroupNormalization, x: Any) -> Any:
    full = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
    gamma, beta = (ops.cast(tf.convert_to_tensor(v), full.dtype) for v in (layer.gamma, layer.beta))
    return ops.cast(_normalization(full, gamma, beta, layer.epsilon), layer.compute_dtype)


def _rectify(layer: keras.layers.PReLU, x: Any) -> Any:
    return _rectification(x, tf.convert_to_tensor(layer.alpha))


def convolution(x: tf.Tensor, kernel: tf.Tensor, padding: str) -> tf.Tensor:
    """A convolution with stride 1 and an odd kernel."""
    tall, wide, *_ = kernel.shape
    rows, columns = (tall // 2, wide // 2) if padding == "SAME" else (0, 0)  # of zeros on each side

    @tf.custom_gradient
    def run(x: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            above, beside = tall - 1 - rows, wide - 1 - columns
            by_kernel = _by_kernel(_padded(after([upstream], x), rows, 0), _padded(upstream, 0, beside), tall, wide)
            turned = after([by_kernel], tf.transpose(tf.reverse(kernel, [0, 1]), (0, 1, 3, 2)))
            return tf.nn.conv2d(upstream, turned, 1, _around(above, beside)), by_kernel

        return tf.nn.conv2d(x, kernel, 1, padding), gradients

    return run(x, kernel)


def by_rows(x: tf.Tensor, kernel: tf.Tensor, padding: str) -> tf.Tensor:
    """The same with few filters, as one of a single row with more, which fills a processor's vectors, and shifted sums."""
    rows, columns, channels, filters = kernel.shape
    row = tf.reshape(tf.transpose(kernel, (1, 2, 0, 3)), (1, columns, channels, rows * filters))
    parts = convolution(x, row, padding)
    parts = _padded(parts, rows // 2, 0) if padding == "SAME" else parts
    height = parts.shape[1] - rows + 1
    return tf.add_n([part[:, r : r + height] for r, part in enumerate(tf.split(parts, rows, -1))])


def _by_kernel(x: tf.Tensor, upstream: tf.Tensor, tall: int, wide: int) -> tf.Tensor:
    """dK[i, j, c, d], the sum over pixels of x[h + i, w, c] upstream[h, w - j, d]; x is padded in h, upstream in w.

    With x shifted by every i and upstream by every j, side by side in their channels, ONE product has all elements.
    """
    height, width = upstream.shape[1], x.shape[2]
    bands = []
    for top in range(0, height, _BAND):
        bottom = min(top + _BAND, height)
        # One band's copies at a time.
        own_x, own = (after(bands[-1:], v) for v in (x[:, top : bottom + tall - 1], upstream[:, top:bottom]))
        down = tf.concat([own_x[:, i : i + bottom - top] for i in range(tall)], axis=-1)
        across = tf.concat([own[:, :, j : j + width] for j in reversed(range(wide))], axis=-1)
        bands.append(tf.matmul(_as_matrix(down), _as_matrix(across), transpose_a=True))
    kernel = tf.reshape(tf.add_n(bands), (tall, x.shape[-1], wide, upstream.shape[-1]))
    return tf.transpose(kernel, (0, 2, 1, 3))


def _padded(x: tf.Tensor, rows: int, columns: int) -> tf.Tensor:
    return tf.pad(x, _around(rows, columns))


def _around(rows: int, columns: int) -> list[list[int]]:
    return [[0, 0], [rows, rows], [columns, columns], [0, 0]]


def _as_matrix(x: tf.Tensor) -> tf.Tensor:
    return tf.reshape(x, (-1, x.shape[-1]))


def _normalization(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Keras' instance norm in its order of rounding; x alone is kept."""

    @tf.custom_gradient
    def run(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        mean = _over_pixels(tf.reduce_mean, x)
        inverse = tf.math.rsqrt(_over_pixels(tf.reduce_mean, tf.math.squared_difference(x, mean)) + epsilon)
        scale = inverse * gamma

        def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            centred = x - after([upstream], mean)
            by_beta, by_scale = (_over_pixels(tf.reduce_sum, v) for v in (upstream, upstream * centred))
            count = tf.cast(tf.size(x[0, ..., 0]), x.dtype)
            by_x = scale * (upstream - by_beta / count - centred * (tf.square(inverse) * by_scale / count))
            return by_x, tf.reduce_sum(by_scale * inverse, (0, 1, 2)), tf.reduce_sum(by_beta, (0, 1, 2))

        return x * scale + (beta - mean * scale), gradients

    return run(x, gamma, beta)


def _over_pixels(reduce: Callable, x: tf.Tensor) -> tf.Tensor:
    return reduce(x, axis=(1, 2), keepdims=True)


@tf.custom_gradient
def _rectification(x: tf.Tensor, alpha: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """Keras' PReLU with alpha (1, 1, C); x alone is kept. At 0 the derivative is 0, as Keras has it."""

    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        zero = after([upstream], tf.zeros((), x.dtype))
        by_x = upstream * (tf.cast(x > zero, x.dtype) + alpha * tf.cast(x < zero, x.dtype))
        return by_x, tf.reduce_sum(upstream * tf.minimum(x, zero), axis=(0, 1, 2))[None, None]

    return tf.nn.relu(x) - alpha * tf.nn.relu(-x), gradients
