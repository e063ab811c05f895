"""What stands for a tensor while `inference_form` walks through a model: held back until it is known what reads it."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import Any

import keras
import numpy as np

from ..layers import (
    AddShiftedRows,
    DepthToSpace,
    ExactBorder,
    InterleavePhases,
    OverhangChannels,
    WinogradConv2D,
    WinogradRowsConv2D,
)
from ..layers.composed import border_kernels, border_width, composed_kernel
from ..layers.overhang import overhang_kernel, overhangs
from ..layers.phases import phase_kernel, row_kernel
from ..layers.winograd import winograd_kernel
from ..layers.winograd_rows import ROWS, winograd_rows_kernel
from .inference_chains import Stage, cheapest

# From where on the rearranged convolutions were measured to be faster than the plain one. Winograd's form takes, on 2 cores
# with AVX-512, 0.9 to 1.1 times its time with 64 channels, 0.75 to 0.8 with 128, half with 256; without AVX-512 (Zen 3) 0.9
# with 128, 0.7 with 256, but with 64 1.4 (160x160) to 4 (320x320). Written anew for 64 channels of 320x320, with the image
# kept in tiles from one convolution to the next, it still took 2.3 times as long there.
_WINOGRAD_CHANNELS, _FEW_FILTERS, _MANY_ROWS = 128, 4, 5
# Of a 7x7 convolution, filtered by rows, 0.8 of the time is left with 32 channels, 0.6 with 64 (Zen 3), nothing gained with 16.
_WINOGRAD_ROWS_CHANNELS = 32


@dataclasses.dataclass
class Enlarged:
    """An image enlarged by repetition."""

    layer: keras.layers.UpSampling2D
    source: Any

    @cached_property
    def tensor(self) -> Any:
        return copied(self.layer, [self.source])


@dataclasses.dataclass
class Transposed:
    """A transposed convolution, with which a chain of linear layers may begin."""

    layer: keras.layers.Conv2DTranspose
    source: Any

    @cached_property
    def tensor(self) -> Any:
        return copied(self.layer, [tensor_of(self.source)])

    @cached_property
    def overhanging(self) -> Any:
        """What a convolution that does this one's work too reads; once for all of them."""
        moves = [overhangs(size, self.layer.strides[0]) for size in self.layer.kernel_size]
        name, dtype = f"{self.layer.name}_overhangs", self.layer.dtype_policy.name
        return OverhangChannels(*moves, name=name, dtype=dtype)(tensor_of(self.source))

    @cached_property
    def stages(self) -> list[Stage]:
        return [Stage(np.asarray(self.layer.kernel, np.float64), bias_of(self.layer), self.layer.strides[0])]


