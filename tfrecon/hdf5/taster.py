"""What `tasting` runs in another process: walks through the HDF5 files it is told as the readers do, and answers a line for each.

HDF5 ends the process, or worse, over some files whose structure is damaged behind checksums that are right (seen in 1.14.6: trees
and heaps of names, layouts of chunks). Here that costs nobody anything. A file that is refused with an error has survived; what
is wrong with it, the readers will say themselves.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import Any

import h5py

from . import ALWAYS_ALLOWED_BYTES, MAX_CHUNK_BYTES, _check_dataset, _open_unlocked, _resolve, read_attributes

SECONDS = 60  # of the processor's time for one file: a millisecond for each of its arrays, unless it has no end
SURVIVED, DIED, LATE, FAILED = "survived", "died", "late", "failed"  # the answers; the last one says nothing about the file
_ERRORS = (OSError, RuntimeError, KeyError, TypeError, ValueError, OverflowError, AttributeError, MemoryError)


def main() -> None:
    _limit_memory()
    for line in sys.stdin.buffer:
        path = line.rstrip(b"\n").replace(b"\0", b"\n")
        sys.stdout.write(f"{_verdict(path)}\n")
        sys.stdout.flush()


def _verdict(path: bytes) -> str:
    """In a process of its own where the system can fork: what one file did to the memory would hide what the next one does."""
    if not hasattr(os, "fork"):
        taste(path)
        return SURVIVED
    try:
        child = os.fork()
    except OSError:
        return FAILED
    if not child:
        try:
            _limit_time()
            taste(path)
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    ends = {-signal.SIGPROF: LATE, -signal.SIGKILL: FAILED, -signal.SIGTERM: FAILED}  # the last two come from outside
    return SURVIVED if status == 0 else ends.get(os.waitstatus_to_exitcode(status), DIED)


def taste(path: bytes) -> None:
    """Open the file, see all of its structure and the ends of every array in chunks, and close it.

    Raises:
        RuntimeError: it cannot be closed; the library's own books are in disorder.
    """
    try:
        file = _open_unlocked(os.fsdecode(path))
    except _ERRORS:
        return
    with suppress(*_ERRORS):
        _walk(file)
    file.close()


def _walk(file: h5py.File) -> None:
    seen: set[Any] = set()
    pending: list[Any] = [file["/"]]
    while pending:
        found = pending.pop()
        with suppress(*_ERRORS):
            address = h5py.h5o.get_info(found.id).addr
            if address in seen:
                continue
            seen.add(address)
        with suppress(*_ERRORS):
            read_attributes(found)
        with suppress(*_ERRORS):
            if isinstance(found, h5py.Group):
                pending += _members(found)
            elif isinstance(found, h5py.Dataset):
                _look_at(found)


def _members(group: h5py.Group) -> list[Any]:
    members = []
    for key in group:
        with suppress(*_ERRORS):
            members.append(_resolve(group, key))
    return members


def _look_at(dataset: h5py.Dataset) -> None:
    _check_dataset(dataset, str(dataset.name))
    if dataset.chunks and dataset.size and dataset.dtype.kind != "O":
        for row in {0, len(dataset) - 1}:
            dataset[row]  # unpacks its chunks


def _limit_memory() -> None:
    with suppress(ImportError, ValueError, OSError):
        import resource

        limit = 2 * (MAX_CHUNK_BYTES + ALWAYS_ALLOWED_BYTES)
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _limit_time() -> None:
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # nobody handles it, so it ends the process
