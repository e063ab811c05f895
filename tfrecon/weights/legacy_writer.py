"""Writing a Keras 2 weight file, for programs that still run on `tf.keras` 2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import WeightsError
from ..files import hdf5_when_complete
from .legacy_files import OUTSIDE
from .report import is_seed
from .tree import layers_with_weights, owners

# Keras leaves room below HDF5's 64 KiB for one attribute and goes on in a next one.
_LARGEST_ATTRIBUTE = 64512


def save_legacy_weights(model: Any, path: Any) -> Path:
    """Write the weights as a Keras 2 weight file, which `tf.keras` 2's `load_weights` reads; it appears when complete.

    Layout: attributes `layer_names`, `backend`, `keras_version`; a group for each layer with `weight_names`; arrays at
    `<layer>/<layer>/<variable>:0`, inside a nested model at `<model>/<layer>/<variable>:0`, trainable ones first.

    Args:
        model: a built Keras model.
        path: file name, by custom ending in .h5; an existing file is replaced.

    Raises:
        WeightsError: two arrays of one layer would get the same name. ResourceError: the disk is full.
    """
    import keras

    path = Path(path)
    names = {id(layer): _written_names(layer) for layer in layers_with_weights(model)}
    with hdf5_when_complete(path) as file:
        file.attrs.update(backend=b"tensorflow", keras_version=keras.__version__.encode())
        _write_names(file, "layer_names", [layer.name for layer in model.layers])
        for layer in model.layers:
            _write_layer(file.create_group(layer.name), names.get(id(layer), []))
        _write_layer(file.create_group(OUTSIDE), [])
    return path


def _written_names(layer: Any) -> list[tuple[str, Any]]:
    """(name, variable) of a layer's weights in Keras 2's order."""
    names = {id(v): f"{owner.name}/{leaf}:0" for owner in owners(layer) for leaf, v in owner.variables.items()}
    variables = [v for v in layer.trainable_weights + layer.non_trainable_weights if not is_seed(v)]
    if len({names.get(id(v)) for v in variables} - {None}) != len(variables):
        raise WeightsError(f"The layer {layer.name} holds arrays of the same name inside, which a Keras 2 file cannot keep "
                           "apart. Use save_weights (.weights.h5), or give the layers inside different names.")
    return [(names[id(v)], v) for v in variables]


def _write_layer(group: h5py.Group, arrays: list[tuple[str, Any]]) -> None:
    _write_names(group, "weight_names", [name for name, _ in arrays])
    for name, variable in arrays:
        group.create_dataset(name, data=variable.numpy())


def _write_names(group: h5py.Group, key: str, names: list[str]) -> None:
    values = np.array([name.encode() for name in names], dtype=None if names else "S1")
    parts = next(n for n in range(1, values.size + 2) if -(-values.size // n) * values.itemsize <= _LARGEST_ATTRIBUTE)
    for index, part in enumerate(np.array_split(values, parts)):
        group.attrs[key if parts == 1 else f"{key}{index}"] = part
