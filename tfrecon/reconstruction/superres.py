"""Enlarges volumes of magnitude images by four with any callable, and judges the result beside bicubic interpolation.

Knows no system by name: a model is any callable from small images of about [0, 255] to large ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..data import SliceReader, save_reconstruction
from ..data.batching import check_batch_size
from ..data.memory import check_slices_fit
from ..data.superres import MagnitudeIndex, MagnitudeVolume, Scale, check_value_range, choose_scale, trusted_maximum
from ..errors import DataError, UsageError
from ..transforms import reduce_by_four, resize_bicubic
from .batches import Batching, Outcome, Work, through_model
from .folder import check_no_inputs_inside, each_hdf5
from .tiles import Model, apply_padded, apply_tiled

FACTOR = 4
_SMALLEST = 8
# float32 features of 64 channels at the large size, eight of them alive at once: what the published generator needs.
_BYTES_PER_PIXEL = FACTOR**2 * 4 * 64 * 8


@dataclass(frozen=True)
class SuperresSettings:
    """How images are prepared for the model; the same choices as in training.

    Attributes:
        value_range: see `data.superres_pairs`; undone on the output.
        reduce: reduce the images by four first, to judge a model on large ones. Sizes that are no multiples of 4 are
            continued by their last row and column, and the result cut back.
        tile, overlap: side of the tiles large images are cut into, and what they share, in pixels of the small image; None:
            images go in one piece.
        batch_size: images given to the model at once.
        attributes: facts about the model, written into every file.
    """

    value_range: str = "volume"
    reduce: bool = False
    tile: int | None = None
    overlap: int = 16
    batch_size: int = 1
    attributes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_value_range(self.value_range)
        if self.tile is not None and self.tile < _SMALLEST:
            raise UsageError(f"The tile must have a side of at least {_SMALLEST} pixels of the small image, received "
                             f"{self.tile}.")
        check_batch_size(self.batch_size)

    def facts(self) -> dict[str, Any]:
        """What a file says about how it was made."""
        return {"task": "superres", "factor": FACTOR, "value_range": self.value_range, "reduced": self.reduce,
                **self.attributes}


def enlarge_volume(
    volume: MagnitudeVolume, reader: SliceReader, model: Model, settings: SuperresSettings
) -> tuple[np.ndarray, str]:
    """Every slice of a volume through the model.

    Returns:
        float32 (slices, 4 H, 4 W) in the file's units, (slices, H, W) where the images were reduced first; an empty slice
        stays empty. And a note on what was special, or "".

    Raises:
        DataError: a slice is unreadable or not finite, memory is short, or the model returned something else than images of
        four times the size.
    """
    prepared = _prepared(volume, reader, settings)
    outputs = through_model(prepared.images, lambda images: _enlarged(model, images, settings), settings.batch_size)
    return prepared.result(outputs), prepared.note


@dataclass(frozen=True)
class _Prepared:
    """Small images of a volume in the network's units, each with its scale, None for an empty slice; a note."""

    volume: MagnitudeVolume
    images: list[np.ndarray]
    scales: list[Scale | None]
    reduced: bool
    note: str

    def result(self, outputs: list[np.ndarray]) -> np.ndarray:
        """float32 (slices, H, W) in the file's units from what the model made of the images."""
        # Whatever a network makes of nothing, the result is 0.
        output = np.stack([scale.from_network(image) if scale else np.zeros_like(image)
                           for image, scale in zip(outputs, self.scales)])
        if not np.isfinite(output).all():
            raise DataError(f"{self.volume.name}: the model's output is not finite; the weights are damaged or diverged.")
        return output[:, : self.volume.height, : self.volume.width] if self.reduced else output


