"""Whether options are known, and their values have the types their functions are annotated with: a text is no number, and "False"
is true.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from ..errors import UsageError, did_you_mean, shown


def _is_bool(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_))


_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "bool": ("true or false", _is_bool),
    "int": ("a whole number", lambda value: isinstance(value, Integral) and not _is_bool(value)),
    "float": ("a number", lambda value: isinstance(value, Real) and not _is_bool(value)),
    "str": ("a name", lambda value: isinstance(value, str)),
}


def check_names(model: str, functions: Sequence[Callable[..., Any]], options: Mapping[str, Any]) -> None:
    """UsageError for an option that none of the functions has.

    Args:
        functions: the first is called with the options; the others count where it hands on what it does not know.
    """
    first, *others = (inspect.signature(function).parameters.values() for function in functions)
    hands_on = any(p.kind is p.VAR_KEYWORD for p in first)
    known = dict.fromkeys(p.name for parameters in (first, *(others if hands_on else ())) for p in parameters
                          if p.kind is not p.VAR_KEYWORD)
    for name in options:
        if name not in known:
            raise UsageError(f"{model} has no option {shown(str(name))}; it takes {', '.join(known)}{did_you_mean(name, known)}")


def check_types(functions: Sequence[Callable[..., Any]], options: Mapping[str, Any]) -> None:
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
