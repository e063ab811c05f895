"""Arrays with PyTorch names and layouts, matched to the variables of a Keras model of ours.

Our layers carry the original's state-dict prefix with dots as underscores, so a name decides, never a position.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import WeightsError
from .report import LoadReport, assign_all, is_seed

_LEAVES = {
    "kernel": "weight",
    "gamma": "weight",
    "bias": "bias",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_IGNORED = "num_batches_tracked"  # a counter of PyTorch's batch norm; nothing here depends on it


def load_state_dict(model: Any, state: Mapping[str, Any], sha256: str | None = None) -> LoadReport:
    """Assign a PyTorch state dict to a model, strictly.

    Args:
        model: a built Keras model whose layers are named after the state dict.
        state: name -> array in PyTorch's layout; a common prefix `module.` (DataParallel) is taken off.
        sha256: of the file the arrays came from, for the report.

    Raises:
        WeightsError: names are missing or left over, shapes differ, numbers are not finite. The model is unchanged.
    """
    source = _by_layer(state)
    arrays = {}
    for layer in model._flatten_layers(include_self=False, recursive=True):
        for variable in layer._trainable_variables + layer._non_trainable_variables:
            if is_seed(variable):
                continue
            key = (layer.name, _LEAVES.get(variable.name, variable.name))
            if key in source:
                name, array = source.pop(key)
                arrays[variable.path] = (name, _to_keras(array, variable.name))
    if source:
        names = sorted(name for name, _ in source.values())
        raise WeightsError(
            f"{len(names)} arrays of the source have no place in {model.name}, first {names[:3]}. "
            "The weights belong to another network or another revision; build the model they were made for."
        )
    return assign_all(model, arrays, sha256)


def _by_layer(state: Mapping[str, Any]) -> dict[tuple[str, str], tuple[str, np.ndarray]]:
    result: dict[tuple[str, str], tuple[str, np.ndarray]] = {}
    for name, array in state.items():
        prefix, _, leaf = str(name).removeprefix("module.").rpartition(".")
        key = (prefix.replace(".", "_"), leaf)
        if leaf == _IGNORED:
            continue
        if key in result:
            raise WeightsError(f"Two arrays of the source mean the same layer: {result[key][0]} and {name}.")
        result[key] = (str(name), np.asarray(array))
    return result


def _to_keras(array: np.ndarray, variable_name: str) -> np.ndarray:
    """(out, in, h, w) to (h, w, in, out); also right for transposed convolutions: (in, out, h, w) to (h, w, out, in)."""
    if variable_name == "kernel" and array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    return array.T if variable_name == "kernel" and array.ndim == 2 else array
