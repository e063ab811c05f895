"""Splits and folds by patient: volumes of one person never stand on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import DataError, UsageError, shown

Sample = tuple[int, int]
# An `Index` or `ImageIndex`: a dataclass with `volumes` and `skipped`, its volumes with `name`, `patient` and `slices`.
AnyIndex = Any
AnyVolume = Any


def split(index: AnyIndex, fractions: Sequence[float] = (0.8, 0.2), seed: int = 0) -> tuple[AnyIndex, ...]:
    """Cut an index into parts by patient.

    Args:
        index: volumes from `index_volumes` or `index_images`.
        fractions: positive, summing to 1: the share of PATIENTS of each part, every part at least one.
        seed: of the shuffling of patients.

    Raises:
        UsageError: the fractions do not sum to 1.
        DataError: fewer patients than parts.
    """
    _check_fractions(fractions)
    groups = _patients(index, len(fractions), f"{len(fractions)} parts need", seed)
    return tuple(_part(index, groups[a:b]) for a, b in _cuts(fractions, len(groups)))


def folds(index: AnyIndex, count: int = 3, seed: int = 0) -> list[tuple[AnyIndex, AnyIndex]]:
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


def slice_folds(index: AnyIndex, count: int = 3, seed: int = 0) -> list[tuple[list[Sample], list[Sample]]]:
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


def split_slices(
    index: AnyIndex, fractions: Sequence[float] = (0.8, 0.2), allow_leak: bool = False
) -> tuple[list[Sample], ...]:
    """Cut the SLICES of all volumes, in order, into runs, for data of one person. It leaks: all parts show that person.

    Runs and not a shuffle, so that at least only the slices at the cuts have neighbours on the other side.

    Args:
        fractions: positive, summing to 1: the share of the slices of each part.
        allow_leak: must be True: whoever cuts by slice says so.

    Returns:
        Samples (volume number, slice number) of each part, at least one in every part.

    Raises:
        UsageError: the leak is not allowed, or the fractions do not sum to 1. DataError: fewer slices than parts.
    """
    _check_fractions(fractions)
    if not allow_leak:
        raise UsageError("A split by slice puts one person on both sides, which inflates every score. Split by patient, or "
                         "allow it knowingly with allow_leak=True (--allow-leak).")
    samples = all_samples(index)
    if len(samples) < len(fractions):
        raise DataError(f"{len(fractions)} parts need at least {len(fractions)} slices, have {len(samples)}.")
    return tuple(samples[a:b] for a, b in _cuts(fractions, len(samples)))


def all_samples(index: AnyIndex) -> list[Sample]:
    """(volume number, slice number) of every slice, in order."""
    return [(v, s) for v, volume in enumerate(index.volumes) for s in range(volume.slices)]


def check_samples(samples: Sequence[Sample], volumes: Sequence[AnyVolume]) -> None:
    """DataError for no samples; UsageError for one that is not of these volumes."""
    if not samples:
        raise DataError("No slices were chosen; expected at least one (volume number, slice number).")
    for number, i in samples:
        if not (0 <= number < len(volumes) and 0 <= i < volumes[number].slices):
            raise UsageError(f"There is no slice {i} of a volume {number}; expected (volume number, slice number) of "
                             f"the {len(volumes)} volumes of the index.")


def check_no_shared_patient(train: AnyIndex, validation: AnyIndex) -> None:
    """DataError if a patient is on both sides, with the files but not the patient's identifier."""
    shared = {v.patient for v in train.volumes} & {v.patient for v in validation.volumes}
    if shared:
        names = [v.name for v in (*train.volumes, *validation.volumes) if v.patient in shared]
        raise DataError(
            f"{len(shared)} patients are in both training and validation data, which inflates every score: files "
            f"{', '.join(shown(n) for n in names[:6])}. Move each patient to one side, or allow it knowingly with "
            "--allow-leak."
        )


def pseudonyms(volumes: Sequence[AnyVolume]) -> dict[str, str]:
    """Volume name -> "patient-01" and so on, counted in order of appearance: identifiers never leave the machine."""
    numbers: dict[str, int] = {}
    return {v.name: f"patient-{numbers.setdefault(v.patient, len(numbers) + 1):02d}" for v in volumes}


def _check_fractions(fractions: Sequence[float]) -> None:
    if any(not f > 0 for f in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise UsageError(f"The fractions must be positive and sum to 1, received {tuple(fractions)}.")


def _cuts(fractions: Sequence[float], count: int) -> list[tuple[int, int]]:
    """(begin, end) of each part of `count` things, every part at least one."""
    ends = np.maximum(np.round(np.cumsum(fractions) * count).astype(int), np.arange(1, len(fractions) + 1))
    ends = np.minimum(ends, count - np.arange(len(fractions))[::-1])
    return list(zip([0, *ends[:-1]], ends))


def _patients(index: AnyIndex, needed: int, phrase: str, seed: int) -> list[list[AnyVolume]]:
    groups: dict[str, list[AnyVolume]] = {}
    for volume in index.volumes:
        groups.setdefault(volume.patient, []).append(volume)
    if len(groups) < needed:
        raise DataError(
            f"{phrase} ≥{needed} volumes of different patients, have {len(groups)} ({len(index.volumes)} volumes). "
            "Give more data or ask for fewer parts."
        )
    ordered = [groups[key] for key in sorted(groups)]
    return [ordered[i] for i in np.random.default_rng(seed).permutation(len(ordered))]


def _part(index: AnyIndex, groups: Sequence[Sequence[AnyVolume]]) -> AnyIndex:
    return replace(index, volumes=tuple(sorted((v for g in groups for v in g), key=lambda v: v.name)), skipped=())
