"""The same network with fewer multiplications, for inference on a processor."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import Any

import keras
import numpy as np

from ..layers import AddShiftedRows, InterleavePhases, WinogradConv2D
from ..layers.phases import phase_kernel, row_kernel
from ..layers.winograd import winograd_kernel

# From where on the rearranged convolutions were measured to be faster than the plain one (2 cores with AVX-512): Winograd's
# form takes 0.9 to 1.1 times its time with 64 channels, 0.75 to 0.8 with 128, half with 256.
_WINOGRAD_CHANNELS, _FEW_FILTERS, _MANY_ROWS = 128, 4, 5


def inference_form(model: keras.Model) -> keras.Model:
    """Build a model with the outputs of `model` in inference that does less work; `model` is not touched.

    Every batch normalisation behind a convolution is merged into it, and the ReLU behind that; dropout goes. A 3x3
    convolution of an image enlarged by repetition becomes four 2x2 convolutions of the image itself; other 3x3
    convolutions take Winograd's form (four times the memory for their weights); a large convolution to few channels is
    split into its rows. Everything else is copied. Made for `deblurgan_mri.generator_model`, right for every network of
    ours. Layers are named after the last layer merged into them, whose output they have. Not measured on a GPU, whose
    libraries have such forms of their own.

    Args:
        model: a functional Keras model in float32 or float64, every layer called once; sizes may be None. Its weights are
            copied: make the form anew after further training.

    Input shape, output shape, value range: as `model`, to 1e-4 of the output's range in float32.
    Raises: ValueError for a model that is not functional, holds other models, shares layers or computes in half precision.
    """
    _check(model)
    forms: dict[int, Any] = {}  # what stands for each of the model's tensors, by the tensor's id
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            forms[id(layer.output)] = keras.Input(batch_shape=layer.batch_shape, dtype=layer.dtype, name=layer.name)
        else:
            forms[id(layer.output)] = _form(layer, _found(forms, _as_list(layer.input)))
    inputs, outputs = ([_tensor(form) for form in _found(forms, side)] for side in (model.inputs, model.outputs))
    form = keras.Model(_alone(inputs), _alone(outputs), name=f"{model.name}_inference")
    form.trainable = False
    return form


def _check(model: Any) -> None:
    advice = "Give a network as the builders of tfrecon.models return it."
    if not isinstance(model, keras.Model) or not hasattr(model, "operations"):
        raise ValueError(f"Expected a functional Keras model, received a {type(model).__name__}. {advice}")
    inner = [layer.name for layer in model.layers if isinstance(layer, keras.Model)]
    if inner:
        raise ValueError(f"Expected a model of plain layers, received one that holds {', '.join(inner)}. {advice}")
    half = sorted({layer.compute_dtype for layer in model.layers} - {"float32", "float64"})
    if half:
        raise ValueError(f"Expected a model that computes in float32 or float64, received {', '.join(half)}, which is too "
                         "coarse for Winograd's form. Build it under the float32 policy and load its weights.")


def _found(forms: dict[int, Any], tensors: list) -> list:
    try:
        return [forms[id(tensor)] for tensor in tensors]
    except KeyError:
        raise ValueError("Expected a model whose layers are each called once, received one with a shared layer or a bare "
                         "keras operation. Give a network as the builders of tfrecon.models return it.") from None


@dataclasses.dataclass
class _Enlarged:
    """An image enlarged by repetition, held back until it is known what reads it."""

    layer: keras.layers.UpSampling2D
    source: Any

    @cached_property
    def tensor(self) -> Any:
        return _copied(self.layer, [self.source])


@dataclasses.dataclass
class _Convolution:
    """A convolution in float64 with what was merged into it, held back until it is known what follows.

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
        if isinstance(self.source, _Enlarged) and plain and small and layer.padding == "same":
            return self._phases()
        if plain and small and min(channels, filters) >= _WINOGRAD_CHANNELS:
            return self._winograd()
        if plain and rows >= _MANY_ROWS and filters <= _FEW_FILTERS and layer.padding == "valid" and not self.activation:
            return self._rows()
        options = {"strides": layer.strides, "padding": layer.padding, "activation": self.activation}
        return self._conv("", _tensor(self.source), self.kernel, self.bias, **options)

    def _phases(self) -> Any:
        padded = self._new(keras.layers.ZeroPadding2D, "_phases_pad", padding=1)(self.source.source)
        kernel, bias = phase_kernel(self.kernel), np.tile(self.bias, 4)
        phases = self._conv("_phases", padded, kernel, bias, activation=self.activation)
        return self._new(InterleavePhases)(phases)

    def _winograd(self) -> Any:
        options = {"filters": len(self.bias), "padding": self.layer.padding, "activation": self.activation}
        layer = self._new(WinogradConv2D, **options)
        return _called(layer, _tensor(self.source), [winograd_kernel(self.kernel), self.bias])

    def _rows(self) -> Any:
        rows = self.kernel.shape[0]
        bias = np.append(self.bias, np.zeros((rows - 1) * len(self.bias)))  # added once
        parts = self._conv("_rows", _tensor(self.source), row_kernel(self.kernel), bias)
        return self._new(AddShiftedRows, rows=rows)(parts)

    def _conv(self, suffix: str, source: Any, kernel: np.ndarray, bias: np.ndarray, **options: Any) -> Any:
        size = {"filters": kernel.shape[-1], "kernel_size": kernel.shape[:2]}
        return _called(self._new(keras.layers.Conv2D, suffix, **size, **options), source, [kernel, bias])

    def _new(self, cls: type, suffix: str = "", **options: Any) -> keras.layers.Layer:
        # The policy's name: Keras cannot serialise a layer made with the policy itself.
        return cls(**options, name=self.name + suffix, dtype=self.layer.dtype_policy.name)


