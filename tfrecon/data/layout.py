"""How the arrays of a volume lie in its file: which axes are what, and how numbers stand for complex ones.

Both the index (headers only) and the slice reader ask here, so a file is never indexed one way and read another.
"""

import math
from dataclasses import dataclass

import h5py
import numpy as np

from ..errors import DataError, UsageError

KSPACE_EXPECTED = "a 3-D or 4-D complex array"
MASK_SHAPES = "(W,), (1, W), (1, W, 1), (H, W) or (1, H, W)"
# Names under which compound types keep the two halves of a complex number, real part first.
_FIELD_PAIRS = (("r", "i"), ("real", "imag"), ("re", "im"))


@dataclass(frozen=True)
class KspaceLayout:
    """Sizes of a k-space array and how one slice of it becomes complex.

    `has_slice_axis` is False for a single slice stored without one; `fields` names the halves of a compound type,
    real part first; `last_axis` says that the last axis holds (real, imaginary).
    """

    slices: int
    coils: int | None
    height: int
    width: int
    has_slice_axis: bool
    fields: tuple[str, str] | None
    last_axis: bool
    notes: tuple[str, ...]

    @property
    def sizes(self) -> tuple[int, int | None, int, int]:
        return self.slices, self.coils, self.height, self.width


def check_complex_axis(complex_axis: str | None) -> None:
    if complex_axis not in (None, "last"):
        raise UsageError(f'complex_axis must be None or "last", received {complex_axis!r}')


def kspace_layout(dataset: h5py.Dataset, where: str, complex_axis: str | None = None) -> KspaceLayout:
    """Reads the layout from type and shape alone.

    Args:
        dataset: the k-space array.
        where: file and key, the beginning of every error.
        complex_axis: "last" reads real arrays whose last axis is (real, imaginary).
    """
    fields = _complex_fields(dataset.dtype)
    if not dataset.shape or (dataset.dtype.kind not in "fc" and fields is None):
        raise DataError(f"{where} must be {KSPACE_EXPECTED}, found {_describe(dataset)}; name the k-space with --key")
    last_axis = dataset.dtype.kind == "f"
    shape, notes = dataset.shape, _precision_notes(dataset, where)
    if last_axis:
        shape, more = _without_complex_axis(dataset, where, complex_axis)
        notes += more
    if len(shape) == 2 and len(dataset.shape) == 2:
        notes += (f"{_key(where)} of shape {dataset.shape} is read as one slice",)
    return _from_shape(shape, where, fields, last_axis, notes)


def _key(where: str) -> str:
    return where.rsplit(": ", 1)[-1]


def _complex_fields(dtype: np.dtype) -> tuple[str, str] | None:
    """The two field names of a compound type that stands for complex numbers, else None."""
    by_lower = {name.lower(): name for name in dtype.names or ()}
    for pair in _FIELD_PAIRS:
        if len(by_lower) == 2 and set(pair) == set(by_lower) and all(dtype[n].kind in "fiu" for n in dtype.names):
            return by_lower[pair[0]], by_lower[pair[1]]
    return None


def _describe(dataset: h5py.Dataset) -> str:
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return "text"
    if dataset.dtype.hasobject:
        return "references or arrays of varying length"
    if not dataset.shape:
        return f"a single {dataset.dtype} value" if dataset.shape == () else "an empty dataset"
    return f"{dataset.dtype} of shape {dataset.shape}"


def _precision_notes(dataset: h5py.Dataset, where: str) -> tuple[str, ...]:
    wide = dataset.dtype.itemsize > (4 if dataset.dtype.kind == "f" else 8)
    return (f"{_key(where)} is {dataset.dtype}, read as complex64",) if wide else ()


def _without_complex_axis(dataset: h5py.Dataset, where: str, complex_axis: str | None) -> tuple[tuple[int, ...], tuple]:
    """Shape of a real array once its last axis is taken for (real, imaginary); refused where that is a guess."""
    shape = dataset.shape
    found = f"{where} is real ({dataset.dtype}, shape {shape}), expected complex"
    if shape[-1] != 2:
        raise DataError(f"{found}; an image is not k-space: name the k-space with --key")
    if len(shape) == 3:  # as slices it would be two pixels wide, so only one reading makes sense
        return shape[:-1], (f"{_key(where)} of shape {shape} is read as one slice of (real, imaginary)",)
    if complex_axis is None:
        raise DataError(f'{found}; if its last axis is (real, imaginary), say complex_axis="last" '
                        "(--complex-axis last)")
    return shape[:-1], ()


