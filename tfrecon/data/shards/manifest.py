"""The manifest of a folder of shards, `shards.json`: foreign text, checked before anything it says is believed.

Shards are called what their number says, so that a manifest cannot name a file elsewhere; they must be regular files of the
size stated, and that size must fit the slices they are said to hold.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...errors import DataError, shown
from ...hdf5 import file_error

MANIFEST = "shards.json"
_FORMAT = {"format": "tfrecon shards", "version": 1}
SHARD_NAME = re.compile(r"slices-\d{5}-of-\d{5}\.tfrecord")
LARGEST_COUNT = 99999  # the names have five digits
_MANIFEST_BYTES, _SHARD_BYTES = 2**26, 2**50
_SIDE, _SLICES = 2**16, 2**31
_RECORD_OVERHEAD = 16, 1024  # bytes of a record beside its arrays: the frame alone, and more than the other features take
_ADVICE = "copy it anew, or convert the data again"


@dataclass(frozen=True)
class Layout:
    """What the manifest of a task says of a volume, beside what all of them do ("name", "shard", "key", "slices", "height",
    "width", "patient", "notes").

    Attributes:
        task: the manifest's. numbers: names of whole numbers from 1 to 65536. texts: names of texts.
        record_bytes: of a volume's row, the least and the most bytes that the arrays of one of its records take together.
    """

    task: str
    record_bytes: Callable[[dict[str, Any]], tuple[int, int]]
    numbers: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()

    def longest_record(self, row: dict[str, Any]) -> int:
        """The most bytes that a record of a volume's row takes with its frame."""
        return self.record_bytes(row)[1] + _RECORD_OVERHEAD[1]

    @property
    def format(self) -> dict[str, Any]:
        """How a manifest of this task begins."""
        return {**_FORMAT, "task": self.task}


@dataclass(frozen=True)
class Manifest:
    """A manifest that agrees with itself and with the files.

    Attributes:
        shards: of each "name", "slices", "bytes", "sha256". volumes: of each what `Layout` says.
        stamps: size and modification time of each shard.
        digest: SHA-256 of the manifest.
    """

    shards: list[dict[str, Any]]
    volumes: list[dict[str, Any]]
    stamps: list[tuple[int, int]]
    digest: str


def read_manifest(folder: str, layout: Layout) -> Manifest:
    """Read and check the manifest of a folder, and that the shards are there in the sizes stated; DataError otherwise."""
    path = os.path.join(folder, MANIFEST)
    content = _read(path)
    rows, where = _parse(content, path, layout), shown(path)
    shards, volumes = _list(rows, "shards", where), _list(rows, "volumes", where)
    for number, row in enumerate(shards):
        _check_shard(row, shard_name(number, len(shards)), f"{where}: shard {number}")
    for number, row in enumerate(volumes):
        _check_volume(row, layout, len(shards), f"{where}: volume {number}")
    if len({row["name"] for row in volumes}) < len(volumes):
        raise DataError(f"{where}: two volumes share a name; {_ADVICE}")
    _check_sums(rows, layout, shards, volumes, where)
    return Manifest(shards, volumes, [_stamp(folder, row) for row in shards], hashlib.sha256(content).hexdigest())


def shard_name(number: int, count: int) -> str:
    return f"slices-{number:05d}-of-{count:05d}.tfrecord"


def _read(path: str) -> bytes:
    size, _ = _regular_file(path)
    if size > _MANIFEST_BYTES:
        raise DataError(f"{shown(path)}: {size} bytes, expected at most {_MANIFEST_BYTES}: not a manifest of ours")
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise file_error(path, error) from error


def _parse(content: bytes, path: str, layout: Layout) -> dict:
    try:
        rows = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{shown(path)}: not JSON ({error}); {_ADVICE}") from error
    stated = {name: rows.get(name) for name in layout.format} if isinstance(rows, dict) else {}
    if stated == layout.format:
        return rows
    if {**stated, "task": layout.task} == layout.format:
        raise DataError(f"{shown(path)}: shards for the task {stated['task']!r:.80}, expected {layout.task!r}; train a model of "
                        f"that task, or convert the data again with --task {layout.task}")
    raise DataError(f"{shown(path)}: expected {layout.format}, received {stated!r:.200}; take the tfrecon that wrote it, or "
                    "convert the data again")