def _form(layer: keras.layers.Layer, given: list) -> Any:
    """What stands for the layer's output, `given` what stands for its inputs."""
    first = given[0]
    if isinstance(layer, keras.layers.Dropout):
        return first
    if isinstance(layer, keras.layers.UpSampling2D) and layer.size == (2, 2) and layer.interpolation == "nearest":
        return _Enlarged(layer, _tensor(first))
    if type(layer) is keras.layers.Conv2D and _is_ordinary(layer):
        kernel = np.asarray(layer.kernel, np.float64)
        bias = np.asarray(layer.bias, np.float64) if layer.use_bias else np.zeros(layer.filters)
        return _Convolution(layer, layer.name, first, kernel, bias)
    if isinstance(first, _Convolution) and first.activation is None:
        if isinstance(layer, keras.layers.BatchNormalization) and layer.axis in (-1, 3):
            scale, offset = _scale_and_offset(layer)
            kernel, bias = first.kernel * scale, first.bias * scale + offset
            return dataclasses.replace(first, name=layer.name, kernel=kernel, bias=bias)
        if isinstance(layer, keras.layers.ReLU) and (layer.max_value, layer.negative_slope, layer.threshold) == (None, 0, 0):
            return dataclasses.replace(first, name=layer.name, activation="relu")
    return _copied(layer, [_tensor(form) for form in given])


def _is_ordinary(layer: keras.layers.Conv2D) -> bool:
    linear = layer.activation is keras.activations.linear
    return linear and layer.groups == 1 and layer.dilation_rate == (1, 1) and layer.data_format == "channels_last"


def _scale_and_offset(layer: keras.layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """The normalisation with its moving statistics, as x -> scale x + offset."""
    mean, variance = (np.asarray(v, np.float64) for v in (layer.moving_mean, layer.moving_variance))
    scale = (np.asarray(layer.gamma, np.float64) if layer.scale else 1.0) / np.sqrt(variance + layer.epsilon)
    return scale, (np.asarray(layer.beta, np.float64) if layer.center else 0.0) - mean * scale


def _copied(layer: keras.layers.Layer, sources: list) -> Any:
    copy = type(layer).from_config(layer.get_config())
    return _called(copy, _alone(sources), layer.get_weights())


def _called(layer: keras.layers.Layer, source: Any, weights: list) -> Any:
    output = layer(source)
    layer.set_weights(weights)
    return output


def _tensor(form: Any) -> Any:
    return form.tensor if isinstance(form, (_Enlarged, _Convolution)) else form


def _as_list(tensors: Any) -> list:
    return list(tensors) if isinstance(tensors, (list, tuple)) else [tensors]


def _alone(tensors: list) -> Any:
    return tensors[0] if len(tensors) == 1 else tensors

