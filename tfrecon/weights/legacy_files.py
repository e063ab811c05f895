"""Keras 2 files (`save_weights("x.h5")`, and the weights inside a whole saved model), read by our own hands.

Keras' reader of these files follows links out of the file on older versions, assigns while it reads and so leaves a half
loaded network after an error, and mixes layers of nested models up. A whole model's own description (`model_config`, where
a Lambda hides code) is never looked at.
"""

from __future__ import annotations

import re
from typing import Any

import h5py

from ..errors import WeightsError, shown
from ..hdf5 import get_dataset, guard, open_hdf5
from .attributes import check_plain, read_label, read_strings
from .legacy_match import Stored, match_layers
from .report import LoadReport, about, assign_all, check_shape

OUTSIDE = "top_level_model_weights"
_KERAS_1_NAME = re.compile(r"_(W|b|running_mean|running_std)(_\d+)?(:0)?$")


def load_legacy_file(model: Any, path: Any, sha256: str) -> LoadReport:
    """Load a Keras 2 file strictly: every array, right shapes, finite numbers, or no change.

    Args:
        model: a built Keras model.
        path: a file that `find_source` has walked through, so that no link in it leads out.
        sha256: of the file, for the report.

    Raises:
        WeightsError, DataError: the file does not fit, is broken or hostile; kernels in another orientation (Keras 1,
            Theano).
    """
    with open_hdf5(path) as file:
        with guard(path, "listing the layers"):
            notes = [] if has_names(file) else ["weights of a whole saved model; its description was not read"]
            layers = [(name, arrays) for name, arrays in stored_layers(file) if arrays]
            known = facts(file)
        with about(path):
            _check_origin(known, layers)
            pairs = match_layers(model, layers)
            for variable, stored in pairs:
                check_shape(variable, stored.name, tuple(stored.dataset.shape))
            with guard(path, "reading the weights"):
                arrays = {id(variable): (stored.name, stored.dataset[()]) for variable, stored in pairs}
            return assign_all(model, arrays, sha256, notes)


def has_names(group: h5py.Group) -> bool:
    """Whether the group lists layers as a Keras 2 weight file does."""
    return "layer_names" in group.attrs or "layer_names0" in group.attrs


def weights_group(file: h5py.File) -> h5py.Group:
    """Where the layers lie: at the top of a weight file, in a group of a whole saved model."""
    return file["/"] if has_names(file) else file["model_weights"]


def facts(file: h5py.File) -> dict[str, str]:
    """keras_version and backend, as far as the file has them."""
    found = {key: read_label(file, key) or read_label(weights_group(file), key) for key in ("keras_version", "backend")}
    return {key: value for key, value in found.items() if value}


def stored_layers(file: h5py.File) -> list[tuple[str, list[Stored]]]:
    """(layer name, its arrays) in the file's order, layers without weights included. Nothing is read.

    Raises:
        WeightsError: a listed layer is missing or weights lie outside of layers. DataError: damaged or hostile.
    """
    root = weights_group(file)
    names = _read_names(root, "layer_names")
    outside = OUTSIDE in root and _read_names(root[OUTSIDE], "weight_names")
    if outside:
        raise WeightsError(f"{shown(file.filename)}: holds weights outside of layers ({outside[0]}), which a network of "
                           "layers has no place for. Give a mapping from variable names to arrays instead.")
    if len(set(names)) != len(names):
        raise WeightsError(f"{shown(file.filename)}: lists a layer twice; the file is damaged, get it again.")
    return [(name, _stored_arrays(root, name)) for name in names]


def _stored_arrays(root: h5py.Group, layer: str) -> list[Stored]:
    path = root.file.filename
    group = root.get(layer)
    if not isinstance(group, h5py.Group):
        raise WeightsError(f"{shown(path)}: lists the layer {shown(layer)} and does not hold it; the file is damaged, get "
                           "it again.")
    names = _read_names(group, "weight_names")
    found = [Stored(name, get_dataset(root.file, f"{group.name}/{name}")) for name in names]
    for stored in found:
        check_plain(stored.dataset)
    return found


def _read_names(group: h5py.Group, key: str) -> list[str]:
    """A list of names that may go on in attributes with a number behind their name."""
    keys = [key] if key in group.attrs else [f"{key}{i}" for i in range(len(group.attrs)) if f"{key}{i}" in group.attrs]
    return [name for key in keys for name in read_strings(group, key)]


def _check_origin(known: dict[str, str], layers: list[tuple[str, list[Stored]]]) -> None:
    """Theano turned its kernels round, and Keras 1 had other orders of axes; the numbers would fit and be wrong."""
    version, backend = known.get("keras_version", ""), known.get("backend", "")
    old_names = any(_KERAS_1_NAME.search(array.name) for _, arrays in layers for array in arrays)
    if version.split(".")[0] == "1" or backend.lower() == "theano" or (not version and old_names):
        raise WeightsError(
            f"was written by Keras {version or '1'} on {backend or 'an unknown backend'}, whose convolution kernels may be "
            "turned round, which the numbers do not show. Load it once with Keras 2 on TensorFlow, which converts, and save "
            "it again."
        )
