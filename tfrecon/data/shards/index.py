"""The volumes in a folder of shards, as an index that can be split and streamed like one of HDF5 files."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...errors import DataError, UnreadableError, UsageError, shown
from ...files import sha256_of
from ..find import Paths, Skipped
from ..index import file_stamp
from ..kaggle import local_path
from .manifest import MANIFEST, SHARD_NAME, Layout, read_manifest


@dataclass(frozen=True)
class Shard:
    """One TFRecord file: where it is, its size in bytes, and the SHA-256 of what was written."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class ShardIndex:
    """Volumes in shards; a part made by `split` has some of them, and reads the shards these lie in.

    Attributes:
        volumes: what is read; each has `number`, `shard`, `slices`, `height`, `width` and `record_bytes`, about the size of one
            of its records. contents: all volumes of the folder, by number. shards: all of the folder.
        longest: of each of `contents`, the most bytes that one of its records may take.
        skipped: what the conversion left out, where this is its result.
    """

    volumes: tuple[Any, ...]
    contents: tuple[Any, ...]
    shards: tuple[Shard, ...]
    longest: tuple[int, ...]
    skipped: tuple[Skipped, ...] = ()

    @property
    def slices(self) -> int:
        return sum(volume.slices for volume in self.volumes)


def read_shards(folder: Any, layout: Layout, volume: Callable[..., Any], key: str | None = None) -> ShardIndex:
    """Read the manifest of a folder of shards and check it against the files.

    Patients go by pseudonyms that hold within the folder, so a person in two folders is not noticed: convert all data at
    once and `split` the shards, or make sure beforehand that nobody is on both sides.

    Args:
        folder: holds `shards.json`.
        layout: of the task wanted.
        volume: makes the volume of (number, row, patient, path of its shard, stamp of its shard).
        key: the dataset the images must have been taken from; None for any.

    Raises:
        DataError: the manifest is broken or of another task, or a shard is missing or not of the size stated. UsageError:
        another dataset.
    """
    folder = os.fsdecode(folder)
    manifest = read_manifest(folder, layout)
    shards = tuple(Shard(os.path.join(folder, row["name"]), row["bytes"], row["sha256"]) for row in manifest.shards)
    for row in manifest.volumes:
        if key not in (None, row["key"]):
            raise UsageError(f"{shown(row['name'])} was converted from {shown(row['key'])}, received {shown(key)}. "
                             "Leave the key out, or convert again with it.")
    volumes = tuple(
        # The digest in front: patient-01 of one conversion is not patient-01 of another.
        volume(number, row, f"{manifest.digest[:12]} {row['patient']}", shards[row["shard"]].path, manifest.stamps[row["shard"]])
        for number, row in enumerate(manifest.volumes))
    return ShardIndex(volumes, volumes, shards, tuple(map(layout.longest_record, manifest.volumes)))


def check_unchanged(index: ShardIndex) -> None:
    """UnreadableError for a shard that vanished or changed since the index was made: TensorFlow reads it, which does not look.

    To be asked before every epoch. Records are not skipped one by one: a shard is seldom less than 5 % of the data.
    """
    for number, stamp in {v.shard: v.stamp for v in index.volumes}.items():
        path = index.shards[number].path
        try:
            found = file_stamp(path)
        except DataError as error:
            raise UnreadableError(f"{error}. Bring the shard back and go on with --resume") from error
        if found != stamp:
            raise UnreadableError(f"{shown(path)}: changed since it was indexed (its size or modification time differs); copy "
                                  "the shards anew, or convert the data again")


def verify_shards(index: ShardIndex) -> None:
    """Read every shard of a folder and compare its SHA-256 with the manifest's; DataError names those that differ."""
    damaged = [shown(shard.path) for shard in index.shards if sha256_of(shard.path) != shard.sha256]
    if damaged:
        raise DataError(f"{len(damaged)} of {len(index.shards)} shards differ from what was written: "
                        f"{', '.join(damaged[:6])}. Copy them anew, or convert the data again.")


def check_decided(**options: Any) -> None:
    """UsageError for what shards cannot take any more, their slices being written already; None is not asked for."""
    asked = [name for name, value in options.items() if value is not None]
    if asked:
        raise UsageError(f"Shards hold what was decided when they were converted; received {', '.join(asked)}. Leave it out, or "
                         "convert the data again with it.")


def shard_folder(path: Paths) -> str | None:
    """The folder of shards a path stands for (it, or its manifest), or None."""
    if not isinstance(path, str | bytes | os.PathLike):
        return None
    path = local_path(os.fsdecode(path))
    folder, name = os.path.split(path)
    if os.path.isdir(path):
        return path if MANIFEST in _names(path) else None
    if name.endswith(".tfrecord"):
        raise DataError(f"{shown(path)}: a shard does not say which slices it should hold; give its folder, with {MANIFEST}")
    return (folder or os.curdir) if name == MANIFEST else None


def _names(folder: str) -> list[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []  # whoever looks for other files there will say why
    if MANIFEST not in names and any(map(SHARD_NAME.fullmatch, names)):
        raise DataError(f"{shown(folder)}: shards without {MANIFEST}: the conversion was interrupted or the manifest not "
                        "copied; convert again with --overwrite")
    return names
