"""The same network with fewer multiplications, for inference on a processor."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from ..layers import MaximumPReLU, RowwiseInstanceNormalization
from .inference_parts import (
    Combination,
    Convolution,
    Enlarged,
    Transposed,
    bias_of,
    called,
    copied,
    is_unread_chain,
    tensor_of,
)


def inference_form(model: keras.Model) -> keras.Model:
    """Build a model with the outputs of `model` in inference that does less work; `model` is not touched.

    Every batch normalisation behind a convolution is merged into it, and the ReLU behind that; dropout goes. A 3x3
    convolution of an image enlarged by repetition becomes four 2x2 convolutions of the image itself; other 3x3 convolutions
    of many channels take Winograd's form (four times the memory for their weights), 7x7 ones padded beforehand by rows (1.9
    times); a large convolution to few channels is split into its rows. Convolutions one behind the other, also behind a
    transposed one and across sums and differences, become a single one where that halves the multiplications: only those
    padded "same", without stride, with square kernels of odd size. At the image's border the zeros between them are kept by
    kernels for the outermost rows and columns, and by the layers themselves in images too small for these (`Generator_HR` has
    2.7 MB of weights, its form 5.5). Instance norms and PReLU go over the image fewer times. Everything else is copied.

    Made for `deblurgan_mri.generator_model`, `srrescycgan.Generator_HR` and `unrolled.resnet_denoiser` (of unrolled networks
    see the method `inference_form`), right for every network of ours. Layers are
    named after the last layer merged into them, whose output they have. Not measured on a GPU, whose libraries have such
    forms of their own.

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
    inputs, outputs = ([tensor_of(form) for form in _found(forms, side)] for side in (model.inputs, model.outputs))
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


def _form(layer: keras.layers.Layer, given: list) -> Any:
    """What stands for the layer's output, `given` what stands for its inputs."""
    first = given[0]
    if isinstance(layer, keras.layers.Dropout):
        return first
    if isinstance(layer, keras.layers.UpSampling2D) and layer.size == (2, 2) and layer.interpolation == "nearest":
        return Enlarged(layer, tensor_of(first))
    if type(layer) is keras.layers.Conv2D and _is_ordinary(layer) and layer.groups == 1:
        convolution = Convolution(layer, layer.name, first, np.asarray(layer.kernel, np.float64), bias_of(layer))
        return first.convolved(convolution) if isinstance(first, Combination) else convolution
    if type(layer) is keras.layers.Conv2DTranspose and _is_ordinary(layer) and _spreads_evenly(layer):
        return Transposed(layer, first)
    if isinstance(first, Convolution) and first.activation is None:
        if isinstance(layer, keras.layers.BatchNormalization) and layer.axis in (-1, 3):
            scale, offset = _scale_and_offset(layer)
            kernel, bias = first.kernel * scale, first.bias * scale + offset
            return dataclasses.replace(first, name=layer.name, kernel=kernel, bias=bias)
        if isinstance(layer, keras.layers.ReLU) and (layer.max_value, layer.negative_slope, layer.threshold) == (None, 0, 0):
            return dataclasses.replace(first, name=layer.name, activation="relu")
    if type(layer) in (keras.layers.Add, keras.layers.Subtract) and _are_alike(layer) and all(map(is_unread_chain, given)):
        return Combination(layer, layer.name, given)
    sources = [tensor_of(form) for form in given]
    faster = _with_fewer_passes(layer, sources[0])
    return copied(layer, sources) if faster is None else faster


def _with_fewer_passes(layer: keras.layers.Layer, x: Any) -> Any:
    """The layer's output from one that goes over the image fewer times, None where there is none."""
    options = {"name": layer.name, "dtype": layer.dtype_policy.name}
    if type(layer) is keras.layers.GroupNormalization and _is_instance_norm(layer, x.shape):
        gamma = layer.gamma if layer.scale else np.ones(layer.groups)
        beta = layer.beta if layer.center else np.zeros(layer.groups)
        return called(RowwiseInstanceNormalization(layer.epsilon, **options), x, [gamma, beta])
    if type(layer) is keras.layers.PReLU and layer.alpha.shape == (1, 1, x.shape[-1]) and np.max(layer.alpha) <= 1:
        return called(MaximumPReLU(**options), x, [np.ravel(layer.alpha)])
    return None


def _is_instance_norm(layer: keras.layers.GroupNormalization, shape: tuple) -> bool:
    return len(shape) == 4 and layer.axis in (-1, 3) and layer.groups == shape[-1]


def _is_ordinary(layer: keras.layers.Layer) -> bool:
    linear = layer.activation is keras.activations.linear
    return linear and layer.dilation_rate == (1, 1) and layer.data_format == "channels_last"


def _spreads_evenly(layer: keras.layers.Conv2DTranspose) -> bool:
    return layer.padding == "same" and layer.output_padding is None and layer.strides[0] == layer.strides[1] > 1


def _are_alike(layer: keras.layers.Layer) -> bool:
    return len({tuple(tensor.shape) for tensor in layer.input}) == 1  # a broadcast sum is not one of the parts' convolutions


def _scale_and_offset(layer: keras.layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """The normalisation with its moving statistics, as x -> scale x + offset."""
    mean, variance = (np.asarray(v, np.float64) for v in (layer.moving_mean, layer.moving_variance))
    scale = (np.asarray(layer.gamma, np.float64) if layer.scale else 1.0) / np.sqrt(variance + layer.epsilon)
    return scale, (np.asarray(layer.beta, np.float64) if layer.center else 0.0) - mean * scale


def _as_list(tensors: Any) -> list:
    return list(tensors) if isinstance(tensors, (list, tuple)) else [tensors]


def _alone(tensors: list) -> Any:
    return tensors[0] if len(tensors) == 1 else tensors
