"""Tensors by name: one of several ways of naming must fit the model completely, or nothing is loaded.

Known are the names of PyTorch state dicts, the model's own variable paths, `layer/variable` (or `layer__variable`), and the
numbered names in checkpoints of TensorFlow 2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import WeightsError
from .legacy_match import Stored, match_layers
from .report import LoadReport, as_array, assign_all, is_seed, saved_variables
from .torch_layout import count_places, load_state_dict
from .tree import children, layers_with_weights, owners


def load_named(model: Any, tensors: Mapping[str, Any], sha256: str | None = None, notes: Sequence[str] = ()) -> LoadReport:
    """Assign a mapping name -> array strictly, whichever of the known namings it uses.

    Raises:
        WeightsError: no naming fits all arrays and all variables, shapes differ, numbers are not finite. The model is
            unchanged.
    """
    plain = {_plain(name): name for name in tensors}
    if len(plain) != len(tensors):
        raise WeightsError("Two arrays of the source differ in nothing but a ':0' behind their name. Leave one out.")
    namings = _namings(model)
    for places in namings:
        if set(places) == set(plain):
            arrays = {id(v): (plain[name], as_array(name, tensors[plain[name]])) for name, v in places.items()}
            return assign_all(model, arrays, sha256, notes)
    by_layer = _by_layer(tensors)
    if by_layer and not count_places(model, tensors) and len(by_layer) == len(layers_with_weights(model)):
        pairs = match_layers(model, by_layer)
        return assign_all(model, {id(v): (s.name, s.dataset) for v, s in pairs}, sha256, notes)
    best = max(namings, key=lambda places: len(set(places) & set(plain)), default={})
    if len(set(best) & set(plain)) > count_places(model, tensors):
        raise _misfit(model, best, plain)
    if not count_places(model, tensors):
        raise _strangers(model, tensors)
    return load_state_dict(model, tensors, sha256, notes)


def _by_layer(tensors: Mapping[str, Any]) -> list[tuple[str, list[Stored]]]:
    """Names of Keras 2 (`conv2d_1/kernel:0`), layer after layer in the mapping's order; empty for other names.

    The automatic names depend on what else was built in the session, so such layers go by position, as in a file.
    """
    layers: dict[str, list[Stored]] = {}
    for name, array in tensors.items():
        layer, slash, leaf = str(name).rpartition("/")
        if not (slash and layer and leaf.endswith(":0")):
            return []
        layers.setdefault(layer, []).append(Stored(str(name), as_array(name, array)))
    return list(layers.items())


def fits(model: Any, names: Mapping[str, Any]) -> bool:
    """Whether some of the names mean a variable of the model."""
    return count_places(model, names) > 0 or any(_plain(n) in places for places in _namings(model) for n in names)


# The published MoDL's graph, as the layers of models.unrolled are called.
_MODL = ((re.compile(r"^Wts/(Layer\d+)/W$"), r"\1/kernel"), (re.compile(r"^Wts/(Layer\d+)/BN/"), r"\1_BN/"),
         (re.compile(r"^Wts/lam1$"), "consistency/l2lam"))


def _plain(name: Any) -> str:
    name = str(name).removesuffix(":0")
    for pattern, ours in _MODL:
        name = pattern.sub(ours, name)
    return name


def _namings(model: Any) -> list[dict[str, Any]]:
    """Name -> variable for each way of naming that gives every variable a name of its own."""
    count = len(saved_variables(model))
    inside = [(owner, leaf, v) for layer in layers_with_weights(model) for owner in owners(layer)
              for leaf, v in owner.variables.items()]
    ways = [
        [(v.path, v) for v in saved_variables(model)],
        [(f"{owner.name}/{leaf}", v) for owner, leaf, v in inside],
        [(f"{owner.name}__{leaf}", v) for owner, leaf, v in inside],
        list(_numbered(model, "")),
    ]
    return [dict(way) for way in ways if len(dict(way)) == len({id(v) for _, v in way}) == count]


def _numbered(layer: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """The names TensorFlow 2 gives in a checkpoint: `layer_with_weights-3/kernel`, counted again inside nested models."""
    own = layer._trainable_variables + layer._non_trainable_variables
    yield from ((f"{prefix}{v.name}", v) for v in own if not is_seed(v))
    holding = [child for child in children(layer) if any(not is_seed(v) for v in child.weights)]
    for number, child in enumerate(holding):
        yield from _numbered(child, f"{prefix}layer_with_weights-{number}/")


def _misfit(model: Any, places: Mapping[str, Any], plain: Mapping[str, str]) -> WeightsError:
    missing = [name for name in places if name not in plain]
    extra = [original for name, original in plain.items() if name not in places]
    return WeightsError(
        f"{len(places) - len(missing)} of {len(places)} arrays of {model.name} are in the source; missing {missing[:3]}, "
        f"without a place {extra[:3]}. The weights belong to another network or revision; build the model they were made "
        "for."
    )


def _strangers(model: Any, tensors: Mapping[str, Any]) -> WeightsError:
    ours = [v.path for v in saved_variables(model)][:2]
    return WeightsError(
        f"none of the {len(tensors)} arrays is named after a layer of {model.name} (the source has {list(tensors)[:2]}, the "
        f"model {ours}). The weights belong to another network; build that one, or give a mapping with the model's names."
    )
