"""Splits and folds by patient: volumes of one person never stand on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import DataError, UsageError
from ..hdf5 import shown
from .index import Index, Volume

Sample = tuple[int, int]


def split(index: Index, fractions: Sequence[float] = (0.8, 0.2), seed: int = 0) -> tuple[Index, ...]:
    """Cut an index into parts by patient.

    Args:
        index: volumes from `index_volumes`.
        fractions: positive, summing to 1: the share of PATIENTS of each part, every part at least one.
        seed: of the shuffling of patients.

    Raises:
        UsageError: the fractions do not sum to 1.
        DataError: fewer patients than parts.
    """
    if any(not f > 0 for f in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise UsageError(f"The fractions must be positive and sum to 1, received {tuple(fractions)}.")
    groups = _patients(index, len(fractions), f"{len(fractions)} parts need", seed)
    ends = np.maximum(np.round(np.cumsum(fractions) * len(groups)).astype(int), np.arange(1, len(fractions) + 1))
    ends = np.minimum(ends, len(groups) - np.arange(len(fractions))[::-1])
    return tuple(_part(index, groups[a:b]) for a, b in zip([0, *ends[:-1]], ends))


def folds(index: Index, count: int = 3, seed: int = 0) -> list[tuple[Index, Index]]:
    """(train, validation) of each fold, by patient; every patient is validated on exactly once.

    Raises:
        UsageError: fewer than two folds.
        DataError: fewer patients than folds.
    """
    if count < 2:
        raise UsageError(f"At least 2 folds are needed, received {count}.")
    groups = _patients(index, count, f"{count} folds need", seed)
    parts = [groups[i::count] for i in range(count)]
    return [
        (_part(index, [g for j, part in enumerate(parts) if j != i for g in part]), _part(index, parts[i]))
        for i in range(count)
    ]


def slice_folds(index: Index, count: int = 3, seed: int = 0) -> list[tuple[list[Sample], list[Sample]]]:
    """Seed 001's folds: the shuffled list of SLICES cut into contiguous parts. They leak: neighbours of a validation
    slice, nearly equal to it, are trained on. For reproducing the seed's figures only.

    Returns:
        (train samples, validation samples) of each fold; a sample is (volume number, slice number).
    """
    if count < 2:
        raise UsageError(f"At least 2 folds are needed, received {count}.")
    samples = all_samples(index)
    if len(samples) < count:
        raise DataError(f"{count} folds need at least {count} slices, have {len(samples)}.")
    order = [samples[i] for i in np.random.default_rng(seed).permutation(len(samples))]
    bounds = [len(order) * i / count for i in range(count + 1)]
    parts = [[s for i, s in enumerate(order) if low <= i < high] for low, high in zip(bounds, bounds[1:])]
    return [([s for j, part in enumerate(parts) if j != i for s in part], parts[i]) for i in range(count)]


def all_samples(index: Index) -> list[Sample]:
    """(volume number, slice number) of every slice, in order."""
    return [(v, s) for v, volume in enumerate(index.volumes) for s in range(volume.slices)]


def check_no_shared_patient(train: Index, validation: Index) -> None:
    """DataError if a patient is on both sides, with the files but not the patient's identifier."""
    shared = {v.patient for v in train.volumes} & {v.patient for v in validation.volumes}
    if shared:
        names = [v.name for v in (*train.volumes, *validation.volumes) if v.patient in shared]
        raise DataError(
            f"{len(shared)} patients are in both training and validation data, which inflates every score: files "
            f"{', '.join(shown(n) for n in names[:6])}. Move each patient to one side, or allow it knowingly with "
            "--allow-leak."
        )


def pseudonyms(volumes: Sequence[Volume]) -> dict[str, str]:
    """Volume name -> "patient-01" and so on, counted in order of appearance: identifiers never leave the machine."""
    numbers: dict[str, int] = {}
    return {v.name: f"patient-{numbers.setdefault(v.patient, len(numbers) + 1):02d}" for v in volumes}


def _patients(index: Index, needed: int, phrase: str, seed: int) -> list[list[Volume]]:
    groups: dict[str, list[Volume]] = {}
    for volume in index.volumes:
        groups.setdefault(volume.patient, []).append(volume)
    if len(groups) < needed:
        raise DataError(
            f"{phrase} ≥{needed} volumes of different patients, have {len(groups)} ({len(index.volumes)} volumes). "
            "Give more data or ask for fewer parts."
        )
    ordered = [groups[key] for key in sorted(groups)]
    return [ordered[i] for i in np.random.default_rng(seed).permutation(len(ordered))]


def _part(index: Index, groups: Sequence[Sequence[Volume]]) -> Index:
    return replace(index, volumes=tuple(sorted((v for g in groups for v in g), key=lambda v: v.name)), skipped=())
