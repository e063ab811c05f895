"""What every loader returns, and the one place where arrays are written into a model: all of them or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import WeightsError


@dataclass(frozen=True)
class LoadReport:
    """The result of a strict load.

    Attributes:
        loaded: number of arrays assigned; equal to `total`, or there would have been an error.
        total: number of arrays the model has.
        sha256: of the file, None for a mapping.
        rows: (name in the source, name of the variable, shape) for each array.
    """

    loaded: int
    total: int
    sha256: str | None
    rows: tuple[tuple[str, str, tuple[int, ...]], ...] = ()

    def __str__(self) -> str:
        digest = f" (sha256 {self.sha256[:12]})" if self.sha256 else ""
        return f"loaded {self.loaded}/{self.total} arrays{digest}"


def assign_all(model: Any, arrays: Mapping[str, tuple[str, np.ndarray]], sha256: str | None) -> LoadReport:
    """Assign `{variable path: (source name, array)}` to every weight of the model after checking all of them.

    Raises:
        WeightsError: an array is missing, has another shape or holds NaN or infinity. Nothing is changed then.
    """
    variables = [v for v in model.weights if not is_seed(v)]
    missing = [v.path for v in variables if v.path not in arrays]
    if missing:
        raise WeightsError(
            f"{len(missing)} of {len(variables)} arrays of {model.name} are not in the source, first {missing[:3]}. "
            "The weights belong to another network or another revision; build the model they were made for."
        )
    for variable in variables:
        check_array(variable, *arrays[variable.path])
    for variable in variables:
        variable.assign(arrays[variable.path][1])
    rows = tuple((arrays[v.path][0], v.path, tuple(v.shape)) for v in variables)
    return LoadReport(len(variables), len(variables), sha256, rows)


def check_array(variable: Any, source_name: str, array: np.ndarray) -> None:
    """WeightsError unless the array has the variable's shape and only finite real numbers."""
    if tuple(array.shape) != tuple(variable.shape):
        raise WeightsError(
            f"{source_name}: expected shape {tuple(variable.shape)} for {variable.path}, received {array.shape}. "
            "The weights belong to a network of other width or depth; build the model with its options."
        )
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise WeightsError(f"{source_name}: expected finite real numbers, received {array.dtype} with NaN, infinity "
                           "or another kind. The file is damaged or the training diverged.")


def is_seed(variable: Any) -> bool:
    """Whether the variable is the state of a random generator (dropout), which no published file holds."""
    return "seed_generator" in variable.path
