"""Applies a network to CT images and folders of them: windowed slices in, files in Hounsfield units out.

Knows no system by name: a model is any callable from blurred slices in [-1, 1] to sharp ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..data import check_folder
from ..data.ct import Blurring, ImageIndex, ImageReader, ImageVolume, Window, blur_slice, choose_window
from ..data.ct.output import is_saved, result_files, result_path, save_volume
from ..errors import DataError, UsageError
from ..machine import free_memory
from .batches import Batching, Outcome, Work, each_volume, through_model
from .folder import check_existing, check_no_inputs_inside, check_same_run, check_targets
from .tiles import Model, apply_padded, apply_tiled

# float32 activations of 64 channels at full size, six of them alive at once: what published deblurring networks need.
_BYTES_PER_PIXEL = 4 * 64 * 6


@dataclass(frozen=True)
class ImageSettings:
    """How slices are prepared for the model; the same choices as in training.

    Attributes:
        window: see `data.ct.choose_window`; None: the index's, else its default.
        channels: the grey slice is repeated in as many, and the output's channels are averaged.
        multiple: height and width are padded to it.
        tile, overlap: side of the tiles large slices are cut into, and what they share; None: slices go in one piece.
        batch_size: slices given to the model at once.
        blurring: blurs the slices first, to judge a model on sharp ones; None takes them as they are.
        attributes: facts about the model, written into every file that has a place for them.
    """

    window: Any = None
    channels: int = 3
    multiple: int = 4
    tile: int | None = None
    overlap: int = 32
    batch_size: int = 1
    blurring: Blurring | None = None
    attributes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in (("channels", self.channels), ("batch size", self.batch_size)):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise UsageError(f"The {name} must be a whole number of at least 1, received {value!r}.")
        if self.blurring is not None and self.blurring.seed is None:
            raise UsageError('A blur to be judged must be drawn the same again: give its seed as "file" or a number.')

    def facts(self, window: Window) -> dict[str, Any]:
        """What a file says about how it was made."""
        blur = {} if self.blurring is None else self.blurring.as_attributes()
        return {"task": "blur", **window.as_attributes(), **blur, **self.attributes}


def reconstruct_images_of(
    volume: ImageVolume, reader: ImageReader, model: Model, settings: ImageSettings, window: Window
) -> np.ndarray:
    """Every slice of a volume through the model.

    Returns:
        float32 (slices, H, W) in the volume's HU or grey levels; what the window did not show the model stays as it was.

    Raises:
        DataError: a slice is unreadable, memory is short, or the model returned something else than images.
    """
    prepared = _prepared(volume, reader, settings, window)
    outputs = through_model(prepared.images, lambda images: _through(model, images, settings), settings.batch_size)
    return prepared.result(outputs)


@dataclass(frozen=True)
class _Prepared:
    """Slices of a volume in HU or grey levels, and as the window shows them."""

    name: str
    values: list[np.ndarray]
    images: list[np.ndarray]
    window: Window

    def result(self, outputs: list[np.ndarray]) -> np.ndarray:
        """float32 (slices, H, W) in HU or grey levels from what the model made of the images."""
        if not np.isfinite(outputs).all():
            raise DataError(f"{self.name}: the model's output is not finite; the weights are damaged or diverged.")
        return np.stack([self.window.write_back(*each) for each in zip(self.values, self.images, outputs)])


def _prepared(volume: ImageVolume, reader: ImageReader, settings: ImageSettings, window: Window) -> _Prepared:
    _check_memory(volume, settings)
    values = [_input(volume, reader, i, settings.blurring) for i in range(volume.slices)]
    return _Prepared(volume.name, values, [window.to_network(image) for image in values], window)


def _input(volume: ImageVolume, reader: ImageReader, i: int, blurring: Blurring | None) -> np.ndarray:
    """Slice i in HU or grey levels, blurred where that is asked for."""
    values = reader.slice(volume, i)
    return values if blurring is None else blur_slice(values, blurring.draw(volume.name, (i,)), np.float32(volume.air))


def _through(model: Model, windowed: np.ndarray, settings: ImageSettings) -> np.ndarray:
    """A batch (N, H, W) in [-1, 1] through the model: grey float64 (N, H, W)."""
    images = np.repeat(windowed[..., None], settings.channels, axis=-1)
    if settings.tile is None:
        output = apply_padded(model, images, settings.multiple)
    else:
        output = apply_tiled(model, images, settings.multiple, settings.tile, settings.overlap)
    return output.astype(np.float64).mean(axis=-1)


def reconstruct_images(
    index: ImageIndex,
    out: Any,
    model: Model,
    settings: ImageSettings,
    reader: ImageReader,
    format: str = "hdf5",
    overwrite: bool = False,
    resume: bool = False,
    strict: bool = False,
    workers: int = 1,
) -> Iterable[Outcome]:
    """Apply the model to every volume of an index and write the results under the volumes' names; yields as it goes.

    Args:
        index: from `data.ct.index_images`.
        out: folder for the results; never one that holds the inputs.
        model, settings, reader: see `reconstruct_images_of`.
        format: see `data.ct.output.save_volume`.
        overwrite: replace existing results. resume: keep those that are complete.
        strict: raise at the first volume that fails.
        workers: threads that read the next volumes meanwhile; 0 for none.

    Raises:
        UsageError: results exist already, were made another way, or would replace inputs; `out` is a file; the format does
            not fit. ResourceError: `out` cannot be written to.
    """
    chosen = settings.window if settings.window is not None else index.window
    windows = {volume.name: choose_window(chosen, volume) for volume in index.volumes}
    targets = {v.name: result_path(v, out, format) for v in index.volumes}
    check_folder(out)
    _check_targets(index, targets, out, format, overwrite or resume)

    def complete(volume: ImageVolume) -> Path | None:
        return targets[volume.name] if resume and is_saved(volume, out, format) else None

    def prepare(volume: ImageVolume) -> Work:
        window = windows[volume.name]
        prepared = _prepared(volume, reader, settings, window)

        def finish(outputs: list[np.ndarray]) -> str:
            _, note = save_volume(volume, reader, prepared.result(outputs), out, format, settings.facts(window))
            return "; ".join(filter(None, (*volume.notes, *_notes(volume, reader), note)))

        return Work(targets[volume.name], finish, prepared.images)

    for volume in index.volumes:
        if complete(volume) and targets[volume.name].suffix == ".h5":  # other formats do not say how they were made
            check_same_run(targets[volume.name], settings.facts(windows[volume.name]))
    batching = Batching(lambda images: _through(model, images, settings), settings.batch_size,
                        lambda volume: (volume.height, volume.width), workers)
    return each_volume(index.volumes, complete, prepare, strict, batching)


def _notes(volume: ImageVolume, reader: ImageReader) -> list[str]:
    replaced = reader.take_replaced(volume.name)
    if not replaced:
        return []
    return [f"{sum(replaced.values())} values that are not finite were taken for air in slices {sorted(replaced)[:10]}"]


def _check_memory(volume: ImageVolume, settings: ImageSettings) -> None:
    """Estimate first: the activations of one batch, and the volume itself."""
    pixels = volume.height * volume.width
    at_once = min(pixels, settings.tile**2) if settings.tile else pixels
    needed, free = at_once * settings.batch_size * _BYTES_PER_PIXEL + volume.slices * pixels * 16, free_memory()
    if free is not None and needed > free:
        advice = "take smaller tiles" if settings.tile else "cut them into tiles (--tile 512)"
        raise DataError(f"{volume.name}: its slices of {volume.height} x {volume.width} need about {needed / 2**30:.3g} GiB "
                        f"of memory and {free / 2**30:.3g} GiB are free; {advice}, or use a machine with more")


def _check_targets(index: ImageIndex, targets: dict[str, Path], out: Any, format: str, may_exist: bool) -> None:
    inputs = [path for volume in index.volumes for path in volume.paths]
    check_no_inputs_inside(inputs, Path(out))
    check_targets(inputs, (path for volume in index.volumes for path in result_files(volume, out, format)))
    taken: dict[Path, str] = {}
    for volume in index.volumes:
        target = targets[volume.name]
        if target in taken:
            raise UsageError(f"{taken[target]} and {volume.name} would both be written to {target}. Rename one of them, or "
                             "give them one after the other with folders of their own.")
        taken[target] = volume.name
    check_existing(targets.values(), may_exist)
