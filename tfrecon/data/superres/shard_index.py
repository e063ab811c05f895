"""The volumes in a folder of shards, as an index that can be split and streamed like one of HDF5 files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ...errors import DataError, UnreadableError, UsageError, shown
from ...files import sha256_of
from ..find import Paths, Skipped
from ..index import file_stamp
from ..kaggle import local_path
from .shard_manifest import MANIFEST, SHARD_NAME, Manifest, read_manifest
from .volumes import MagnitudeIndex, index_magnitudes


@dataclass(frozen=True)
class Shard:
    """One TFRecord file: where it is, its size in bytes, and the SHA-256 of what was written."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class ShardVolume:
    """One volume in a shard, in the terms of `MagnitudeVolume`.

    Attributes:
        number: what its records call it. shard: number of the shard that holds all of it.
        patient: what volumes of one person share within one conversion; no other conversion uses the same word.
        stamp: size and modification time of the shard.
    """

    name: str
    number: int
    shard: int
    target_key: str
    target_shape: tuple[int, int]
    slices: int
    patient: str
    notes: tuple[str, ...]
    stamp: tuple[int, int]

    @property
    def height(self) -> int:
        return self.target_shape[0]

    @property
    def width(self) -> int:
        return self.target_shape[1]

    @property
    def stamps(self) -> tuple[tuple[int, int], ...]:
        """The stamps of all files a volume lies in: its shard's."""
        return (self.stamp,)

    @property
    def attributes(self) -> dict[str, str]:
        """Of the file's attributes only what stands for the person; the maximum is in the records."""
        return {"patient_id": self.patient}


@dataclass(frozen=True)
class ShardIndex:
    """Volumes in shards; a part made by `split` has some of them, and reads the shards these lie in.

    Attributes:
        volumes: what is read. contents: all volumes of the folder, by number.
        shards: all of the folder. skipped: what the conversion left out, where this is its result.
    """

    volumes: tuple[ShardVolume, ...]
    contents: tuple[ShardVolume, ...]
    shards: tuple[Shard, ...]
    skipped: tuple[Skipped, ...] = ()

    @property
    def slices(self) -> int:
        return sum(volume.slices for volume in self.volumes)


def index_superres(path: Paths, key: str | None = None, strict: bool = False) -> MagnitudeIndex | ShardIndex:
    """The index of what lies under a path: shards where there is a `shards.json`, else HDF5 files (`index_magnitudes`)."""
    folder = _shard_folder(path)
    return index_magnitudes(path, key, strict) if folder is None else index_shards(folder, key)


def index_shards(folder: Any, key: str | None = None) -> ShardIndex:
    """Read the manifest of a folder of shards and check it against the files.

    Patients go by pseudonyms that hold within the folder, so a person in two folders is not noticed: convert all data at
    once and `split` the shards, or make sure beforehand that nobody is on both sides.

    Args:
        folder: holds `shards.json`, written by `write_shards` (`tfrecon convert`).
        key: the dataset the images must have been taken from; None for any.

    Raises:
        DataError: the manifest is broken, or a shard is missing or not of the size stated. UsageError: another dataset.
    """
    folder = os.fsdecode(folder)
    manifest = read_manifest(folder)
    volumes = tuple(_volume(number, row, manifest) for number, row in enumerate(manifest.volumes))
    for volume in volumes:
        if key not in (None, volume.target_key):
            raise UsageError(f"{shown(volume.name)} was converted from {shown(volume.target_key)}, received {shown(key)}. "
                             "Leave the key out, or convert again with it.")
    shards = tuple(Shard(os.path.join(folder, row["name"]), row["bytes"], row["sha256"]) for row in manifest.shards)
    return ShardIndex(volumes, volumes, shards)


def check_unchanged(index: ShardIndex) -> None:
    """UnreadableError for a shard that vanished or changed since the index was made: no Python is there when it is read.

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


def _volume(number: int, row: dict, manifest: Manifest) -> ShardVolume:
    # The digest in front: patient-01 of one conversion is not patient-01 of another.
    return ShardVolume(row["name"], number, row["shard"], row["key"], (row["height"], row["width"]), row["slices"],
                       f"{manifest.digest[:12]} {row['patient']}", tuple(row["notes"]), manifest.stamps[row["shard"]])


def _shard_folder(path: Paths) -> str | None:
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
