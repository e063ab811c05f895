"""Which stored array of a Keras 2 file belongs to which variable: by position outside, by stored names inside.

The layers of a model are stored in its order, whatever they are called: in one session the critic's automatic names go on
counting after the generator's. Inside a nested model position lies: Keras 2 stores what was trainable when the file was
saved first and the rest behind it, so freezing a layer permutes the group. There the stored names decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import WeightsError, shown
from .tree import Owner, kind_of, layers_with_weights, owners

Shapes = dict[str, tuple[int, ...]]
# The same variables under the names of tensorflow-addons and of Keras 2.
_OTHER_LEAVES = {"sn_u": "vector_u", "depthwise_kernel": "kernel"}
# Kinds with equal shapes and other arithmetic: here an automatic name tells what the numbers cannot.
_TELLING = {"conv2d", "conv2d_transpose", "dense", "batch_normalization", "instance_normalization", "layer_normalization"}


@dataclass(frozen=True)
class Stored:
    """One array of a file: `name` as stored ("conv2d_1/kernel:0"), and `dataset`, which has a shape and can be read."""

    name: str
    dataset: Any

    @property
    def owner(self) -> str:
        """The layer the array belongs to."""
        return self._plain.rpartition("/")[0]

    @property
    def leaf(self) -> str:
        """The variable's own name; a counter that TensorFlow 1 put behind it is taken off."""
        return re.sub(r"_\d+$", "", self._plain.rpartition("/")[2])

    @property
    def _plain(self) -> str:
        return re.sub(r":\d+$", "", self.name)


def match_layers(model: Any, stored: Sequence[tuple[str, list[Stored]]]) -> list[tuple[Any, Stored]]:
    """Pair every stored array with a variable.

    Args:
        model: a built Keras model.
        stored: (layer name, its arrays) for the layers of the file that have any, in the file's order.

    Raises:
        WeightsError: the layers do not correspond one to one, or which corresponds to which cannot be told.
    """
    wanted = layers_with_weights(model)
    if len(wanted) != len(stored):
        raise WeightsError(
            f"holds {len(stored)} layers with weights ({_first(name for name, _ in stored)}) and {model.name} has "
            f"{len(wanted)} ({_first(layer.name for layer in wanted)}). It was saved by another model or with other "
            "options; build that one."
        )
    pairs = []
    for layer, (name, arrays) in zip(wanted, stored):
        _check_kind(layer, name)
        pairs += _match_group(layer, name, arrays)
    return pairs


