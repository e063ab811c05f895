"""The names in state dicts of bayesiains/nsf's flows, as `models.spline_flow` calls the same weights."""

from __future__ import annotations

import re

_LEVEL = r"^_transform\._transforms\.1\._transforms\.(\d+)\._transforms\.(\d+)\."
_RULES = (
    (re.compile(_LEVEL + r"_transforms\.0\."), r"level_\1_step_\2_actnorm."),
    (re.compile(_LEVEL + r"_transforms\.1\."), r"level_\1_step_\2_linear."),
    (re.compile(_LEVEL + r"_transforms\.2\."), r"level_\1_step_\2_coupling."),
    (re.compile(_LEVEL), r"level_\1_linear."),
    (re.compile(r"^_transform\._transforms\.0\."), "preprocess."),
    (re.compile(r"\.permutation\._permutation$"), ".permutation"),
)


def translated(name: str) -> str:
    """Our state-dict name of an array of nsf's; other names stay as they are."""
    if name.startswith("_transform."):
        for pattern, ours in _RULES:
            name = pattern.sub(ours, name)
    return name
