"""Streams multi-coil slices as (measurement, image) for the reconstructions that know the measurement."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import DataError, UsageError
from ...physics import ifft2c, rss
from ..batching import batched, check_batch_size, check_nan, elements
from ..checks import MEASURED, sampled_fraction
from ..index import Index, Volume, index_volumes
from ..lost import LostSlices
from ..masking import Masking
from ..memory import check_volumes_fit
from ..slices import SliceReader
from ..splits import Sample, all_samples
from ..stream import EpochClock, FiniteSlices, visits_of
from .maps import CoilMapSource
from .problem import Problem, check_coil_scaling, combine, measured_columns, problem_of

_IMAGES = ("kspace", "none")


def multicoil_pairs(
    path: Any,
    batch_size: int = 1,
    target: str | None = None,
    *,
    accelerations: Any = 4,
    center_fractions: Any = None,
    mask_type: str = "random",
    mask_seed: Any = "file",
    coil_maps: str = "auto",
    stdev: float = 0.0,
    scaling: str = "zero_filled_max",
    shuffle: bool = False,
    seed: int = 0,
    clock: EpochClock | None = None,
    drop_remainder: bool = False,
    metadata: bool = False,
    samples: Sequence[Sample] | None = None,
    kspace_key: str | None = None,
    complex_axis: str | None = None,
    shift: bool = False,
    nan: str = "skip",
    strict: bool = False,
    lost: set | None = None,
) -> Any:
    """Stream slices as ({"kspace", "sens_maps", "mask"}, image).

    Args:
        path: HDF5 file, folder, list of them, or an `Index`.
        batch_size: at least 1. Slices of other sizes or coil counts come in batches of their own.
        target: None or "kspace": the image is the coils' images of the whole k-space weighted by their maps, in complex
            numbers; "none": there is no image (data that are undersampled already, for unsupervised training).
        accelerations, center_fractions, mask_type, mask_seed: as in `masked_pairs`. A file with a mask of its own
            (`mask`, or `masks` for each slice, of single points too) keeps it.
        coil_maps: see `CoilMapSource`; estimated ones look at the sampled centre only.
        stdev: standard deviation of complex noise added to the measured samples, in the units of the scaled k-space (what
            `DeepBasisPursuit` calls by the same name); fresh in every epoch, from `seed`.
        scaling: "zero_filled_max" divides k-space and image by the largest magnitude of the zero-filled image; "none".
        shuffle, seed, clock, drop_remainder, samples, kspace_key, complex_axis, shift, nan, strict, lost: as in `masked_pairs`.
        metadata: yield a third element, a dict of (N,) float32: `scale`, and `data_range`: the largest value of the volume's
            root sum of squares divided by it.

    Returns:
        `tf.data.Dataset`: kspace and sens_maps complex64 (N, coils, H, W), mask float32 (N, H, W), image complex64 (N, H, W);
        single-coil volumes have one coil and a map of ones. Whole frames: a cropped image has no k-space.

    Raises:
        UsageError: an argument is out of range. DataError: no usable volume; or undersampled data with an image wanted.
    """
    if target not in (None, *_IMAGES):
        raise UsageError(f"The target of the multicoil task is computed: kspace or none; received {target!r}.")
    check_batch_size(batch_size)
    check_coil_scaling(scaling)
    if not 0 <= stdev < float("inf"):
        raise UsageError(f"stdev must be a finite number of at least 0, received {stdev!r}.")
    check_nan(nan)
    index = path if isinstance(path, Index) else index_volumes(path, None, kspace_key, strict, complex_axis)
    check_volumes_fit(index.volumes)
    reader = SliceReader(complex_axis, "zero" if nan == "zero" else "refuse", shift)
    masking = Masking(accelerations, center_fractions, mask_type, mask_seed)
    chosen = list(all_samples(index) if samples is None else samples)
    stream = _Stream(index, chosen, reader, masking, CoilMapSource(coil_maps, reader), scaling, stdev, shuffle, seed,
                     clock or EpochClock(), nan, target != "none", metadata, strict, lost)
    stream.check_volumes()
    return _pipeline(stream, batch_size, drop_remainder)


class _Stream:
    """What `batching.elements` reads."""

    def __init__(
        self, index: Index, samples: list[Sample], reader: SliceReader, masking: Masking, maps: CoilMapSource, scaling: str,
        stdev: float, shuffle: bool, seed: int, clock: EpochClock, nan: str, images: bool, metadata: bool,
        strict: bool, lost: set | None,
    ):
        if not samples:
            raise DataError("No slices were chosen; expected at least one (volume number, slice number).")
        self.index, self.samples, self.reader, self.masking, self.maps = index, samples, reader, masking, maps
        self.scaling, self.stdev, self.shuffle, self.seed = scaling, stdev, shuffle, seed
        self.clock, self.images, self.metadata = clock, images, metadata
        self._finite, self._maxima = FiniteSlices(nan), {}
        self._there = LostSlices(samples, [self.size(number) for number in range(len(index.volumes))], strict, lost,
                                 [volume.name for volume in index.volumes])

    def visits(self) -> np.ndarray:
        """(volume number, slice number, epoch) of every sample of the next pass, in its order."""
        return visits_of(self.samples, self.clock.start_pass(), self.seed if self.shuffle else None)

    def element(self, visit: np.ndarray) -> tuple:
        """kspace, maps, mask, image, scale, data range."""
        number, i, epoch = (int(n) for n in visit)
        return self._there(number, i, lambda number, i: self._element(number, i, epoch))

    def _element(self, number: int, i: int, epoch: int) -> tuple:
        volume = self.index.volumes[number]
        position = (self.seed, epoch, number, i)
        kspace, maps, mask = self._finite(volume, i, lambda volume, j: self._measured(volume, j, position))
        problem = problem_of(kspace, maps, mask, self.scaling)
        image = combine(kspace, maps) / np.float32(problem.scale) if self.images else problem.zero_filled
        maximum = self._maximum(number) / problem.scale if self.metadata else 0.0
        return self._noisy(problem, position), maps, problem.mask, image, np.float32(problem.scale), np.float32(maximum)

    def _noisy(self, problem: Problem, position: tuple[int, ...]) -> np.ndarray:
        if not self.stdev:
            return problem.kspace
        rng, shape = np.random.default_rng(position), problem.kspace.shape
        noise = (rng.normal(size=shape) + 1j * rng.normal(size=shape)) * (self.stdev / np.sqrt(2))
        return problem.kspace + (noise * problem.mask).astype(np.complex64)

    def size(self, number: int) -> tuple[int, int, int]:
        volume = self.index.volumes[number]
        return volume.coils or 1, volume.height, volume.width

    def check_volumes(self) -> None:
        """Look at the maps' headers and the middle slice of every volume: refuse images of k-space that is undersampled, for
        they would equal the inputs, and warn of columns of zeros.
        """
        for number in sorted({number for number, _ in self.samples}):
            volume = self.index.volumes[number]
            self.maps.check(volume)
            middle = volume.slices // 2
            kspace, own = self._finite(volume, middle, lambda v, j: (_with_coils(self.reader.kspace(v, j)), self._own_mask(v, j)))
            measured = np.broadcast_to(True if own is None else own, kspace.shape[-2:])
            gaps = not measured.all() and not kspace[..., ~measured].any()
            if self.images and kspace.any() and (volume.undersampled or gaps):
                raise DataError(f"{volume.name}: its k-space is undersampled, so there is no image to compare with. Train "
                                'without images (target="none", --set supervised=false), or reconstruct.')
            fraction = sampled_fraction(kspace)
            if own is None and not volume.undersampled and 0 < fraction < MEASURED:
                warnings.warn(f"{volume.name}, slice {middle}: {fraction:.0%} of the k-space columns are measured, the others "
                              "are zero: the data are already undersampled, and a mask on top leaves even less.", stacklevel=4)

    def _measured(self, volume: Volume, i: int, position: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """k-space, coil maps and mask of one slice."""
        kspace = _with_coils(self.reader.kspace(volume, i))
        mask = self._own_mask(volume, i)
        if mask is None and volume.undersampled:
            mask = measured_columns(kspace)
        elif mask is None:
            mask = self.masking.draw(volume.width, volume.name, position)
        return kspace, self.maps(volume, i, kspace, mask), mask

    def _kspace(self, volume: Volume, i: int) -> np.ndarray:
        return _with_coils(self._finite(volume, i, self.reader.kspace))

    def _own_mask(self, volume: Volume, i: int) -> np.ndarray | None:
        """The file's mask for a slice, if it has one."""
        return self.reader.sampling_mask(volume, i) if "masks" in volume.extra_keys else volume.mask

    def _maximum(self, number: int) -> float:
        if number not in self._maxima:
            volume = self.index.volumes[number]
            self._maxima[number] = max(float(rss(ifft2c(self._kspace(volume, i))).max()) for i in range(volume.slices))
        return self._maxima[number]


