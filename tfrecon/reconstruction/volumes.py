"""Applies a network to whole volumes and folders: k-space in, a file with `reconstruction` out.

Knows no system by name: a model is any callable from scaled zero-filled magnitudes to reconstructions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..data import (
    Combining,
    Index,
    Masking,
    SliceReader,
    Volume,
    array_scale,
    check_scaling,
    check_single_coil,
    choose_mask,
    from_network,
    memory_shortage,
    output_size,
    save_reconstruction,
    to_network,
)
from ..errors import DataError
from ..physics import zero_filled
from ..transforms import center_crop
from .batches import Batching, Outcome, Work, through_model
from .folder import each_hdf5
from .tiles import Model, apply_padded


@dataclass(frozen=True)
class Settings:
    """How volumes are prepared for the model; the same choices as in training.

    Attributes:
        masking: the mask of volumes that are fully sampled.
        crop: (h, w) or None for the stored target's size, else fastMRI's rule.
        scaling: as `data.create_paired_dataset`; undone on the output.
        channels: the magnitude is repeated in as many, and the output's channels are averaged.
        multiple: height and width are padded to it for the model and cropped back.
        batch_size: slices given to the model at once.
        combine: makes one image of several coils, "rss" or "sense" (`data.Combining`); None: several coils are an error.
        attributes: facts about the model, written into every file.
    """

    masking: Masking = field(default_factory=Masking)
    crop: Any = None
    scaling: str = "zero_filled_max"
    channels: int = 1
    multiple: int = 1
    batch_size: int = 4
    combine: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_scaling(self.scaling)


def reconstruct_volume(
    volume: Volume, reader: SliceReader, model: Model, settings: Settings
) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Reconstruct every slice of a volume.

    Returns:
        (reconstruction float32 (slices, h, w) in the file's units, the mask applied or None when the data were
        undersampled already, a note).

    Raises:
        DataError: a slice is unreadable or not finite; the model returned something else than images.
    """
    prepared = _prepared(volume, reader, settings)
    outputs = through_model(prepared.images, lambda images: _apply(model, images, settings), settings.batch_size)
    return prepared.result(outputs), prepared.mask, prepared.note


@dataclass(frozen=True)
class _Prepared:
    """Scaled zero-filled images of a volume, each with its scale; the mask applied; a note."""

    name: str
    images: list[np.ndarray]
    scales: list[float]
    mask: np.ndarray | None
    note: str

    def result(self, outputs: list[np.ndarray]) -> np.ndarray:
        """float32 (slices, h, w) in the file's units from what the model made of the images."""
        output = np.stack(outputs)
        if not np.isfinite(output).all():
            raise DataError(f"{self.name}: the model's output is not finite; the weights are damaged or diverged.")
        return output * np.array(self.scales, np.float32)[:, None, None]


def _prepared(volume: Volume, reader: SliceReader, settings: Settings) -> _Prepared:
    if not settings.combine:
        check_single_coil(volume)
    shortage = memory_shortage(volume, volume.slices)
    if shortage:
        raise DataError(f"{volume.name}: {shortage}")
    kspace = [reader.kspace(volume, i) for i in range(volume.slices)]
    own = own_masks(volume, reader)
    mask, note = (None, "the file's own masks were used") if own else choose_mask(volume, kspace, settings.masking)
    note = "; ".join(filter(None, (note, *slice_notes(volume, kspace, reader))))
    size, masks = output_size(volume, settings.crop), own or [mask] * volume.slices
    pairs = [_prepare(image, size, settings.scaling) for image in _zero_filled(volume, kspace, masks, reader, settings)]
    return _Prepared(volume.name, [image for image, _ in pairs], [scale for _, scale in pairs], mask, note)


def _apply(model: Model, images: np.ndarray, settings: Settings) -> np.ndarray:
    """Magnitudes (N, h, w) through the model, in the same units."""
    repeated = np.repeat(to_network(settings.scaling, images)[..., None], settings.channels, axis=-1)
    output = apply_padded(model, repeated, settings.multiple)
    return np.float32(from_network(settings.scaling, output.mean(axis=-1)))


