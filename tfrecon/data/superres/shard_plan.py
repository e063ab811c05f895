"""What becomes of volumes that are to lie in shards: every slice is read once, then the shards are shared out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import DataError, NonFiniteError, UnreadableError, UsageError
from ..find import Skipped, reasons, skip
from ..lost import too_many
from ..slices import SliceReader
from .shard_manifest import LARGEST_COUNT
from .value_range import trusted_maximum
from .volumes import MagnitudeIndex, MagnitudeVolume

_SHARD_BYTES = 2**27


@dataclass(frozen=True)
class Surveyed:
    """A volume every slice of which was read once, with what its records say of it."""

    volume: MagnitudeVolume
    maximum: float
    stated: float
    notes: tuple[str, ...]

    @property
    def bytes(self) -> int:
        return 4 * self.volume.slices * self.volume.height * self.volume.width


def survey_all(index: MagnitudeIndex, reader: SliceReader, strict: bool) -> tuple[list[Surveyed], list[Skipped]]:
    """Read every slice: the volumes that can be used, at least one, and the others with their reasons."""
    surveyed, skipped, lost = [], [], 0
    for volume in index.volumes:
        try:
            surveyed.append(_survey(volume, reader, strict))
        except DataError as error:
            lost += isinstance(error, UnreadableError)
            if strict or too_many(lost, len(index.volumes)):
                raise
            skipped.append(skip(volume.name, volume.path, error))
    if not surveyed:
        raise DataError(f"no usable volume among {len(index.volumes)}: {reasons(skipped)}")
    return surveyed, skipped


def _survey(volume: MagnitudeVolume, reader: SliceReader, strict: bool) -> Surveyed:
    maxima, replaced = [], 0
    for i in range(volume.slices):
        try:
            maxima.append(float(reader.target(volume, i).max()))
        except NonFiniteError:
            replaced += 1
            if strict or replaced == volume.slices:
                raise
            maxima.append(0.0)  # not a maximum: the other slices decide
    maximum, notes = max(maxima), list(volume.notes)
    stated, note = trusted_maximum(volume, maxima[volume.slices // 2] or maximum, lambda: maximum)
    if replaced:
        notes.append(f"{replaced} of {volume.slices} slices have NaN or infinity; the nearest finite one replaces each")
    return Surveyed(volume, maximum, stated, (*notes, *filter(None, [note])))


def check_count(shards: int | None, volumes: Sequence[MagnitudeVolume]) -> None:
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
