"""Arrays with PyTorch names and layouts, matched to the variables of a Keras model of ours.

Our layers carry the original's state-dict prefix with dots as underscores, so a name decides, never a position.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import WeightsError
from .nsf_names import translated
from .report import LoadReport, as_array, assign_all, is_seed

_LEAVES = {
    "kernel": "weight",
    "gamma": "weight",
    "bias": "bias",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_IGNORED = "num_batches_tracked"  # a counter of PyTorch's batch norm; nothing here depends on it
_PARALLEL = "module."
_Source = dict[tuple[str, str], Any]  # (layer, leaf) -> (name, array)


def load_state_dict(
    model: Any, state: Mapping[str, Any], sha256: str | None = None, notes: Sequence[str] = ()
) -> LoadReport:
    """Assign a PyTorch state dict to a model, strictly.

    Args:
        model: a built Keras model whose layers are named after the state dict.
        state: name -> array in PyTorch's layout; a prefix `module.` (DataParallel) is taken off.
        sha256: of the file the arrays came from, for the report.
        notes: sentences for the report.

    Raises:
        WeightsError: names are missing or left over, shapes differ, numbers are not finite. The model is unchanged.
    """
    places = list(_places(model))
    source = _with_owners(_by_layer(state), [key for key, _ in places], tuple(_networks_of(model)))
    source, renumbered = _renumbered(source, {layer for (layer, _), _ in places})
    source = _without_constants(model, source)
    arrays = _implied(model)
    for key, variable in places:
        if key in source:
            name, array = source.pop(key)
            arrays[id(variable)] = (name, _to_keras(array, variable.name))
    if source:
        names = sorted(name for name, _ in source.values())
        raise WeightsError(
            f"{len(names)} arrays of the source have no place in {model.name}, first {names[:3]}. "
            "The weights belong to another network or another revision; build the model they were made for."
        )
    if renumbered:
        notes = (*notes, f"{renumbered} layers are numbered as if a layer without weights (dropout) were there or not")
    stripped = sum(str(name).startswith(_PARALLEL) for name in state)
    if stripped:
        notes = (*notes, f"the prefix {_PARALLEL} of DataParallel was taken off {stripped} names")
    return assign_all(model, arrays, sha256, notes)


def _without_constants(model: Any, source: _Source) -> _Source:
    """The source without the arrays that are fixed in our layers (`constants`), if they are what is fixed there."""
    rest = dict(source)
    for scope, layer in _layers(model):
        for leaf, value in getattr(layer, "constants", {}).items():
            name, array = rest.pop((f"{scope}{layer.name}", leaf), (None, None))
            if name is not None and not np.array_equal(array, np.asarray(value)):
                raise WeightsError(f"{name}: expected {np.asarray(value)}, which is fixed in {model.name}, received {array}. "
                                   "The weights belong to a network built otherwise.")
    return rest


def _implied(model: Any) -> dict[int, tuple[str, np.ndarray]]:
    """What no state dict says of our layers' variables, and every trained one means (`implied`)."""
    return {
        id(variable): (f"{layer.name}: implied", np.full(variable.shape, layer.implied[variable.name]))
        for _, layer in _layers(model) if hasattr(layer, "implied")
        for variable in layer._non_trainable_variables if variable.name in layer.implied
    }


def count_places(model: Any, names: Iterable[str]) -> int:
    """How many of the names mean a variable of the model, read as names of PyTorch."""
    known = [key for key, _ in _places(model)]
    return sum(key in known for key in _with_owners({_key(name): name for name in names}, known, tuple(_networks_of(model))))


def _places(model: Any) -> Iterator[tuple[tuple[str, str], Any]]:
    """((layer name, PyTorch's name of the variable), variable) for all weights.

    Layers of a network that a model which is no graph holds as an attribute ("denoiser") begin with the attribute's name.
    """
    for scope, layer in _layers(model):
        for variable in layer._trainable_variables + layer._non_trainable_variables:
            if not is_seed(variable):
                yield (f"{scope}{layer.name}", _LEAVES.get(variable.name, variable.name)), variable


def _layers(model: Any) -> Iterator[tuple[str, Any]]:
    inside = _networks_of(model)
    own = [layer for network in inside.values() for layer in network._flatten_layers()]
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if not any(layer is other for other in own):
            yield "", layer
    for attribute, network in inside.items():
        yield from ((f"{attribute}_", layer) for layer in network._flatten_layers(include_self=False, recursive=True))


def _networks_of(model: Any) -> dict[str, Any]:
    """The networks a model that is no graph itself holds, by attribute."""
    from keras import Function, Model

    if isinstance(model, Function):
        return {}
    return {name: value for name, value in vars(model).items() if isinstance(value, Model) and not name.startswith("_")}


def _key(name: str) -> tuple[str, str]:
    prefix, _, leaf = translated(str(name).removeprefix(_PARALLEL)).rpartition(".")
    return prefix.replace(".", "_"), leaf


def _by_layer(state: Mapping[str, Any]) -> _Source:
    result: _Source = {}
    for name, array in state.items():
        key = _key(name)
        if key[1] == _IGNORED:
            continue
        if key in result:
            raise WeightsError(f"Two arrays of the source mean the same layer: {result[key][0]} and {name}.")
        result[key] = (str(name), as_array(name, array))
    return result


def _with_owners(source: _Source, places: Sequence[tuple[str, str]], networks: tuple[str, ...]) -> _Source:
    """The source with weights of PyTorch's outermost modules given to the only layer here that has one of that name.

    Their names hold no layer ("alpha", "denoiser.l2lam"), and every weight of ours belongs to one ("projection", "alpha").
    """
    placed: _Source = {}
    for (layer, leaf), value in source.items():
        owners = []
        if layer in ("", *networks):
            others = tuple(f"{name}_" for name in networks if name != layer)
            inside = [p for p in places if p[1] == leaf and p not in source and not p[0].startswith(others)]
            owners = [p for p in inside if not layer or p[0].startswith(f"{layer}_")]
        placed[owners[0] if len(owners) == 1 else (layer, leaf)] = value
    return placed


def _renumbered(source: _Source, layers: set[str]) -> tuple[_Source, int]:
    """The source with its last numbers changed to the model's where both hold as many layers under the same parent.

    PyTorch numbers the layers of a Sequential whether they have weights or not: a network built with dropout calls its
    second convolution 6 and without it 5, and the weights are the same.
    """
    wanted, found = _numbers(layers), _numbers({layer for layer, _ in source})
    renamed = {}
    for parent, numbers in found.items():
        ours = wanted.get(parent, set())
        if ours != numbers and len(ours) == len(numbers):
            pairs = zip(sorted(numbers), sorted(ours))
            renamed.update({f"{parent}_{theirs}": f"{parent}_{own}" for theirs, own in pairs if theirs != own})
    return {(renamed.get(layer, layer), leaf): value for (layer, leaf), value in source.items()}, len(renamed)


def _numbers(layers: Iterable[str]) -> dict[str, set[int]]:
    """Parent -> the numbers of its layers."""
    found: dict[str, set[int]] = {}
    for layer in layers:
        parent, _, number = layer.rpartition("_")
        if parent and number.isdecimal():
            found.setdefault(parent, set()).add(int(number))
    return found


def _to_keras(array: np.ndarray, variable_name: str) -> np.ndarray:
    """(out, in, h, w) to (h, w, in, out); also right for transposed convolutions: (in, out, h, w) to (h, w, out, in)."""
    if variable_name == "kernel" and array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    return array.T if variable_name == "kernel" and array.ndim == 2 else array
