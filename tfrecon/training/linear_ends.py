"""G_HR as SRResCycGAN trains it: the linear layers at both of its ends taken together, the rest differentiated by hand.

The first 5x5 convolution directly follows the transposed one, the last three convolutions follow one another. Each such group
has the output of a single convolution with far fewer multiplications, in the forward pass and in both derivatives; all but a
few rows and columns at the image's border, where the layers themselves are applied to a strip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from .by_hand import FULL, accelerated, by_rows, convolution, twin_of

_FACTOR, _SIZE = 4, 5  # of the transposed convolution, which moves nothing further than one pixel of the small image
_NEIGHBOURS = 3


class _Stage(NamedTuple):
    """A convolution padded "same": kernel (k, k, in, out), k odd, and bias (out,) or None."""

    kernel: Any
    bias: Any


class EnlargingTwin:
    """Output and derivatives of a `models.srrescycgan.Generator_HR`, up to rounding; of images of unknown size as `by_hand`'s."""

    def __init__(self, model: keras.Model):
        self._model, self._whole = model, None
        self._layers = {layer.name: layer for layer in model.layers}
        self._body = twin_of(keras.Model(self._layers["stem_conv"].output, self._layers["decoder_conv1"].input))

    def __call__(self, small: Any, training: bool | None = None) -> Any:
        if None in small.shape[1:3]:
            self._whole = self._whole or twin_of(self._model)  # not before: its calls of the layers would seem the model's
            return self._whole(small, training=training)
        encoder, clip = (self._layers[name] for name in ("encoder", "clip"))
        stem, *tail = (_stage(self._layers[name]) for name in ("stem_conv", "decoder_conv1", "decoder_conv2", "head_conv"))
        enlarged = encoder(small)
        x = self._body(bordered(_enlarged_and_convolved(small, encoder, stem), enlarged, [stem]), training=training)
        whole = composed(tail)
        taken_away = bordered(by_rows(x, whole.kernel, "SAME") + whole.bias, x, tail)
        return clip(_applied(enlarged, tail[-1]) - taken_away)


def enlarging_twin(model: keras.Model) -> Any:
    """The twin of G_HR; that of `by_hand` where the model is not built so, or this would not pay: on GPUs and TPUs."""
    full = all(layer.compute_dtype in FULL for layer in model.layers)
    return EnlargingTwin(model) if full and not accelerated() and _is_built_so(model) else twin_of(model)


def _is_built_so(model: keras.Model) -> bool:
    """Whether the layers and what they read are those of `Generator_HR` without a projection."""
    found = {layer.name: layer for layer in model.layers} if isinstance(model, keras.Function) else {}
    names = ("encoder", "stem_conv", "decoder_conv1", "decoder_conv2", "global_skip", "head_conv", "clip")
    if any(name not in found for name in names):
        return False
    encoder, stem, first, second, skip, head, clip = (found[name] for name in names)
    kinds = all(type(layer) is keras.layers.Conv2D for layer in (stem, first, second, head))
    sizes = kinds and (stem.kernel_size, head.kernel_size) == ((_SIZE, _SIZE), (3, 3)) and _transposes(encoder)
    if not sizes or any(len(layer._inbound_nodes) > 1 for layer in (encoder, stem, first, second, skip, head, clip)):
        return False
    chain = ((encoder, stem), (first, second), (skip, head), (head, clip))
    ordered = skip.input[0] is encoder.output and skip.input[1] is second.output and clip.output is model.output
    return ordered and all(later.input is former.output for former, later in chain)


def _transposes(layer: Any) -> bool:
    if type(layer) is not keras.layers.Conv2DTranspose:
        return False
    return (layer.kernel_size, layer.strides, layer.padding) == ((_SIZE, _SIZE), (_FACTOR, _FACTOR), "same")


def _stage(layer: keras.layers.Conv2D) -> _Stage:
    return _Stage(*(None if v is None else tf.convert_to_tensor(v) for v in (layer.kernel, layer.bias)))


def _applied(x: Any, stage: _Stage) -> Any:
    x = convolution(x, stage.kernel, "SAME")
    return x if stage.bias is None else x + stage.bias