@dataclasses.dataclass
class Convolution:
    """A convolution in float64 with what was merged into it.

    `name` is that of the last layer merged, whose output it has.
    """

    layer: keras.layers.Conv2D
    name: str
    source: Any
    kernel: np.ndarray
    bias: np.ndarray
    activation: str | None = None

    @cached_property
    def tensor(self) -> Any:
        layer, (rows, columns, channels, filters) = self.layer, self.kernel.shape
        plain, small = layer.strides == (1, 1), (rows, columns) == (3, 3)
        if (count := cheapest(self.stages)[1]) > 1:
            return self._joined(count)
        if isinstance(self.source, Enlarged) and plain and small and layer.padding == "same":
            return self._phases()
        if plain and small and min(channels, filters) >= _WINOGRAD_CHANNELS:
            return self._winograd()
        if plain and rows == ROWS and layer.padding == "valid" and min(channels, filters) >= _WINOGRAD_ROWS_CHANNELS:
            return self._winograd_rows()
        if plain and _is_long(self.kernel) and (rows % 2 or layer.padding == "valid") and not self.activation:
            return self._rows("", tensor_of(self.source), self.kernel, self.bias, layer.padding)
        options = {"strides": layer.strides, "padding": layer.padding, "activation": self.activation}
        return self._conv("", tensor_of(self.source), self.kernel, self.bias, **options)

    @cached_property
    def stages(self) -> list[Stage]:
        """The chain of linear layers that ends here; empty where this one does not go into a chain."""
        layer, (rows, columns) = self.layer, self.kernel.shape[:2]
        odd_square = rows == columns and rows % 2
        if self.activation or layer.strides != (1, 1) or layer.padding != "same" or not odd_square:
            return []
        stages = self.source.stages if is_unread_chain(self.source) else []
        return [*stages, Stage(self.kernel, self.bias)]

    def _joined(self, count: int) -> Any:
        """One convolution that does the work of the last stages."""
        stages, first = self.stages[-count:], self
        for _ in stages[1:]:
            first = first.source
        if stages[0].stride > 1:
            return self._enlarging(first.overhanging, *stages)
        kernels, biases = [stage.kernel for stage in stages], [stage.bias for stage in stages]
        source, bordered = tensor_of(first.source), border_width(kernels) > 0
        kernel, bias = composed_kernel(kernels, biases)
        make = self._rows if _is_long(kernel) else self._conv
        inside = make("_inside" if bordered else "", source, kernel, bias, padding="same")
        return self._bordered(inside, source, kernels, biases) if bordered else inside

    def _enlarging(self, source: Any, transposed: Stage, then: Stage) -> Any:
        kernel, bias = overhang_kernel(transposed.kernel, transposed.bias, transposed.stride, then.kernel, then.bias)
        phases = self._conv("_phases", source, kernel, bias, padding="same")
        return self._new(DepthToSpace, size=transposed.stride)(phases)

    def _bordered(self, inside: Any, source: Any, kernels: list, biases: list) -> Any:
        weights = [array for pair in zip(kernels, biases) for array in pair] + border_kernels(kernels, biases)
        border = self._new(ExactBorder, sizes=[len(kernel) for kernel in kernels], filters=[len(bias) for bias in biases])
        return called(border, [inside, source], weights)

    def _phases(self) -> Any:
        padded = self._new(keras.layers.ZeroPadding2D, "_phases_pad", padding=1)(self.source.source)
        kernel, bias = phase_kernel(self.kernel), np.tile(self.bias, 4)
        phases = self._conv("_phases", padded, kernel, bias, activation=self.activation)
        return self._new(InterleavePhases)(phases)

    def _winograd(self) -> Any:
        options = {"filters": len(self.bias), "padding": self.layer.padding, "activation": self.activation}
        layer = self._new(WinogradConv2D, **options)
        return called(layer, tensor_of(self.source), [winograd_kernel(self.kernel), self.bias])

    def _winograd_rows(self) -> Any:
        options = {"filters": len(self.bias), "kernel_width": self.kernel.shape[1], "activation": self.activation}
        layer = self._new(WinogradRowsConv2D, **options)
        return called(layer, tensor_of(self.source), [winograd_rows_kernel(self.kernel), self.bias])

    def _rows(self, suffix: str, source: Any, kernel: np.ndarray, bias: np.ndarray, padding: str) -> Any:
        rows = kernel.shape[0]
        bias = np.pad(bias, [(rows // 2 * len(bias), (rows - 1) // 2 * len(bias))])  # once, with the row that is not shifted
        parts = self._conv(f"{suffix}_rows", source, row_kernel(kernel), bias, padding=padding)
        if padding == "same":
            zeros = ((rows // 2, rows // 2), (0, 0))
            parts = self._new(keras.layers.ZeroPadding2D, f"{suffix}_rows_pad", padding=zeros)(parts)
        return self._new(AddShiftedRows, suffix, rows=rows)(parts)

    def _conv(self, suffix: str, source: Any, kernel: np.ndarray, bias: np.ndarray, **options: Any) -> Any:
        size = {"filters": kernel.shape[-1], "kernel_size": kernel.shape[:2]}
        return called(self._new(keras.layers.Conv2D, suffix, **size, **options), source, [kernel, bias])

    def _new(self, cls: type, suffix: str = "", **options: Any) -> keras.layers.Layer:
        return cls(**options, name=self.name + suffix, dtype=self._dtype)

    @property
    def _dtype(self) -> str:
        return self.layer.dtype_policy.name  # the policy's name: Keras cannot serialise a layer made with the policy itself


@dataclasses.dataclass
class Combination:
    """The sum or the difference of chains of linear layers, under the name of the layer whose output it has."""

    layer: keras.layers.Layer
    name: str
    parts: list

    @cached_property
    def tensor(self) -> Any:
        config = {**self.layer.get_config(), "name": self.name}
        return type(self.layer).from_config(config)([part.tensor for part in self.parts])

    def convolved(self, reader: Convolution) -> Combination | Convolution:
        """The reader, which has this for its source, applied to each part; or the reader itself, where that is less work."""
        silent = np.zeros_like(reader.bias)  # the bias is added once
        readers = [
            dataclasses.replace(reader, name=f"{reader.name}_part{i}", source=part, bias=silent if i else reader.bias)
            for i, part in enumerate(self.parts)
        ]
        apart = sum(cheapest(part.stages)[0] for part in readers)
        together = sum(cheapest(part.stages)[0] for part in self.parts) + cheapest(reader.stages)[0]
        if not reader.stages or apart >= together:
            return reader
        return Combination(self.layer, reader.name, readers)


def is_unread_chain(form: Any) -> bool:
    """Whether linear layers end here whose output nothing needed as a tensor up to now."""
    return isinstance(form, (Convolution, Transposed)) and bool(form.stages) and "tensor" not in vars(form)


def tensor_of(form: Any) -> Any:
    return form.tensor if isinstance(form, (Enlarged, Transposed, Convolution, Combination)) else form


def bias_of(layer: keras.layers.Layer) -> np.ndarray:
    return np.asarray(layer.bias, np.float64) if layer.use_bias else np.zeros(layer.filters)


def copied(layer: keras.layers.Layer, sources: list) -> Any:
    copy = type(layer).from_config(layer.get_config())
    if isinstance(layer, keras.layers.Conv2DTranspose):
        copy.output_padding = layer.output_padding  # the configuration of Keras 3.13 forgets it
    return called(copy, sources[0] if len(sources) == 1 else sources, layer.get_weights())


def called(layer: keras.layers.Layer, source: Any, weights: list) -> Any:
    output = layer(source)
    layer.set_weights(weights)
    return output


def _is_long(kernel: np.ndarray) -> bool:
    return kernel.shape[0] >= _MANY_ROWS and kernel.shape[-1] <= _FEW_FILTERS
