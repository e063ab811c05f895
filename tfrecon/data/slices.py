"""Reads single slices of volumes, as complex64 k-space and float32 targets, whatever way they were stored.

Files stay open between slices, the longest unused one is closed first. Every number that leaves here is finite, and was read
of the file that was indexed: one that vanished or changed is tried once more, then it is an `UnreadableError`.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import h5py
import numpy as np

from ..errors import DataError, NonFiniteError, UnreadableError, UsageError, shown
from ..hdf5 import get_dataset, guard, open_hdf5
from .index import Volume, file_stamp
from .layout import KSPACE_EXPECTED, KspaceLayout, check_complex_axis, kspace_layout, target_layout
from .lost import SecondTry
from .stored_slices import Slice, fetcher


@dataclass(frozen=True)
class _Array:
    """A dataset that was checked against its volume; `layout` is None for targets."""

    fetch: Callable[[int], Slice]
    layout: KspaceLayout | None = None


@dataclass(frozen=True)
class _OpenFile:
    """An open file, its state when it was opened, and the arrays found in it so far."""

    file: h5py.File
    stamp: tuple[int, int]
    arrays: dict[str, _Array] = field(default_factory=dict)


class SliceReader(AbstractContextManager):
    """Reads slices of indexed volumes; use it in a `with` statement or call `close`.

    Args:
        complex_axis: "last" reads real arrays whose last axis is (real, imaginary).
        nan: "refuse" raises for a slice with NaN or infinite values, "zero" puts 0 in their place; how many there
            were is kept in `replaced`, by (volume name, key, slice).
        shift: the k-space has its centre (zero frequency) in the corner; move it to the middle.
        max_open_files: how many files stay open.
    """

    def __init__(
        self, complex_axis: str | None = None, nan: str = "refuse", shift: bool = False, max_open_files: int = 16
    ):
        check_complex_axis(complex_axis)
        if nan not in ("refuse", "zero"):
            raise UsageError(f'nan must be "refuse" or "zero", received {nan!r}')
        if max_open_files < 1:
            raise UsageError(f"max_open_files must be at least 1, received {max_open_files!r}")
        self.complex_axis, self.nan, self.shift, self.max_open_files = complex_axis, nan, shift, max_open_files
        self.replaced: dict[tuple[str, str, int], int] = {}
        self._open: OrderedDict[str, _OpenFile] = OrderedDict()
        # tf.data calls from several threads, and one must not close the file another is reading.
        self._lock = threading.RLock()
        self._second_try = SecondTry()

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes every file; the reader can be used again afterwards."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].file.close()

    def take_replaced(self, name: str, key: str | None = None) -> dict[int, int]:
        """How many values were replaced in the slices of the volume of that name, which are forgotten."""
        with self._lock:
            own = [place for place in self.replaced if place[0] == name]
            counts = {place: self.replaced.pop(place) for place in own}
        return {i: count for (_, found, i), count in counts.items() if key in (None, found)}

    def kspace(self, volume: Volume, i: int) -> np.ndarray:
        """Slice `i` of the k-space: complex64 (height, width) or (coils, height, width)."""
        key = volume.kspace_key
        stored, layout = self._read(volume, key, i, self._find_kspace)
        values = self._finite(_as_complex64(stored, layout), volume, key, i)
        return np.fft.fftshift(values, axes=(-2, -1)) if self.shift else values

    def target(self, volume: Volume, i: int) -> np.ndarray:
        """Slice `i` of the target: float32 (height, width), its values as they are in the file."""
        key = volume.target_key
        if key is None:
            raise UsageError(f"{shown(volume.name)} was indexed without a target; give index_volumes a target key")
        stored, _ = self._read(volume, key, i, _find_target)
        return self._finite(_cast(stored, np.float32), volume, key, i)

    def coil_maps(self, volume: Volume, key: str, i: int) -> np.ndarray:
        """The coil maps of slice `i`: complex64 (coils, height, width), from an array of the k-space's shape."""
        stored, layout = self._read(volume, key, i, lambda file, volume: self._find_maps(file, volume, key))
        return self._finite(_as_complex64(stored, layout), volume, key, i)

    def check_coil_maps(self, volume: Volume, key: str) -> None:
        """DataError unless the coil maps have the k-space's size, from the header alone."""
        with self._lock, guard(volume.path, f"reading {shown(key)}"):
            self._find_maps(self._file(volume).file, volume, key)

    def sampling_mask(self, volume: Volume, i: int) -> np.ndarray:
        """The mask of slice `i` in a file with `masks` (slices, height, width), as DeepInPy's: bool (height, width)."""
        stored, _ = self._read(volume, "masks", i, _find_masks)
        if not np.isin(stored, (0, 1)).all() or not stored.any():
            raise DataError(f"{_where(volume, 'masks')} slice {i} must hold 0 and 1, and not 0 alone; correct it or remove masks")
        return stored.astype(bool)

    def _read(
        self, volume: Volume, key: str, i: int, find: Callable[[h5py.File, Volume], _Array]
    ) -> tuple[np.ndarray, KspaceLayout | None]:
        """One slice as it is stored."""
        if not 0 <= i < volume.slices:
            raise UsageError(f"slice must be 0 to {volume.slices - 1} for {shown(volume.name)}, received {i}")
        return self._second_try(volume.path, lambda: self._read_once(volume, key, i, find))

    def _read_once(
        self, volume: Volume, key: str, i: int, find: Callable[[h5py.File, Volume], _Array]
    ) -> tuple[np.ndarray, KspaceLayout | None]:
        doing = f"reading slice {i} of {shown(key)}"
        with self._lock:
            opened = self._file(volume)
            try:
                with guard(volume.path, doing):
                    if key not in opened.arrays:
                        opened.arrays[key] = find(opened.file, volume)
                    array = opened.arrays[key]
                    fetched = array.fetch(i)
            finally:  # bytes of a file that was written to meanwhile may be anything
                _check_stamp(volume, opened.stamp, _stamp(volume))
        with guard(volume.path, doing):  # other threads may fetch meanwhile
            return fetched(), array.layout

    def _file(self, volume: Volume) -> _OpenFile:
        """The open file of a volume, which must still be the file that was indexed."""
        path, stamp = volume.path, _stamp(volume)
        if path in self._open and self._open[path].stamp != stamp:
            self._open.pop(path).file.close()
        if volume.stamp is not None:
            _check_stamp(volume, volume.stamp, stamp)
        if path not in self._open:
            self._open[path] = _OpenFile(open_hdf5(path), stamp)
        self._open.move_to_end(path)
        while len(self._open) > self.max_open_files:
            self._open.popitem(last=False)[1].file.close()
        return self._open[path]

    def _find_kspace(self, file: h5py.File, volume: Volume) -> _Array:
        dataset = get_dataset(file, volume.kspace_key, KSPACE_EXPECTED)
        layout = kspace_layout(dataset, _where(volume, volume.kspace_key), self.complex_axis)
        if layout.sizes != (volume.slices, volume.coils, volume.height, volume.width):
            raise _changed(volume, f"{shown(volume.kspace_key)} now has the shape {dataset.shape}")
        return _Array(fetcher(dataset, layout.has_slice_axis), layout)

    def _find_maps(self, file: h5py.File, volume: Volume, key: str) -> _Array:
        dataset = get_dataset(file, key, "complex coil maps (slices, coils, H, W)")
        wanted = (volume.slices, volume.coils, volume.height, volume.width)
        advice = "correct them, or have them estimated (--coil-maps espirit)"
        try:
            layout = kspace_layout(dataset, _where(volume, key), self.complex_axis)
        except DataError as error:
            raise DataError(f"{_where(volume, key)}: coil maps must be complex {wanted} as the k-space, found {dataset.dtype} "
                            f"{dataset.shape}; {advice}") from error
        if layout.sizes != wanted:
            raise DataError(f"{_where(volume, key)} has the shape {dataset.shape}, the k-space {wanted}; coil maps must have "
                            f"the k-space's (slices, coils, H, W), one set of them: {advice}")
        return _Array(fetcher(dataset, layout.has_slice_axis), layout)

    def _finite(self, values: np.ndarray, volume: Volume, key: str, i: int) -> np.ndarray:
        # One look at the parts is four times as fast as np.isfinite on complex numbers.
        if np.isfinite(values.reshape(-1).view(np.float32)).all():
            return values
        bad = ~np.isfinite(values)
        if self.nan == "zero":
            with self._lock:
                self.replaced[volume.name, key, i] = int(bad.sum())
            return np.where(bad, values.dtype.type(0), values)
        nans = int(np.isnan(values).sum())
        raise NonFiniteError(f"{_where(volume, key)} slice {i} has {nans} NaN and {int(bad.sum()) - nans} infinite values "
                             f"of {values.size} as {values.dtype}; leave the file out, or put 0 in their place with "
                             'nan="zero" (--nan zero)')