def reconstruct_folder(
    index: Index,
    out: Any,
    model: Model,
    settings: Settings,
    reader: SliceReader,
    overwrite: bool = False,
    resume: bool = False,
    strict: bool = False,
    workers: int = 1,
) -> Iterable[Outcome]:
    """Reconstruct every volume of an index into a folder, under the volumes' relative names; yields as it goes.

    Args:
        index: from `data.index_volumes`.
        out: folder for the results; never one that holds the inputs.
        model, settings, reader: see `reconstruct_volume`.
        overwrite: replace existing results. resume: keep those that are complete.
        strict: raise at the first volume that fails.
        workers: threads that read the next volumes meanwhile; 0 for none.

    Raises:
        UsageError: results exist already, or would replace inputs, or `out` is a file.
        ResourceError: `out` cannot be written to.
    """
    def prepare(volume: Volume, path: Path) -> Work:
        prepared = _prepared(volume, reader, settings)

        def finish(outputs: list[np.ndarray]) -> str:
            alias = volume.kspace_key.replace("kspace", "recon") if volume.undersampled else None
            mask = prepared.mask
            save_reconstruction(path, prepared.result(outputs), mask, _attributes(volume, mask, settings), alias)
            return prepared.note

        return Work(path, finish, prepared.images)

    facts = {**_run_facts(settings), **_mask_facts(settings)}
    batching = Batching(lambda images: _apply(model, images, settings), settings.batch_size,
                        lambda volume: output_size(volume, settings.crop), workers)
    return each_hdf5(index.volumes, out, prepare, facts, overwrite, resume, strict, batching)


def own_masks(volume: Volume, reader: SliceReader) -> list[np.ndarray] | None:
    """The masks (H, W) of a file that has one for every slice."""
    return [reader.sampling_mask(volume, i) for i in range(volume.slices)] if "masks" in volume.extra_keys else None


def slice_notes(volume: Volume, kspace: list[np.ndarray], reader: SliceReader) -> list[str]:
    """What is special about slices: empty ones, and values the reader has replaced."""
    notes = []
    empty = [i for i, k in enumerate(kspace) if not k.any()]
    if empty:
        notes.append(f"slices {empty[:10]} are empty, their result is 0")
    replaced = reader.take_replaced(volume.name, volume.kspace_key)
    if replaced:
        notes.append(f"{sum(replaced.values())} values that are not finite were set to 0 in slices {sorted(replaced)[:10]}")
    return notes


def _zero_filled(
    volume: Volume, kspace: list[np.ndarray], masks: list[np.ndarray | None], reader: SliceReader, settings: Settings
) -> list[np.ndarray]:
    """Whole magnitudes, of one coil or of several combined."""
    if not settings.combine:
        return [zero_filled(k, mask) for k, mask in zip(kspace, masks)]
    combining = Combining(settings.combine, reader)
    return [zero_filled(combining(volume, i, k, mask)) for i, (k, mask) in enumerate(zip(kspace, masks))]


def _prepare(whole: np.ndarray, size: tuple[int, int], scaling: str) -> tuple[np.ndarray, float]:
    """The zero-filled magnitude cropped and divided by its scale, and the scale."""
    image = center_crop(whole, size)
    if not whole.any():
        return image, 0.0  # whatever a network makes of nothing, the result is 0
    scale = array_scale(scaling, whole, image)
    return image / np.float32(scale), scale


def _attributes(volume: Volume, mask: np.ndarray | None, settings: Settings) -> dict[str, Any]:
    """Facts for the file; the patient's identifier is left out on purpose."""
    facts = _run_facts(settings)
    if "acquisition" in volume.attributes:
        facts["acquisition"] = volume.attributes["acquisition"]
    if mask is not None:
        facts["sampled_fraction"] = float(mask.mean())
        facts.update(_mask_facts(settings) if volume.mask is None else {})
    return facts


def _run_facts(settings: Settings) -> dict[str, Any]:
    """What all results of one run share."""
    combined = {"combine": settings.combine} if settings.combine else {}
    return {"scaling": settings.scaling, "crop": str(settings.crop), **combined, **settings.attributes}


def _mask_facts(settings: Settings) -> dict[str, str]:
    return {f"mask_{key}": str(value) for key, value in settings.masking.as_attributes().items()}
