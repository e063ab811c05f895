"""Applies a reconstruction that knows the measurement to volumes and folders: k-space of one or many coils in, images out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..data import (
    CoilMapSource,
    Index,
    Masking,
    Problem,
    SliceReader,
    Volume,
    choose_mask,
    memory_shortage,
    output_size,
    problem_of,
    save_reconstruction,
)
from ..data.multicoil.problem import measured_columns
from ..data.prior import evenly
from ..errors import DataError
from ..physics import fft2c
from ..transforms import center_crop
from .batches import Batching, Outcome, Work
from .folder import each_hdf5
from .volumes import own_masks, slice_notes

_ADAPTED_TO = 8  # slices of a volume, at even distances

Solver = Callable[[Mapping[str, np.ndarray]], Any]


@dataclass(frozen=True)
class CoilSettings:
    """How slices are prepared; the same choices as in training.

    Attributes:
        masking: the mask of volumes that are fully sampled.
        crop: of the result, (h, w); None: the stored target's size, else fastMRI's rule. The whole frame is reconstructed.
        coil_maps: see `data.CoilMapSource`.
        scaling: of `data.problem_of`; undone on the output.
        attributes: facts about the model, written into every file.
    """

    masking: Masking = field(default_factory=Masking)
    crop: Any = None
    coil_maps: str = "auto"
    scaling: str = "zero_filled_max"
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, str]:
        """What all results of one run share."""
        mask = {f"mask_{key}": str(value) for key, value in self.masking.as_attributes().items()}
        return {"coil_maps": self.coil_maps, "scaling": self.scaling, "crop": str(self.crop), **self.attributes, **mask}


def reconstruct_coil_volume(
    volume: Volume, reader: SliceReader, model: Solver, settings: CoilSettings
) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Reconstruct every slice of a volume.

    Args:
        model: {"kspace", "sens_maps", "mask"}, each with a batch axis of 1, to complex (1, H, W). Where it has the methods
            `without`, of the same form, and `consistent`, of that answer and the inputs, both residuals are noted. Where it
            has the method `adapt`, that is given the inputs, without batch axis, of some slices first, and returns a note.

    Returns:
        (magnitude float32 (slices, h, w) in the file's units; the mask applied, None for data undersampled already and for
        masks that differ by slice; a note
        with the relative residual on the measured samples, |M F S x - y| / |y|, the worst of the slices).

    Raises:
        DataError: a slice or its coil maps are unusable; the model returned something else than an image.
    """
    shortage = memory_shortage(volume, volume.slices)
    if shortage:
        raise DataError(f"{volume.name}: {shortage}")
    kspace = [_with_coils(reader.kspace(volume, i)) for i in range(volume.slices)]
    own = own_masks(volume, reader)
    mask, note = (None, "the file's own masks were used") if own else choose_mask(volume, kspace, settings.masking)
    maps, size = CoilMapSource(settings.coil_maps, reader), output_size(volume, settings.crop)

    def problem_at(i: int) -> Problem:
        applied = own[i] if own else measured_columns(kspace[i]) if mask is None else mask
        return problem_of(kspace[i], maps(volume, i, kspace[i], applied), applied, settings.scaling)

    images, before, after = [], [], []
    signal = [i for i, k in enumerate(kspace) if k.any()]
    adapted = ""
    if signal and hasattr(model, "adapt"):
        adapted = model.adapt([problem_at(i).inputs for i in (signal[j] for j in evenly(len(signal), _ADAPTED_TO))])
    for i in range(volume.slices):
        if i not in signal:  # whatever a model makes of nothing, the result is 0
            images.append(np.zeros(size, np.float32))
            continue
        problem = problem_at(i)
        if hasattr(model, "without"):
            answer = _image(model.without, problem, volume)
            before.append(residual(problem, answer))
            image = _image(partial(model.consistent, answer[None]), problem, volume)
        else:
            image = _image(model, problem, volume)
        after.append(residual(problem, image))
        images.append(center_crop(np.abs(image) * np.float32(problem.scale), size))
    notes = (note, *slice_notes(volume, kspace, reader), adapted, _residual_note(before, after))
    return np.stack(images), mask, "; ".join(filter(None, notes))


def residual(problem: Problem, image: np.ndarray) -> float:
    """|M F S x - y| / |y| of an image on the measured samples of its problem."""
    difference = fft2c(problem.sens_maps * image) * problem.mask - problem.kspace
    return float(np.linalg.norm(difference) / (np.linalg.norm(problem.kspace) or 1.0))


def _residual_note(before: list[float], after: list[float]) -> str:
    if not after:
        return ""
    first = f"{max(before):.3g} before and " if before else ""
    then = " after data consistency" if before else ""
    return f"residual on the measured samples {first}{max(after):.3g}{then}"


def _image(model: Solver, problem: Problem, volume: Volume) -> np.ndarray:
    output = np.asarray(model({name: array[None] for name, array in problem.inputs.items()}))
    if output.shape != (1, *problem.mask.shape):
        raise DataError(f"{volume.name}: the model returned {output.shape} for a slice {problem.mask.shape}; expected an image "
                        "of the same size.")
    if not np.isfinite(output).all():
        raise DataError(f"{volume.name}: the model's output is not finite; the weights are damaged or diverged.")
    return output[0]


def _with_coils(kspace: np.ndarray) -> np.ndarray:
    return kspace if kspace.ndim == 3 else kspace[None]


def reconstruct_coil_folder(
    index: Index,
    out: Any,
    model: Solver,
    settings: CoilSettings,
    reader: SliceReader,
    overwrite: bool = False,
    resume: bool = False,
    strict: bool = False,
) -> Iterable[Outcome]:
    """Reconstruct every volume of an index into a folder, under the volumes' relative names; yields as it goes.

    Args and errors as in `reconstruct_folder`.
    """
    def prepare(volume: Volume, path: Path) -> Work:
        def finish(_: list[np.ndarray]) -> str:
            output, mask, note = reconstruct_coil_volume(volume, reader, model, settings)
            facts = {**settings.facts, **({"sampled_fraction": float(mask.mean())} if mask is not None else {})}
            save_reconstruction(path, output, mask, facts)
            return note

        return Work(path, finish)

    return each_hdf5(index.volumes, out, prepare, settings.facts, overwrite, resume, strict, Batching())
