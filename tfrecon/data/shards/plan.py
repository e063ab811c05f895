"""What becomes of volumes that are to lie in shards: every slice is read once, then the shards are shared out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import DataError, UnreadableError, UsageError
from ..find import Skipped, reasons, skip
from ..lost import too_many
from .kind import ShardKind, Surveyed
from .manifest import LARGEST_COUNT

_SHARD_BYTES = 2**27


def survey_all(kind: ShardKind, volumes: Sequence[Any], strict: bool) -> tuple[list[Surveyed], list[Skipped]]:
    """Read every slice: the volumes that can be used, at least one, and the others with their reasons."""
    surveyed, skipped, lost = [], [], 0
    for volume in volumes:
        try:
            surveyed.append(kind.survey(volume))
        except DataError as error:
            lost += isinstance(error, UnreadableError)
            if strict or too_many(lost, len(volumes)):
                raise
            skipped.append(skip(volume.name, volume.path, error))
    if not surveyed:
        raise DataError(f"no usable volume among {len(volumes)}: {reasons(skipped)}")
    return surveyed, skipped


def check_count(shards: int | None, volumes: Sequence[Any]) -> None:
    """UsageError for more shards than patients."""
    patients = len({volume.patient for volume in volumes})
    most = min(patients, LARGEST_COUNT)
    if shards is not None and (isinstance(shards, bool) or not isinstance(shards, int) or not 1 <= shards <= most):
        raise UsageError(f"The number of shards must be a whole number from 1 to {most}, as there are {patients} patients, "
                         f"whose volumes stay together; received {shards!r}.")


def places_of(surveyed: Sequence[Surveyed], shards: int | None) -> list[int]:
    """The shard number of every volume: patients stay together and in order, about the same bytes in each shard."""
    sizes: dict[str, int] = {}
    for item in surveyed:
        sizes[item.volume.patient] = sizes.get(item.volume.patient, 0) + item.bytes
    if shards is None:
        shards = min(-(-sum(sizes.values()) // _SHARD_BYTES), len(sizes), LARGEST_COUNT)
    check_count(shards, [item.volume for item in surveyed])
    share = dict(zip(sizes, _share_out(list(sizes.values()), shards)))
    return [share[item.volume.patient] for item in surveyed]


def _share_out(sizes: list[int], shards: int) -> list[int]:
    """The shard number of each size, never falling and every shard used."""
    numbers, number, load, left = [], 0, 0, sum(sizes)
    for i, size in enumerate(sizes):
        last_chance = len(sizes) - i == shards - 1 - number  # one for each of the shards still empty
        full = load + size / 2 > left / (shards - number)
        if load and number < shards - 1 and (last_chance or full):
            number, left, load = number + 1, left - load, 0
        numbers.append(number)
        load += size
    return numbers