def _prepared(volume: MagnitudeVolume, reader: SliceReader, settings: SuperresSettings) -> _Prepared:
    _check_memory(volume, settings)
    slices = [reader.target(volume, i) for i in range(volume.slices)]
    maxima = [float(values.max()) for values in slices]
    largest, note = trusted_maximum(volume, maxima[len(maxima) // 2], lambda: max(maxima))
    scales = [choose_scale(settings.value_range, values, lambda: largest) for values in slices]
    inputs = [_small(scale.to_network(values), settings) for values, scale in zip(slices, scales)]
    kept = [scale if values.any() else None for scale, values in zip(scales, slices)]
    return _Prepared(volume, inputs, kept, settings.reduce, note if settings.value_range == "volume" else "")


def _check_memory(volume: MagnitudeVolume, settings: SuperresSettings) -> None:
    """Estimate first: the features of a batch, the slices and the result."""
    own = volume.height * volume.width
    small = own / FACTOR**2 if settings.reduce else own
    at_once = min(settings.tile**2, small) if settings.tile else small
    needed = _BYTES_PER_PIXEL * at_once * min(settings.batch_size, volume.slices) + 3 * 4 * FACTOR**2 * small * volume.slices
    check_slices_fit([volume], needed / own)


def _small(image: np.ndarray, settings: SuperresSettings) -> np.ndarray:
    return reduced(image) if settings.reduce else image


def _enlarged(model: Model, inputs: np.ndarray, settings: SuperresSettings) -> np.ndarray:
    """A batch (N, h, w) through the model: grey float32 (N, 4 h, 4 w)."""
    images = inputs[..., None]
    height, width = images.shape[1:3]
    # Some generators look at their surroundings by mirroring, which a tiny image is too small for.
    images = np.pad(images, [(0, 0), *((0, max(_SMALLEST - n, 0)) for n in (height, width)), (0, 0)], mode="edge")
    if settings.tile is None:
        output = apply_padded(model, images, 1, FACTOR)
    else:
        shared = min(settings.overlap, (settings.tile - 1) // 2)
        output = apply_tiled(model, images, 1, settings.tile, shared, FACTOR)
    output = output[:, : FACTOR * height, : FACTOR * width]
    return output.astype(np.float64).mean(axis=-1).astype(np.float32)


def reduced(images: np.ndarray) -> np.ndarray:
    """Images (..., H, W) reduced by four, float32; other sizes than multiples of 4 are continued by their last pixels."""
    pads = [(0, 0)] * (images.ndim - 2) + [(0, -n % FACTOR) for n in images.shape[-2:]]
    padded = np.pad(images, pads, mode="edge").astype(np.float32, copy=False)
    small = reduce_by_four(padded.reshape(-1, *padded.shape[-2:], 1))
    return small.reshape(*images.shape[:-2], *small.shape[1:3])


def bicubic(images: np.ndarray) -> np.ndarray:
    """The baseline: images (..., H, W) reduced by four and enlarged again by bicubic interpolation, float32."""
    small, (height, width) = reduced(images), images.shape[-2:]
    return resize_bicubic(small, [FACTOR * n for n in small.shape[-2:]])[..., :height, :width]


def enlarge_folder(
    index: MagnitudeIndex,
    out: Any,
    model: Model,
    settings: SuperresSettings,
    reader: SliceReader,
    overwrite: bool = False,
    resume: bool = False,
    strict: bool = False,
    workers: int = 1,
) -> Iterable[Outcome]:
    """Enlarge every volume of an index into a folder, under the volumes' relative names; yields as it goes.

    Args:
        index: from `data.index_magnitudes`.
        out: folder for the results; never one that holds the inputs.
        model, settings, reader: see `enlarge_volume`.
        overwrite: replace existing results. resume: keep those that are complete.
        strict: raise at the first volume that fails.
        workers: threads that read the next volumes meanwhile; 0 for none.

    Raises:
        UsageError: results exist already, were made another way, or would replace inputs; `out` is a file.
        ResourceError: `out` cannot be written to.
    """
    check_no_inputs_inside((volume.path for volume in index.volumes), Path(out))

    def prepare(volume: MagnitudeVolume, path: Path) -> Work:
        prepared = _prepared(volume, reader, settings)

        def finish(outputs: list[np.ndarray]) -> str:
            save_reconstruction(path, prepared.result(outputs), attributes=settings.facts())
            return "; ".join(filter(None, (*volume.notes, prepared.note, _notes(volume, reader))))

        return Work(path, finish, prepared.images)

    batching = Batching(lambda images: _enlarged(model, images, settings), settings.batch_size,
                        lambda volume: volume.target_shape, workers)
    return each_hdf5(index.volumes, out, prepare, settings.facts(), overwrite, resume, strict, batching)


def _notes(volume: MagnitudeVolume, reader: SliceReader) -> str:
    replaced = reader.take_replaced(volume.name)
    if not replaced:
        return ""
    return f"{sum(replaced.values())} values that are not finite were set to 0 in slices {sorted(replaced)[:10]}"
