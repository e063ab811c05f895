"""Writes volumes as TFRecord shards: what is left out is known, and that it fits on the disk, before anything is written.

Every record is a `tf.train.Example` of one slice; all arrays are little-endian, row by row, and finite:

    height, width, volume, slice    int64; `volume` counts as the manifest does
    the facts of the volume, float64, and the arrays the task says
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError, UnreadableError, UsageError, shown
from ...files import replace_when_complete, sha256_of, write_json
from ..find import Skipped, skip
from ..lost import too_many
from ..output import check_folder
from .kind import ShardKind, Surveyed
from .manifest import MANIFEST, SHARD_NAME, shard_name
from .plan import check_count, places_of, survey_all

_OURS = re.compile(rf"{SHARD_NAME.pattern}|\.(?:{SHARD_NAME.pattern}|{re.escape(MANIFEST)})\.\d+\.part")


def write_all(
    kind: ShardKind,
    volumes: Sequence[Any],
    out: Any,
    shards: int | None = None,
    *,
    strict: bool = False,
    overwrite: bool = False,
    progress: Callable[[str], Any] = lambda text: None,
) -> tuple[Skipped, ...]:
    """Write volumes as shards; the same data give the same bytes. Everything is read once before anything is written.

    Args:
        kind: what a record holds.
        volumes: of an index of the task.
        out: folder for the shards, new or empty.
        shards: how many, at most as many as patients: all volumes of one lie in one shard. None: about 128 MiB each.
        strict: raise for the first volume or slice that cannot be used instead of leaving the volume out or replacing it.
        overwrite: replace the shards in `out`, complete or not; other files there are left alone.
        progress: called with a sentence before the reading and after every shard.

    Returns:
        What was left out.

    Raises:
        UsageError: `out` is not empty, or more shards than patients. DataError: no usable volume. ResourceError: it could
        not be written; shards may be left behind, but no manifest.
    """
    out = Path(out)
    _check_out(out, overwrite)
    check_count(shards, volumes)
    progress(f"reading {sum(v.slices for v in volumes)} slices of {len(volumes)} volumes, to find what cannot be used")
    surveyed, skipped = survey_all(kind, volumes, strict)
    lost = 0
    while True:
        places = places_of(surveyed, shards)
        try:
            rows = _write_shards(kind, out, surveyed, places, progress)
            break
        except _Lost as error:
            lost += 1
            skipped.append(_without(error, surveyed, strict or too_many(lost, len(volumes))))
            progress(f"{skipped[-1].name}: {skipped[-1].reason}; begun anew without it")
    stand_ins = _stand_ins([item.volume for item in surveyed])
    described = [_describe(kind, item, place, stand_ins[item.volume.patient]) for item, place in zip(surveyed, places)]
    write_json(out / MANIFEST, {**kind.layout.format, "slices": sum(row["slices"] for row in rows), "shards": rows,
                                "volumes": described})
    return tuple(skipped)


class _Lost(Exception):
    """A volume can no longer be read, of which a shard may hold some slices by now."""

    def __init__(self, item: Surveyed):
        super().__init__()
        self.item = item


def _without(lost: _Lost, surveyed: list[Surveyed], stop: bool) -> Skipped:
    """Take the volume out of those to be written, or stop, as without any."""
    volume, error = lost.item.volume, lost.__cause__
    surveyed.remove(lost.item)
    if stop or not surveyed:
        raise DataError(f"{error}. Bring the files back and convert again with --overwrite") from error
    return skip(volume.name, volume.path, DataError(str(error)))


def _write_shards(
    kind: ShardKind, out: Path, surveyed: list[Surveyed], places: list[int], progress: Callable[[str], Any]
) -> list[dict[str, Any]]:
    """Write every shard; the rows of the manifest."""
    _remove_former(out)
    rows: list[dict[str, Any]] = []
    left = sum(item.bytes for item in surveyed)
    for number in range(count := max(places) + 1):
        chosen = [(k, item) for k, item in enumerate(surveyed) if places[k] == number]
        rows.append(_write_shard(out / shard_name(number, count), kind, chosen, left))
        left -= sum(item.bytes for _, item in chosen)
        progress(f"[{number + 1}/{count}] {rows[-1]['name']}: {rows[-1]['slices']} slices, {rows[-1]['bytes']} bytes")
    return rows


def _stand_ins(volumes: Sequence[Any]) -> dict[str, str]:
    """What stands for each patient, in the order of their identifiers, so that the shards split as the files do."""
    patients = sorted({volume.patient for volume in volumes})
    digits = max(2, len(str(len(patients))))
    return {patient: f"patient-{number:0{digits}d}" for number, patient in enumerate(patients, start=1)}


def _check_out(out: Path, overwrite: bool) -> None:
    check_folder(out)
    if not overwrite and out.is_dir() and any(out.iterdir()):
        raise UsageError(f"{shown(out)} is not empty. Name a new folder, or replace the shards in it, complete or not, with "
                         "overwrite=True (--overwrite).")


def _remove_former(out: Path) -> None:
    """The manifest first: what a removal that is interrupted leaves must not pass for complete."""
    (out / MANIFEST).unlink(missing_ok=True)
    for old in sorted(out.iterdir()) if out.is_dir() else []:
        if _OURS.fullmatch(old.name):
            old.unlink()


def _write_shard(path: Path, kind: ShardKind, chosen: list[tuple[int, Surveyed]], left: int) -> dict[str, Any]:
    """Write the volumes with their numbers into one file; `left` bytes must still fit on the disk."""
    import tensorflow as tf

    with replace_when_complete(path, left) as part:
        try:
            with tf.io.TFRecordWriter(os.fspath(part)) as writer:
                for number, item in chosen:
                    try:
                        for i in range(item.volume.slices):
                            writer.write(_record(kind, number, i, item))
                    except UnreadableError as error:
                        raise _Lost(item) from error
        except tf.errors.OpError as error:
            raise OSError(error.message) from error
        size, sha256 = part.stat().st_size, sha256_of(part)
    return {"name": path.name, "slices": sum(item.volume.slices for _, item in chosen), "bytes": size, "sha256": sha256}


def _record(kind: ShardKind, number: int, i: int, item: Surveyed) -> bytes:
    from tensorflow import train

    numbers = {"height": item.volume.height, "width": item.volume.width, "volume": number, "slice": i}
    arrays = {**kind.arrays(item.volume, i), **{name: np.array(value, np.float64) for name, value in item.facts.items()}}
    features = {name: train.Feature(int64_list=train.Int64List(value=[n])) for name, n in numbers.items()}
    for name, values in arrays.items():
        stored = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
        features[name] = train.Feature(bytes_list=train.BytesList(value=[stored]))
    return train.Example(features=train.Features(feature=features)).SerializeToString(deterministic=True)


def _describe(kind: ShardKind, item: Surveyed, shard: int, patient: str) -> dict[str, Any]:
    volume = item.volume
    return {"name": volume.name, "shard": shard, "slices": volume.slices, "height": volume.height, "width": volume.width,
            "patient": patient, "notes": list(item.notes), **kind.row(volume)}
