"""The VGG networks up to a layer, frozen, and the three ways to their weights: ImageNet's, a file, or none.

Nothing is built or fetched before it is asked for.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from ..errors import DataError, WeightsError
from ..hdf5 import get_dataset, open_hdf5
from .vgg_download import fetch

# Convolutions and filters of the five blocks (Simonyan and Zisserman, 2014, columns D and E).
BLOCKS = {
    "vgg16": ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)),
    "vgg19": ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512)),
}

_LARGEST = 2**30  # VGG19 with its dense layers has 575 MB


def layer_names(backbone: str) -> list[str]:
    """The convolutions of a backbone in order: block1_conv1 to block5_conv3 or block5_conv4."""
    return [f"block{b}_conv{c}" for b, (count, _) in enumerate(BLOCKS[backbone], 1) for c in range(1, count + 1)]


def build_features(backbone: str, layer: str, pre_activation: bool, weights: Any) -> keras.Model:
    """The frozen network from images to the output of a convolution.

    Args:
        backbone: vgg16 or vgg19.
        layer: name of the convolution, as `keras.applications` names them.
        pre_activation: leave the last ReLU out.
        weights: "imagenet", the path of a file (see `read_weights`), or None for random ones.

    Input shape: (N, H, W, 3). Output shape: (N, h, w, filters).
    """
    arrays = None if weights is None else _arrays(backbone, layer, weights)
    # Full precision whatever the policy: the loss is a difference of large, similar numbers.
    policy = keras.config.floatx()
    x = inputs = keras.Input((None, None, 3), name="image", dtype=policy)
    for b, (count, filters) in enumerate(BLOCKS[backbone], 1):
        for c in range(1, count + 1):
            name = f"block{b}_conv{c}"
            last = name == layer
            activation = None if last and pre_activation else "relu"
            x = keras.layers.Conv2D(filters, 3, padding="same", activation=activation, name=name, dtype=policy)(x)
            if last:
                model = keras.Model(inputs, x, name=f"{backbone}_{layer}", trainable=False)
                model.dtype_policy = policy  # or it would round its inputs to the global policy's type
                return _filled(model, arrays)
        x = keras.layers.MaxPooling2D(2, strides=2, name=f"block{b}_pool", dtype=policy)(x)
    raise AssertionError("unreachable: the layer's name was checked")


def _filled(model: keras.Model, arrays: Mapping[str, np.ndarray] | None) -> keras.Model:
    for variable in model.weights if arrays is not None else ():
        name = variable.path.removeprefix(f"{model.name}/")
        array = arrays[name]
        if array.shape != tuple(variable.shape) or array.dtype.kind != "f" or not np.isfinite(array).all():
            raise WeightsError(f"{name} of the VGG weights must be finite {tuple(variable.shape)}, received {array.dtype} "
                               f"{array.shape}. Give the file of the backbone asked for.")
        variable.assign(array)
    return model


def _arrays(backbone: str, layer: str, weights: Any) -> dict[str, np.ndarray]:
    wanted = layer_names(backbone)
    wanted = wanted[: wanted.index(layer) + 1]
    return read_weights(fetch(backbone) if weights == "imagenet" else weights, wanted)


def read_weights(path: Any, layers: list[str]) -> dict[str, np.ndarray]:
    """{"block1_conv1/kernel": array, ...} for the layers wanted.

    Takes the h5 files `keras.applications` publishes (legacy layout), Keras 3 `.weights.h5` of its VGG models, and `.npz`
    with names like `block1_conv1__kernel`; told by content. Arrays of further layers are left alone.

    Raises:
        WeightsError: the file is missing, broken, hostile, or has no such layers.
    """
    path = Path(os.path.expanduser(path))
    names = [(layer, leaf) for layer in layers for leaf in ("kernel", "bias")]
    try:
        with open(path, "rb") as handle:
            is_npz = handle.read(2) == b"PK"
        return _from_npz(path, names) if is_npz else _from_h5(path, layers)
    except (OSError, DataError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        reason = f"it has no array {error}" if isinstance(error, KeyError) else error
        raise WeightsError(f"{path} does not give the VGG weights wanted: {reason}. Expected an h5 file of "
                           "keras.applications or an npz with names like block1_conv1__kernel.") from error


def _from_npz(path: Path, names: list[tuple[str, str]]) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        declared = sum(member.file_size for member in archive.infolist())
    if declared > _LARGEST:
        raise ValueError(f"it declares {declared} bytes, more than the {_LARGEST} of a whole VGG")
    with np.load(path, allow_pickle=False) as archive:
        return {f"{layer}/{leaf}": archive[f"{layer}__{leaf}"] for layer, leaf in names}


def _from_h5(path: Path, layers: list[str]) -> dict[str, np.ndarray]:
    with open_hdf5(path) as file:
        return {f"{layer}/{leaf}": _array(file, layer, number, leaf)
                for number, layer in enumerate(layers) for leaf in ("kernel", "bias")}


def _array(file: h5py.File, layer: str, number: int, leaf: str) -> np.ndarray:
    """A layer's array wherever one of the three generations of Keras put it."""
    unnamed = "conv2d" if number == 0 else f"conv2d_{number}"
    keys = (
        f"{layer}/{layer}_{'W' if leaf == 'kernel' else 'b'}_1:0",  # the published files, written by Keras 1
        f"{layer}/{layer}/{leaf}:0",
        f"layers/{unnamed}/vars/{0 if leaf == 'kernel' else 1}",  # Keras 3 counts instead of naming
    )
    for key in keys:
        try:
            return np.asarray(get_dataset(file, key)[()])
        except DataError as error:
            if key == keys[-1] or "no key" not in str(error):
                raise
    raise AssertionError("unreachable: the last key either returns or raises")
