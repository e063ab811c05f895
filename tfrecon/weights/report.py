"""What every loader returns, and the one place where arrays are written into a model: all of them or none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import WeightsError, shown


@dataclass(frozen=True)
class LoadReport:
    """The result of a strict load.

    Attributes:
        loaded: number of arrays assigned; equal to `total`, or there would have been an error.
        total: number of arrays the model has.
        sha256: of the file, None for a mapping.
        rows: (name in the source, name of the variable, shape) for each array.
        notes: what the loader did on its own account, one sentence each ("taken from the key 'state_dict'").
    """

    loaded: int
    total: int
    sha256: str | None
    rows: tuple[tuple[str, str, tuple[int, ...]], ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        digest = f" (sha256 {self.sha256[:12]})" if self.sha256 else ""
        return "; ".join([f"loaded {self.loaded}/{self.total} arrays{digest}", *self.notes])


def assign_all(
    model: Any,
    arrays: Mapping[int, tuple[str, np.ndarray]],
    sha256: str | None = None,
    notes: Sequence[str] = (),
) -> LoadReport:
    """Assign `{id(variable): (source name, array)}` to every weight of the model after checking all of them.

    By identity, because two networks inside one model may call their variables the same.

    Raises:
        WeightsError: an array is missing, has another shape or holds NaN or infinity. Nothing is changed then.
    """
    variables = saved_variables(model)
    missing = [v.path for v in variables if id(v) not in arrays]
    if missing:
        raise WeightsError(
            f"{len(missing)} of {len(variables)} arrays of {model.name} are not in the source, first {missing[:3]}. "
            "The weights belong to another network or another revision; build the model they were made for."
        )
    for variable in variables:
        check_array(variable, *arrays[id(variable)])
    with unchanged_on_error(variables):
        for variable in variables:
            variable.assign(arrays[id(variable)][1])
    rows = tuple((arrays[id(v)][0], v.path, tuple(v.shape)) for v in variables)
    return LoadReport(len(variables), len(variables), sha256, rows, tuple(notes))


@contextmanager
def unchanged_on_error(variables: Sequence[Any]) -> Iterator[None]:
    """Put the old values back if anything inside fails, Ctrl-C included."""
    before = [np.array(v) for v in variables]
    try:
        yield
    except BaseException:
        for variable, array in zip(variables, before):
            variable.assign(array)
        raise


@contextmanager
def about(path: str) -> Iterator[None]:
    """Errors about arrays get the file's name in front."""
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"{shown(path)}: {error}") from error


def check_array(variable: Any, source_name: str, array: np.ndarray) -> None:
    """WeightsError unless the array has the variable's shape and only finite real numbers, as the variable holds them."""
    check_shape(variable, source_name, tuple(array.shape))
    if variable.name == "permutation" and not np.array_equal(np.sort(array), np.arange(len(array))):
        raise WeightsError(f"{source_name}: expected each number from 0 to {len(array) - 1} once, received "
                           f"{array[:8]}. The file is damaged.")
    if variable.name == "moving_variance" and array.dtype.kind in "fiu" and (array < 0).any():
        raise WeightsError(f"{source_name}: expected variances of at least 0, received {array.min():.3g}. The file is damaged.")
    if array.dtype.kind not in "fiu" or not _finite_in(variable.dtype, array):
        raise WeightsError(f"{source_name}: expected finite real numbers, received {array.dtype} with NaN, infinity "
                           "or another kind. The file is damaged or the training diverged.")


def as_array(name: Any, value: Any) -> np.ndarray:
    """The value of a mapping as a NumPy array, tensors on the CPU included."""
    try:
        return np.asarray(value)
    except Exception as error:  # each library of tensors raises its own
        raise WeightsError(f"{name}: expected an array, received {type(value).__name__} ({error}). Give a NumPy array of "
                           "float32.") from error


def check_shape(variable: Any, source_name: str, shape: tuple[int, ...]) -> None:
    """WeightsError unless the shapes agree; asked before anything is read."""
    if shape != tuple(variable.shape):
        raise WeightsError(
            f"{source_name}: expected shape {tuple(variable.shape)} for {variable.path}, received {shape}. "
            "The weights belong to a network of other width or depth; build the model with its options."
        )


def _finite_in(dtype: str, array: np.ndarray) -> bool:
    # 1e39 is finite in float64 and infinity in float32; bfloat16 has float32's range.
    wide = {"float64": np.float64, "float16": np.float16}.get(dtype, np.float32)
    with np.errstate(over="ignore"):
        return bool(np.isfinite(array.astype(wide, copy=False)).all())


def saved_variables(model: Any) -> list[Any]:
    """The model's weights without the states of random generators (dropout), which no published file holds."""
    return [v for v in model.weights if not is_seed(v)]


def is_seed(variable: Any) -> bool:
    """Whether the variable is the state of a random generator."""
    return "seed_generator" in variable.path