def _check_shard(row: dict, name: str, where: str) -> None:
    if row.get("name") != name:
        raise DataError(f"{where} is called {row.get('name')!r:.80}, expected {name}; {_ADVICE}")
    _check_whole(row, "slices", where, 1, _SLICES)
    _check_whole(row, "bytes", where, 1, _SHARD_BYTES)
    _check_text(row, "sha256", where)


def _check_volume(row: dict, layout: Layout, shards: int, where: str) -> None:
    for name in ("name", "key", "patient", *layout.texts):
        _check_text(row, name, where)
    for name, least, most in (("shard", 0, shards - 1), ("slices", 1, _SLICES)):
        _check_whole(row, name, where, least, most)
    for name in ("height", "width", *layout.numbers):
        _check_whole(row, name, where, 1, _SIDE)
    notes = row.get("notes")
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise DataError(f"{where}: notes is {notes!r:.80}, expected a list of texts; {_ADVICE}")


def _check_sums(rows: dict, layout: Layout, shards: list[dict], volumes: list[dict], where: str) -> None:
    """Slices must add up, and no shard may be too small or too large for those it is said to hold."""
    slices, least, most = ([0] * len(shards) for _ in range(3))
    for row in volumes:
        smallest, largest = (n + overhead for n, overhead in zip(layout.record_bytes(row), _RECORD_OVERHEAD))
        slices[row["shard"]] += row["slices"]
        least[row["shard"]] += row["slices"] * smallest
        most[row["shard"]] += row["slices"] * largest
    for number, row in enumerate(shards):
        if slices[number] != row["slices"] or not least[number] <= row["bytes"] <= most[number]:
            raise DataError(f"{where}: shard {number} of {row['bytes']} bytes is said to hold {row['slices']} slices, its "
                            f"volumes have {slices[number]} of {least[number]} to {most[number]} bytes together; {_ADVICE}")
    if rows.get("slices") != sum(slices):
        raise DataError(f"{where}: slices is {rows.get('slices')!r:.80}, the shards hold {sum(slices)}; {_ADVICE}")


def _stamp(folder: str, row: dict) -> tuple[int, int]:
    path = os.path.join(folder, row["name"])
    stamp = _regular_file(path)
    if stamp[0] != row["bytes"]:
        raise DataError(f"{shown(path)}: {stamp[0]} bytes, expected {row['bytes']} as in {MANIFEST}: cut off, or of another "
                        f"conversion; {_ADVICE}")
    return stamp


def _regular_file(path: str) -> tuple[int, int]:
    """Size and modification time of a file that lies where its name says; a link could lead out of the folder."""
    try:
        status = os.lstat(path)
    except OSError as error:
        raise file_error(path, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{shown(path)}: no regular file ({stat.filemode(status.st_mode)}); put the file itself there")
    return status.st_size, status.st_mtime_ns


def _list(rows: dict, name: str, where: str) -> list[dict]:
    value = rows.get(name)
    if not isinstance(value, list) or not value or not all(isinstance(row, dict) for row in value):
        raise DataError(f"{where}: {name} is {value!r:.80}, expected a list of objects; {_ADVICE}")
    return value


def _check_whole(row: dict, name: str, where: str, least: int, most: int) -> None:
    value = row.get(name)
    if type(value) is not int or not least <= value <= most:  # True is an int to isinstance
        raise DataError(f"{where}: {name} is {value!r:.80}, expected a whole number from {least} to {most}; {_ADVICE}")


def _check_text(row: dict, name: str, where: str) -> None:
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise DataError(f"{where}: {name} is {value!r:.80}, expected a text; {_ADVICE}")
