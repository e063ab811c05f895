"""The model's side of a match: which layers hold weights, in the order and with the names files know them by."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .report import is_seed

# Layers whose weights are the same under another name in tensorflow-addons.
_OTHER_NAMES = {"group_normalization": "instance_normalization"}


@dataclass(frozen=True)
class Owner:
    """A layer that holds weights itself.

    Attributes:
        name: its name.
        kind: its class as Keras spells it in automatic names: conv2d, batch_normalization.
        variables: its weights by their own names: kernel, bias.
    """

    name: str
    kind: str
    variables: dict[str, Any]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of its weights by name."""
        return {name: tuple(variable.shape) for name, variable in self.variables.items()}


def layers_with_weights(model: Any) -> list[Any]:
    """The model's own layers that a file has an entry for, in its order; a nested model is one of them."""
    return [layer for layer in model.layers if any(not is_seed(v) for v in layer.weights)]


def owners(layer: Any) -> list[Owner]:
    """The layers with weights inside a layer, itself included, in order; a wrapper and what it wraps count as one."""
    found: dict[int, Owner] = {}
    _collect(layer, found)
    return list(found.values())


def _collect(layer: Any, found: dict[int, Owner]) -> None:
    import keras

    wraps = isinstance(layer, keras.layers.Wrapper)  # Keras 2 names a wrapped kernel after the wrapper
    own = layer.weights if wraps else layer._trainable_variables + layer._non_trainable_variables
    variables = {v.name: v for v in own if not is_seed(v)}
    if variables and id(layer) not in found:  # a shared layer is saved once
        found[id(layer)] = Owner(layer.name, kind_of(layer), variables)
    for child in () if wraps else children(layer):
        _collect(child, found)


def children(layer: Any) -> Iterator[Any]:
    """The layers directly inside a layer."""
    return layer._flatten_layers(include_self=False, recursive=False)


def kind_of(layer: Any) -> str:
    """The class of a layer as Keras spells it in automatic names."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
    name = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
    return _OTHER_NAMES.get(name, name)
