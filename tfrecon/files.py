"""Whole files or none: what is written appears under its name only when it is complete and on the disk."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import DataError, ResourceError, TfreconError, shown

# Of the cards in weight files, run.json and export.json; raised only where an older tfrecon would misread a file. What this
# release writes, all later ones read (README, "Files and versions").
FORMAT_VERSION, _VERSION = 1, "format_version"
_JSON_BYTES = 2**24  # a record with the names of ten thousand volumes has one
_DIGITS = 40
_PART = re.compile(r"\..+\.([0-9]+)\.part(?:\.weights\.h5)?", re.DOTALL)


def with_version(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts as they are written, with the version of their format."""
    return {_VERSION: FORMAT_VERSION, **facts}


def without_version(facts: Mapping[str, Any], where: str, error: type[TfreconError]) -> dict[str, Any]:
    """The facts as they were before `with_version`; those of before versions (0.1) have none.

    Raises:
        error: they were written by a newer tfrecon, or the version is damaged.
    """
    version = facts.get(_VERSION, 1)
    if type(version) is not int or version < 1:
        raise error(f"{where} is damaged: {_VERSION} is {version!r:.40}, expected a whole number. Bring the file back.")
    if version > FORMAT_VERSION:
        raise error(f"{where} has format {version}; this tfrecon reads up to {FORMAT_VERSION}. Install a newer one.")
    return {key: value for key, value in facts.items() if key != _VERSION}


@contextmanager
def replace_when_complete(path: Any, expected_bytes: int = 0) -> Iterator[Path]:
    """Give a temporary name beside `path` to write to; on success flush it to disk and rename, on failure remove it.

    Args:
        path: the final name; missing folders are made.
        expected_bytes: refuse at once when less is free.

    Raises:
        ResourceError: too little space, or the system refused to write.
    """
    path = Path(path)
    # A long name with a prefix and a suffix must still fit into the 255 bytes of a file name.
    part = path.with_name(f".{path.name[:60]}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path.parent)
        free = shutil.disk_usage(path.parent).free
        if free < expected_bytes:
            raise ResourceError(f"{path}: {expected_bytes} bytes are needed and {free} are free. Free some space.")
        yield part
        with open(part, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(part, path)
    except ResourceError:
        raise
    except OSError as error:
        raise ResourceError(
            f"{path}: could not be written ({error}). Check that the folder can be written to and the disk is not full."
        ) from error
    finally:
        with suppress(OSError):
            part.unlink()


def _remove_leftovers(folder: Path) -> None:
    """What processes that were killed while they wrote left behind: nobody would ever finish it, and states are large.

    Younger than a minute it may be another machine's, whose processes cannot be asked for.
    """
    for part in folder.glob(".*.part*"):
        number = _PART.fullmatch(part.name)
        with suppress(OSError):
            if number and time.time() - part.stat().st_mtime > 60 and not _is_running(int(number[1])):
                part.unlink()


def _is_running(process: int) -> bool:
    if os.name != "posix":  # where signal 0 is a Ctrl-C
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's, or a system that does not say
        return True
    return True


def write_whole(path: Any, content: bytes) -> Path:
    """Write bytes to a file, completely or not at all."""
    with replace_when_complete(path, len(content)) as part:
        part.write_bytes(content)
    return Path(path)


class InMemory(io.BytesIO):
    """An HDF5 file before it is written, for h5py and for Keras, which takes one whose name has its ending.

    HDF5 must not write to the disk itself: where that is full it reports so late or not at all, prints, keeps the file open,
    and has been seen to end the process by a segmentation fault.
    """

    def __str__(self) -> str:
        return "memory.weights.h5"

    def write_to(self, path: Any) -> Path:
        """Write it under its final name, completely or not at all."""
        return write_whole(path, self.getvalue())  # no copy; a view of it would outlive an error and hold all of it


@contextmanager
def hdf5_when_complete(path: Any) -> Iterator[Any]:
    """An `h5py.File` to fill, in memory; written under its final name afterwards, completely or not at all.

    Raises:
        ResourceError: see `replace_when_complete`.
    """
    import h5py  # a tenth of a second, which `--help` does not need

    content = InMemory()
    with h5py.File(content, "w") as file:
        yield file
    content.write_to(path)


def write_json(path: Any, value: Any) -> Path:
    """Write plain values as indented JSON, completely or not at all."""
    return write_whole(path, (json.dumps(value, indent=2, sort_keys=True, default=str) + "\n").encode())


def read_json(path: Any, kind: type) -> Any:
    """The object or list in a JSON file that a run left. NaN and infinity are read as what they are.

    Raises:
        DataError: it is missing, damaged, too large or of another kind.
    """
    where = shown(path)
    try:
        if not os.path.isfile(path) or os.path.getsize(path) > _JSON_BYTES:
            raise DataError(f"{where} is no file of at most {_JSON_BYTES} bytes; expected the JSON a run leaves.")
        found = json.loads(Path(path).read_text(encoding="utf-8"), parse_int=_whole)
    except DataError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{where} is damaged or cannot be read ({error}); bring it back, or repeat the run.") from error
    if not isinstance(found, kind):
        raise DataError(f"{where} is damaged: expected {'an object' if kind is dict else 'a list'}, found "
                        f"{type(found).__name__}; bring it back, or repeat the run.")
    return found


def _whole(text: str) -> int:
    if len(text) > _DIGITS:  # none of ours has so many, and no float holds those with some hundreds
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def sha256_of(*paths: Any) -> str:
    """SHA-256 of a file, or of several one after the other, read in pieces."""
    found = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as handle:
            for block in iter(lambda: handle.read(1 << 20), b""):
                found.update(block)
    return found.hexdigest()