def composed(stages: Sequence[_Stage]) -> _Stage:
    """One convolution for several, right where none of them sees beyond the image."""
    kernel, bias = stages[-1].kernel, 0.0 if stages[-1].bias is None else stages[-1].bias
    for stage in reversed(stages[:-1]):
        if stage.bias is not None:
            bias += tf.linalg.matvec(tf.reduce_sum(kernel, (0, 1)), stage.bias, transpose_a=True)
        kernel = _after(stage.kernel, kernel)
    return _Stage(kernel, bias)


def _after(first: Any, then: Any) -> Any:
    """The kernel of the convolution by `then` of the convolution by `first`: the latter's taps, as images, convolved."""
    beyond = then.shape[0] - 1
    taps = tf.pad(tf.transpose(first, (2, 0, 1, 3)), [[0, 0], [beyond, beyond], [beyond, beyond], [0, 0]])
    return tf.transpose(tf.nn.conv2d(taps, tf.reverse(then, [0, 1]), 1, "VALID"), (1, 2, 0, 3))


def _enlarged_and_convolved(small: Any, encoder: Any, stem: _Stage) -> Any:
    """The convolution behind the transposed one as one of the small image, which gives every pixel's block.

    Its kernel is what both make of an image with a single bright pixel, in each channel.
    """
    channels, middle = small.shape[-1], _NEIGHBOURS // 2
    pixel = tf.one_hot(middle, _NEIGHBOURS, dtype=small.dtype)
    bright = tf.einsum("ck,i,j->cijk", tf.eye(channels, dtype=small.dtype), pixel, pixel)
    side = _FACTOR * _NEIGHBOURS
    kernel, bias = (tf.convert_to_tensor(v) for v in (encoder.kernel, encoder.bias))
    spread = tf.nn.conv2d_transpose(bright, kernel, (channels, side, side, kernel.shape[2]), _FACTOR, "SAME")
    blocks = tf.nn.conv2d(spread, stem.kernel, 1, "SAME")
    blocks = tf.reshape(blocks, (channels, _NEIGHBOURS, _FACTOR, _NEIGHBOURS, _FACTOR, blocks.shape[-1]))
    # A block's neighbour before it is the one for which the pixel lies behind.
    blocks = tf.transpose(tf.reverse(blocks, [1, 3]), (1, 3, 0, 2, 4, 5))
    phases = convolution(small, tf.reshape(blocks, (_NEIGHBOURS, _NEIGHBOURS, channels, -1)), "SAME")
    return tf.nn.depth_to_space(phases, _FACTOR) + composed([_Stage(stem.kernel[:1, :1], bias), stem]).bias


def bordered(inside: Any, x: Any, stages: Sequence[_Stage]) -> Any:
    """`inside`, which a single convolution made in place of `stages` of x, with the border as they make it."""
    reaches = [stage.kernel.shape[0] // 2 for stage in stages]
    # A single stage here stands for one behind a transposed convolution, which x comes from.
    width = sum(reaches[1:]) or reaches[0]
    strip = width + sum(reaches)
    if min(x.shape[1:3]) < 2 * strip:
        return _all(x, stages)
    top, bottom = _ends(_all(tf.concat([x[:, :strip], x[:, -strip:]], 0), stages), 1, width)
    left, right = _ends(_all(tf.concat([x[:, :, :strip], x[:, :, -strip:]], 0), stages), 2, width)
    rows = slice(width, -width)
    middle = tf.concat([left[:, rows], inside[:, rows, rows], right[:, rows]], 2)
    return tf.concat([top, middle, bottom], 1)


def _all(x: Any, stages: Sequence[_Stage]) -> Any:
    for stage in stages:
        x = _applied(x, stage)
    return x


def _ends(strips: Any, axis: int, width: int) -> tuple[Any, Any]:
    """The outermost rows or columns of the first strips and of the last ones."""
    first, last = tf.split(strips, 2, 0)
    return (first[:, :width], last[:, -width:]) if axis == 1 else (first[:, :, :width], last[:, :, -width:])
