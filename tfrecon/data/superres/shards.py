"""Writes magnitude images as TFRecord shards, which TensorFlow reads without Python: for TPUs and network disks.

A folder of shards holds `slices-00000-of-00008.tfrecord` and so on and, written last, the manifest `shards.json`. Every
record is a `tf.train.Example` of one slice:

    image       float32 little-endian, row by row, in the file's units, finite
    height, width, volume, slice    int64; `volume` counts as the manifest does
    stated      float64 little-endian, what value_range="volume" makes 255: the attribute `max`, else `maximum`
    maximum     float64 little-endian, the largest value of the volume
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError, UnreadableError, UsageError, shown
from ...files import replace_when_complete, sha256_of, write_json
from ..find import Skipped, skip
from ..lost import too_many
from ..output import check_folder
from ..slices import SliceReader
from ..splits import pseudonyms
from ..stream import FiniteSlices
from .shard_index import ShardIndex, index_shards
from .shard_manifest import FORMAT, MANIFEST, SHARD_NAME, shard_name
from .shard_plan import Surveyed, check_count, places_of, survey_all
from .volumes import MagnitudeIndex

_OURS = re.compile(rf"{SHARD_NAME.pattern}|\.(?:{SHARD_NAME.pattern}|{re.escape(MANIFEST)})\.\d+\.part")


def write_shards(
    index: MagnitudeIndex,
    out: Any,
    shards: int | None = None,
    *,
    strict: bool = False,
    overwrite: bool = False,
    progress: Callable[[str], Any] = lambda text: None,
) -> ShardIndex:
    """Write the images of an index as shards; the same images give the same bytes.

    Everything is read once before anything is written: for the volumes' maxima, and to find what cannot be read. A slice
    with NaN or infinity is replaced by the nearest finite one of its volume, as the readers do.

    Args:
        index: from `index_magnitudes`.
        out: folder for the shards, new or empty.
        shards: how many, at most as many as patients: all volumes of one lie in one shard. None: about 128 MiB each.
        strict: raise for the first volume or slice that cannot be used instead of leaving the volume out or replacing it.
        overwrite: replace the shards in `out`, complete or not; other files there are left alone.
        progress: called with a sentence before the reading and after every shard.

    Returns:
        What was written, `skipped` being what was left out.

    Raises:
        UsageError: `out` is not empty, or more shards than patients. DataError: no usable volume. ResourceError: it could
        not be written; shards may be left behind, but no manifest.
    """
    out = Path(out)
    _check_out(out, overwrite)
    check_count(shards, index.volumes)
    progress(f"reading {index.slices} slices of {len(index.volumes)} volumes, to find what cannot be used")
    with SliceReader() as reader:
        surveyed, skipped = survey_all(index, reader, strict)
        lost = 0
        while True:
            places = places_of(surveyed, shards)
            try:
                rows = _write_all(out, surveyed, places, reader, progress)
                break
            except _Lost as error:
                lost += 1
                skipped.append(_without(error, surveyed, strict or too_many(lost, len(index.volumes))))
                progress(f"{skipped[-1].name}: {skipped[-1].reason}; begun anew without it")
    patients = pseudonyms([item.volume for item in surveyed])
    volumes = [_describe(item, place, patients[item.volume.name]) for item, place in zip(surveyed, places)]
    write_json(out / MANIFEST, {**FORMAT, "slices": sum(row["slices"] for row in rows), "shards": rows, "volumes": volumes})
    return replace(index_shards(out), skipped=(*index.skipped, *skipped))


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


def _write_all(
    out: Path, surveyed: list[Surveyed], places: list[int], reader: SliceReader, progress: Callable[[str], Any]
) -> list[dict[str, Any]]:
    """Write every shard; the rows of the manifest."""
    _remove_former(out)
    rows: list[dict[str, Any]] = []
    left = sum(item.bytes for item in surveyed)
    for number in range(count := max(places) + 1):
        chosen = [(k, item) for k, item in enumerate(surveyed) if places[k] == number]
        rows.append(_write_shard(out / shard_name(number, count), chosen, reader, left))
        left -= sum(item.bytes for _, item in chosen)
        progress(f"[{number + 1}/{count}] {rows[-1]['name']}: {rows[-1]['slices']} slices, {rows[-1]['bytes']} bytes")
    return rows


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


def _write_shard(path: Path, chosen: list[tuple[int, Surveyed]], reader: SliceReader, left: int) -> dict[str, Any]:
    """Write the volumes with their numbers into one file; `left` bytes of images must still fit on the disk."""
    import tensorflow as tf

    finite = FiniteSlices("skip")
    with replace_when_complete(path, left) as part:
        try:
            with tf.io.TFRecordWriter(os.fspath(part)) as writer:
                for number, item in chosen:
                    try:
                        for i in range(item.volume.slices):
                            writer.write(_record(finite(item.volume, i, reader.target), number, i, item))
                    except UnreadableError as error:
                        raise _Lost(item) from error
        except tf.errors.OpError as error:
            raise OSError(error.message) from error
        size, sha256 = part.stat().st_size, sha256_of(part)
    return {"name": path.name, "slices": sum(item.volume.slices for _, item in chosen), "bytes": size, "sha256": sha256}


def _record(image: np.ndarray, number: int, i: int, item: Surveyed) -> bytes:
    from tensorflow import train

    numbers = {"height": image.shape[0], "width": image.shape[1], "volume": number, "slice": i}
    arrays = {"image": image.astype("<f4"), "stated": np.array(item.stated, "<f8"), "maximum": np.array(item.maximum, "<f8")}
    features = {name: train.Feature(int64_list=train.Int64List(value=[n])) for name, n in numbers.items()}
    features |= {name: train.Feature(bytes_list=train.BytesList(value=[a.tobytes()])) for name, a in arrays.items()}
    return train.Example(features=train.Features(feature=features)).SerializeToString(deterministic=True)


def _describe(item: Surveyed, shard: int, patient: str) -> dict[str, Any]:
    volume = item.volume
    return {"name": volume.name, "shard": shard, "key": volume.target_key, "slices": volume.slices, "height": volume.height,
            "width": volume.width, "patient": patient, "notes": list(item.notes)}
