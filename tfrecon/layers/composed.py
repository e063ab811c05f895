"""Convolutions one behind the other taken as a single one, for inference: its kernel, and the border it gets wrong."""

from __future__ import annotations

from itertools import product
from typing import Any

import keras
import numpy as np
from keras import ops

from .depth_to_space import interleaved

# Where the output pixels of a kernel lie, on either axis.
_FIRST, _INSIDE, _LAST = "first", "inside", "last"
_PLACES = (_FIRST, _INSIDE, _LAST)


def composed_kernel(
    kernels: list, biases: list, rows: str = _INSIDE, columns: str = _INSIDE
) -> tuple[np.ndarray, np.ndarray]:
    """One kernel and bias for convolutions (k, k, in, out) one behind the other, k odd, each padded "same" with zeros.

    Inside the image that is the convolution of the kernels. The w outermost rows and columns see zeros in the place of
    intermediate results, so each has a kernel of its own. For "first" or "last" these are given together, as filters of one
    kernel that lies on the image's first or last pixels and is not moved along that axis.

    Returns: float64 kernel (K, L, in, a * b * out) and bias (a * b * out); a is 1 for rows inside, otherwise w, and b the
        same for columns.
    """
    width, filters = border_width(kernels), kernels[-1].shape[-1]
    places = (rows, columns)
    block = [1 if place == _INSIDE else width for place in places]
    kernel = np.eye(np.prod(block) * filters).reshape(*block, filters, -1)
    bias = np.zeros(kernel.shape[-1])
    for stage, offset in zip(reversed(kernels), reversed(biases)):
        bias += offset @ kernel.sum((0, 1))
        kernel, reach = _after(np.asarray(stage, np.float64), kernel), len(stage) // 2
        for axis, place in enumerate(places):  # what a stage finds outside the image is zero
            if place != _INSIDE:
                kernel = kernel.take(np.arange(kernel.shape[axis] - reach) + (reach if place == _FIRST else 0), axis)
    return kernel, bias


def border_width(kernels: list) -> int:
    """How many rows or columns at each side of the output depend on zeros in the place of intermediate results."""
    return sum(len(kernel) // 2 for kernel in kernels[1:])


def border_kernels(kernels: list, biases: list) -> list[np.ndarray]:
    """What `ExactBorder` wants behind the kernels and biases of the convolutions: those of its eight places."""
    return [array for rows, columns in _border() for array in composed_kernel(kernels, biases, rows, columns)]


def _border() -> list[tuple[str, str]]:
    return [place for place in product(_PLACES, _PLACES) if place != (_INSIDE, _INSIDE)]


def _after(first: np.ndarray, then: np.ndarray) -> np.ndarray:
    """The kernel of the convolution by `then` of the convolution by `first`."""
    rows, columns, channels, _ = first.shape
    composed = np.zeros((rows + then.shape[0] - 1, columns + then.shape[1] - 1, channels, then.shape[3]))
    for i, j in np.ndindex(*then.shape[:2]):
        composed[i : i + rows, j : j + columns] += first @ then[i, j]
    return composed


@keras.saving.register_keras_serializable(package="tfrecon")
class ExactBorder(keras.layers.Layer):
    """The output of convolutions one behind the other, given what a single one in their place makes of the inside.

    Each pads its own input with zeros, a single one only the image: in the outermost rows and columns the two differ. There
    kernels of their own are used, in images too small for them the convolutions themselves.

    Args:
        sizes: of the square kernels, odd, one behind the first larger than 1.
        filters: of each convolution. All have a bias and no stride, and are padded "same".

    Input shape: [(N, H, W, K), (N, H, W, C)], what is right inside, and the input of the first convolution.
    Output shape: (N, H, W, K).
    """

    def __init__(self, sizes: list[int], filters: list[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.sizes, self.filters = list(sizes), list(filters)
        reaches = [size // 2 for size in self.sizes]
        self.width, self.reach = sum(reaches[1:]), sum(reaches)

    def build(self, input_shape: Any) -> None:
        channels = input_shape[1][-1]
        self.stages, self.parts = [], []
        for i, (size, before, filters) in enumerate(zip(self.sizes, [channels, *self.filters], self.filters), start=1):
            self.stages.append(self._weights(f"stage{i}", (size, size, before, filters)))
        for places in _border():
            sides = [2 * self.reach + 1 if place == _INSIDE else self.width + self.reach for place in places]
            shape = (*sides, channels, int(np.prod(self._block(places))) * self.filters[-1])
            self.parts.append(self._weights("_".join(places), shape))

    def _weights(self, name: str, shape: tuple) -> list:
        kernel = self.add_weight(shape=shape, name=f"{name}_kernel")
        return [kernel, self.add_weight(shape=shape[-1:], initializer="zeros", name=f"{name}_bias")]

    def _block(self, places: tuple[str, str]) -> list[int]:
        return [1 if place == _INSIDE else self.width for place in places]

    def call(self, inputs: Any) -> Any:
        inside, source = inputs
        short, narrow = (size < self.width + self.reach for size in ops.shape(source)[1:3])
        if short is True or narrow is True:  # they are tensors where sizes are unknown
            return self._stage_by_stage(source)
        return ops.cond(short | narrow, lambda: self._stage_by_stage(source), lambda: self._framed(inside, source))

    def _stage_by_stage(self, x: Any) -> Any:
        for kernel, bias in self.stages:
            x = ops.conv(x, kernel, padding="same") + bias
        return x

    def _framed(self, inside: Any, source: Any) -> Any:
        w = self.width
        parts = {(_INSIDE, _INSIDE): inside[:, w:-w, w:-w]}
        for places, (kernel, bias) in zip(_border(), self.parts):
            part = ops.conv(self._read(source, places), kernel, padding="valid") + bias
            parts[places] = interleaved(part, *self._block(places))
        rows = [ops.concatenate([parts[row, column] for column in _PLACES], axis=2) for row in _PLACES]
        return ops.concatenate(rows, axis=1)

    def _read(self, x: Any, places: tuple[str, str]) -> Any:
        """What the output in one of the eight places depends on, with the zeros outside the image that it needs."""
        count, pads = self.width + self.reach, [(0, 0)] * 4
        for axis, place in enumerate(places, start=1):
            if place == _INSIDE:
                pads[axis] = (self.reach - self.width,) * 2  # the output begins `width` pixels inside
            else:
                x = x[(slice(None),) * axis + (slice(None, count) if place == _FIRST else slice(-count, None),)]
        return ops.pad(x, pads)

    def compute_output_shape(self, input_shape: Any) -> tuple:
        return tuple(input_shape[0])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sizes": self.sizes, "filters": self.filters}