def _with_coils(kspace: np.ndarray) -> np.ndarray:
    return kspace if kspace.ndim == 3 else kspace[None]


def _pipeline(stream: _Stream, batch_size: int, drop_remainder: bool) -> Any:
    import tensorflow as tf

    sizes = Counter(stream.size(number) for number, _ in stream.samples)
    coils, height, width = (set(n) for n in zip(*sizes))
    known = tuple(n.pop() if len(n) == 1 else None for n in (coils, height, width))
    signature = (tf.TensorSpec(known, tf.complex64), tf.TensorSpec(known, tf.complex64), tf.TensorSpec(known[1:], tf.float32),
                 tf.TensorSpec(known[1:], tf.complex64), tf.TensorSpec((), tf.float32), tf.TensorSpec((), tf.float32))

    def arranged(kspace: Any, maps: Any, mask: Any, image: Any, scale: Any, data_range: Any) -> tuple:
        inputs = {"kspace": kspace, "sens_maps": maps, "mask": mask}
        facts = ({"scale": scale, "data_range": data_range},) if stream.metadata else ()
        return (inputs, *((image,) if stream.images else ()), *facts)

    dataset = elements(stream, signature, together=1, threads=1).map(arranged)
    return batched(dataset, sizes, batch_size, drop_remainder, lambda inputs: inputs["kspace"])