def _first(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(shown(name) for name in names[:3]) + (", ..." if len(names) > 3 else "")


def _check_kind(layer: Any, name: str) -> None:
    stored, kind = _split(name)[0], kind_of(layer)
    if stored != kind and {stored, kind} <= _TELLING:
        raise WeightsError(
            f"its layer {name} is a {stored} and stands where the model has the {kind} {layer.name}. It was saved by "
            "another revision of the network; build that one."
        )


def _match_group(layer: Any, name: str, arrays: list[Stored]) -> list[tuple[Any, Stored]]:
    """Pair the arrays of one top-level layer, which may be a whole nested model."""
    groups: dict[str, list[Stored]] = {}
    for array in arrays:
        groups.setdefault(array.owner, []).append(array)
    wanted = owners(layer)
    chosen = _only(wanted, groups) or _by_name(wanted, groups) or _by_number(wanted, groups, arrays)
    chosen = chosen or _by_shape(wanted, groups)
    if chosen is None:
        raise _cannot_tell(layer, name, wanted, arrays)
    return [pair for owner, key in chosen for pair in _match_leaves(owner, groups[key])]


def _only(wanted: Sequence[Owner], groups: dict[str, list[Stored]]) -> list[tuple[Owner, str]] | None:
    """One layer here, one in the file: its name does not matter."""
    return [(wanted[0], next(iter(groups)))] if len(wanted) == len(groups) == 1 else None


def _by_name(wanted: Sequence[Owner], groups: dict[str, list[Stored]]) -> list[tuple[Owner, str]] | None:
    """All names agree, seen from the end: Keras 2 puts the name of an enclosing layer in front."""
    keys = {key.rpartition("/")[2]: key for key in groups}
    if len(wanted) == len(keys) == len(groups) and {owner.name for owner in wanted} == set(keys):
        return [(owner, keys[owner.name]) for owner in wanted]
    return None


def _by_number(wanted: Sequence[Owner], groups: dict[str, list[Stored]], arrays: Sequence[Stored]):
    """Automatic names: the conv2d layers here in order are conv2d_25, conv2d_26, ... there, and so for every kind."""
    ours: dict[str, list[Owner]] = {}
    theirs: dict[str, list[str]] = {}
    for owner in wanted:
        ours.setdefault(owner.kind, []).append(owner)
    for key in sorted(groups, key=lambda key: _split(key)[1]):
        theirs.setdefault(_split(key)[0], []).append(key)
    if {kind: len(found) for kind, found in ours.items()} != {kind: len(found) for kind, found in theirs.items()}:
        return None
    place = {key: owner for kind in ours for owner, key in zip(ours[kind], theirs[kind])}
    order = {id(owner): index for index, owner in enumerate(wanted)}
    positions = [order[id(place[array.owner])] for array in arrays]
    # Trainable ones in order, then the rest in order: more than one step back means that the numbers follow another order.
    steps_back = sum(b < a for a, b in zip(positions, positions[1:]))
    return [(owner, key) for key, owner in place.items()] if steps_back <= 1 else None


def _by_shape(wanted: Sequence[Owner], groups: dict[str, list[Stored]]) -> list[tuple[Owner, str]] | None:
    """No two layers have the same shapes, so names are not needed."""
    ours = {_signature(owner.shapes): owner for owner in wanted}
    theirs = {_signature(_shapes(arrays, wanted)): key for key, arrays in groups.items()}
    if len(ours) == len(wanted) == len(theirs) == len(groups) and set(ours) == set(theirs):
        return [(ours[signature], key) for signature, key in theirs.items()]
    return None


def _signature(shapes: Shapes) -> tuple:
    return tuple(sorted(shapes.items()))


def _shapes(arrays: Sequence[Stored], wanted: Sequence[Owner]) -> Shapes:
    known = {leaf for owner in wanted for leaf in owner.variables}
    return {_leaf(array, known): tuple(array.dataset.shape) for array in arrays}


def _leaf(array: Stored, known: Any) -> str:
    return array.leaf if array.leaf in known else _OTHER_LEAVES.get(array.leaf, array.leaf)


def _match_leaves(owner: Owner, arrays: Sequence[Stored]) -> list[tuple[Any, Stored]]:
    """Pair the arrays of one layer by their own names, else by shapes if those differ."""
    shapes = _shapes(arrays, [owner])
    if set(shapes) == set(owner.variables) and len(arrays) == len(shapes):
        return [(owner.variables[_leaf(array, owner.variables)], array) for array in arrays]
    ours = {shape: owner.variables[leaf] for leaf, shape in owner.shapes.items()}
    theirs = {tuple(array.dataset.shape): array for array in arrays}
    if len(ours) == len(owner.variables) == len(theirs) == len(arrays) and set(ours) == set(theirs):
        return [(ours[shape], array) for shape, array in theirs.items()]
    raise WeightsError(
        f"its layer {arrays[0].owner or arrays[0].name} holds {_listed(shapes)}, and the layer {owner.name} in its place "
        f"needs {_listed(owner.shapes)}. It was saved by another model or with other options; build that one."
    )


def _listed(shapes: Shapes) -> str:
    return ", ".join(f"{leaf} {shape}" for leaf, shape in shapes.items())


def _cannot_tell(layer: Any, name: str, wanted: Sequence[Owner], arrays: Sequence[Stored]) -> WeightsError:
    theirs = list(dict.fromkeys(array.owner for array in arrays))
    if len(theirs) != len(wanted):
        return WeightsError(f"{name} holds {len(theirs)} layers with weights inside and {layer.name} has {len(wanted)}. It "
                            "was saved by another model or with other options; build that one.")
    return WeightsError(
        f"the layers inside {name} are called {_first(theirs)} in the file and {_first(o.name for o in wanted)} in "
        f"{layer.name}, and which is which cannot be told: their order depends on what was frozen when the file was saved. "
        "Give a mapping from variable names to arrays instead, or rename the layers."
    )


def _split(name: str) -> tuple[str, tuple[int, ...]]:
    """conv2d_25 as ("conv2d", (25,)); the first of its kind has no number in newer Keras 2."""
    name = name.rpartition("/")[2]
    base = re.sub(r"(_\d+)+$", "", name)
    return base, tuple(int(number) for number in re.findall(r"\d+", name[len(base):]))