def _from_shape(shape, where, fields, last_axis, notes) -> KspaceLayout:
    if len(shape) not in (2, 3, 4):
        raise DataError(f"{where} must be {KSPACE_EXPECTED}, found shape {shape}; store one volume per file as "
                        "(slices, height, width) or (slices, coils, height, width)")
    slices = shape[0] if len(shape) > 2 else 1
    if slices == 0:
        raise DataError(f"{where} has no slices (shape {shape}); leave the file out")
    if 0 in shape:
        raise DataError(f"{where} is empty (shape {shape}); leave the file out")
    coils = shape[1] if len(shape) == 4 else None
    return KspaceLayout(slices, coils, *shape[-2:], len(shape) > 2, fields, last_axis, notes)


def target_layout(dataset: h5py.Dataset, where: str, slices: int) -> tuple[tuple[int, int], tuple[str, ...]]:
    """Height and width of the target images, and what the user should know about their numbers."""
    dtype, shape = dataset.dtype, dataset.shape
    if dtype.kind not in "fiu" or not shape or len(shape) not in (2, 3):
        raise DataError(f"{where} must be real images (slices, height, width), found {_describe(dataset)}; "
                        "name another target")
    count = shape[0] if len(shape) == 3 else 1
    if count != slices:
        raise DataError(f"{where} has {count} slices, the k-space {slices}; the two must agree: get the file again")
    if 0 in shape:
        raise DataError(f"{where} is empty (shape {shape}); leave the file out")
    return shape[-2:], _number_notes(dtype, _key(where))


def _number_notes(dtype: np.dtype, key: str) -> tuple[str, ...]:
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return (f"{key} is {dtype} ({limits.min} to {limits.max}), read as float32 with its values as they are",)
    return (f"{key} is {dtype}, read as float32",) if dtype.itemsize > 4 else ()


def read_mask(dataset: h5py.Dataset, where: str, height: int, width: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """The sampling mask of a file as bool (width,), from any of the shapes in use.

    Returns:
        the mask, and notes about it.
    """
    shape = dataset.shape or ()
    _check_mask_shape(shape, dataset, where, height, width)
    values = dataset[()]
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise DataError(f"{where} must hold only 0 and 1, found {_mask_values(values)}; make it binary first")
    rows = values.reshape(-1, width).astype(bool)
    if (rows != rows[0]).any():
        raise DataError(f"{where} of shape {shape} differs from row to row; `mask` is one of whole columns: store masks of "
                        "single points as `masks` (slices, H, W), or mask the k-space yourself and remove the mask")
    if not rows[0].any():
        raise DataError(f"{where} is all zeros, so nothing was measured; remove or correct it")
    notes = (f"{_key(where)} is all ones: acceleration 1, nothing is removed",) if rows[0].all() else ()
    return rows[0], notes


def _check_mask_shape(shape: tuple[int, ...], dataset: h5py.Dataset, where: str, height: int, width: int) -> None:
    """Width first and exactly: a mask of width 1 would broadcast, and mean something else."""
    columns = shape[1] if len(shape) == 3 and shape[2] == 1 else shape[-1] if shape else 0
    rows = math.prod(shape) // columns if columns else 0
    if len(shape) not in (1, 2, 3) or not columns or rows not in (1, height) or (len(shape) == 3 and shape[0] != 1):
        raise DataError(f"{where} must have the shape {MASK_SHAPES} with H, W = {height}, {width}, "
                        f"found {_describe(dataset)}; remove or reshape it")
    if columns != width:
        raise DataError(f"{where} has width {columns}, the k-space {width}; the two must agree: correct the mask")


def _mask_values(values: np.ndarray) -> str:
    if values.dtype.kind not in "biuf":
        return str(values.dtype)
    return f"{values.dtype} from {values.min()} to {values.max()}"