def _find_masks(file: h5py.File, volume: Volume) -> _Array:
    dataset = get_dataset(file, "masks", "masks (slices, H, W)")
    wanted = (volume.slices, volume.height, volume.width)
    if dataset.shape != wanted or dataset.dtype.kind not in "biuf":
        raise DataError(f"{_where(volume, 'masks')} is {dataset.dtype} {dataset.shape}, expected numbers {wanted} as the k-space "
                        "has; correct it or remove masks")
    return _Array(fetcher(dataset, True))


def _find_target(file: h5py.File, volume: Volume) -> _Array:
    dataset = get_dataset(file, volume.target_key, "real images")
    shape, _ = target_layout(dataset, _where(volume, volume.target_key), volume.slices)
    if shape != volume.target_shape:
        raise _changed(volume, f"{shown(volume.target_key)} now has the shape {dataset.shape}")
    return _Array(fetcher(dataset, len(dataset.shape) == 3))


def _where(volume: Volume, key: str) -> str:
    return f"{shown(volume.path)}: {shown(key)}"


def _stamp(volume: Volume) -> tuple[int, int]:
    try:
        return file_stamp(volume.path)
    except DataError as error:
        raise UnreadableError(str(error)) from error


def _check_stamp(volume: Volume, expected: tuple[int, int], found: tuple[int, int]) -> None:
    if found != expected:
        raise _changed(volume, "its size or modification time differs")


def _changed(volume: Volume, how: str) -> UnreadableError:
    return UnreadableError(f"{shown(volume.path)}: changed since it was indexed ({how}); index the folder again")


def _cast(stored: np.ndarray, dtype: type) -> np.ndarray:
    """Native float32 or complex64 without a copy where the file already has it; overflow is left for `_finite`."""
    with np.errstate(over="ignore", invalid="ignore"):
        return stored.astype(dtype, copy=False)


def _as_complex64(stored: np.ndarray, layout: KspaceLayout) -> np.ndarray:
    if not layout.fields and not layout.last_axis:
        return _cast(stored, np.complex64)
    parts = [stored[name] for name in layout.fields] if layout.fields else [stored[..., 0], stored[..., 1]]
    values = np.empty(parts[0].shape, np.complex64)
    values.real, values.imag = (_cast(part, np.float32) for part in parts)
    return values
