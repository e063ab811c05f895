"""Whether the values of options have the types their functions are annotated with: a text is no number, and "False" is true."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np

from ..errors import UsageError


def _is_bool(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_))


_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "bool": ("true or false", _is_bool),
    "int": ("a whole number", lambda value: isinstance(value, Integral) and not _is_bool(value)),
    "float": ("a number", lambda value: isinstance(value, Real) and not _is_bool(value)),
    "str": ("a name", lambda value: isinstance(value, str)),
}


def check_types(functions: Iterable[Callable[..., Any]], options: Mapping[str, Any]) -> None:
    """UsageError for an option whose value is not of the type the first of the functions that has it says.

    Args:
        functions: with annotations as texts (`from __future__ import annotations`); others than bool, int, float and str, each
            also with `| None`, are not looked at.
    """
    known: dict[str, str] = {}
    for function in functions:
        for name, parameter in inspect.signature(function).parameters.items():
            known.setdefault(name, str(parameter.annotation))
    for name, value in options.items():
        kind, _, optional = known.get(name, "").partition(" | ")
        if kind not in _KINDS or (optional and value is None):
            continue
        words, fits = _KINDS[kind]
        if not fits(value):
            raise UsageError(f"{name} must be {words}, received {value!r}.")
