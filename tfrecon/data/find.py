"""Finds the HDF5 files under a path, whatever their names, and says what it leaves out."""

import glob
import os
import stat
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import DataError, shown
from ..hdf5 import file_error
from .kaggle import local_path, path_error

EXTENSIONS = (".h5", ".hdf5", ".hdf")
_SHOWN_REASONS = 10
_IMAGES = {".nii", ".gz", ".dcm", ".ima", ".mrd", ".dat"}

Paths = str | bytes | os.PathLike | Iterable


@dataclass(frozen=True)
class Skipped:
    """A file or folder that is not used, and why."""

    name: str
    reason: str


def skip(name: str, path: str, error: DataError) -> Skipped:
    """What is skipped has its name already, so the error's leading path is dropped."""
    return Skipped(name, str(error).removeprefix(f"{shown(path)}: "))


def reasons(skipped: list[Skipped]) -> str:
    """Names and reasons for an error message; long lists are cut."""
    more = [f"and {len(skipped) - _SHOWN_REASONS} more"] if len(skipped) > _SHOWN_REASONS else []
    return "; ".join([f"{shown(s.name)}: {s.reason}" for s in skipped[:_SHOWN_REASONS]] + more)


def find_files(path: Paths) -> tuple[list[tuple[str, str]], list[Skipped]]:
    """The HDF5 files under a path as (path, name), sorted by name, and what was set aside while looking.

    A file that is named outright is taken whatever its extension; in folders `.h5`, `.hdf5` and `.hdf` count and
    hidden entries do not. Links to folders are followed, each folder once. `kaggle://owner/dataset` is that dataset's
    folder (see `kaggle.py`). What does not exist and holds *, ? or [ is a pattern (** for any folders); ends of lines and the
    mark some editors begin a text with are taken off names read from a list.
    """
    if not isinstance(path, str | bytes | os.PathLike):
        return _from_list(path)
    path, matched = named(path)
    if matched:
        return _from_list(matched)
    try:
        if not stat.S_ISDIR(os.stat(path).st_mode):
            return [(path, os.path.basename(path))], []
        return Walk(path).result()
    except OSError as error:
        raise path_error(path, error) from error


def named(path: str | bytes | os.PathLike) -> tuple[str, list[str]]:
    """The path a name stands for, and what it matches if it is a pattern."""
    path = local_path(os.fsdecode(path))
    if os.path.lexists(path):
        return path, []
    path = path.strip("\ufeff\r\n")
    if not glob.has_magic(path) or os.path.lexists(path):
        return path, []
    matched = sorted(glob.glob(path, recursive=True))
    if not matched:
        raise DataError(f"the pattern {shown(path)} matched 0 files")
    return path, matched


def _from_list(paths: Iterable) -> tuple[list[tuple[str, str]], list[Skipped]]:
    found: dict[str, str] = {}
    skipped = []
    for path in paths:
        files, more = find_files(path)
        skipped += more
        for file_path, name in files:
            if name in found:
                raise DataError(f"{shown(found[name])} and {shown(file_path)} share the name {shown(name)}, so their "
                                "results would overwrite each other; give their common folder instead")
            found[name] = file_path
    if not found:
        raise DataError("no files given; expected a file, a folder or a list of files")
    return sorted(((p, n) for n, p in found.items()), key=lambda pair: pair[1]), skipped


class Walk:
    """One walk through a folder. Real folders come before linked ones, so that names do not run through links."""

    def __init__(self, top: str):
        self.top = top
        self.found: list[tuple[str, str]] = []
        self.skipped: list[Skipped] = []
        self.others: Counter[str] = Counter()
        self.pending = deque([top])
        self.seen: set[tuple[int, int]] = set()
        while self.pending:
            self._folder(self.pending.popleft())

    def result(self) -> tuple[list[tuple[str, str]], list[Skipped]]:
        if not self.found:
            raise DataError(f"no .h5 in {shown(self.top)} ({self._contents()})")
        return sorted(self.found, key=lambda pair: pair[1]), sorted(self.skipped, key=lambda item: item.name)

    def _contents(self) -> str:
        kinds = ", ".join(f"{ending} x{count}" for ending, count in self.others.most_common(6))
        files = f"{self.others.total()} other files: {kinds}" if self.others else "no other files"
        if ".tfrecord" in self.others:
            files += "; TFRecord shards are for `train` of the models whose task they were converted for: give the files"
        if _IMAGES & set(self.others):
            files += "; NIfTI and DICOM hold images, not k-space; convert raw ISMRMRD to fastMRI's HDF5 layout"
        return f"{files}; skipped {reasons(self.skipped)}" if self.skipped else files

    def _name(self, path: str) -> str:
        return os.path.relpath(path, self.top).replace(os.sep, "/")

    def _skip(self, path: str, reason: str) -> None:
        self.skipped.append(Skipped(self._name(path), reason))

    def _folder(self, folder: str) -> None:
        try:
            status = os.stat(folder)
            with os.scandir(folder) as entries:
                entries = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if folder == self.top:
                raise
            return self.skipped.append(skip(self._name(folder), folder, file_error(folder, error)))
        if (status.st_dev, status.st_ino) in self.seen:
            return self._skip(folder, "a link to a folder already visited, perhaps a loop")
        self.seen.add((status.st_dev, status.st_ino))
        for entry in entries:
            if not entry.name.startswith("."):
                self._entry(entry)

    def _entry(self, entry: os.DirEntry) -> None:
        ending = os.path.splitext(entry.name)[1].lower()
        try:
            mode = entry.stat().st_mode
        except OSError as error:
            if ending in (*EXTENSIONS, ""):  # others are no data; a bare name may mean a folder
                self.skipped.append(skip(self._name(entry.path), entry.path, file_error(entry.path, error)))
        else:
            self._sort_in(entry, ending, mode)

    def _sort_in(self, entry: os.DirEntry, ending: str, mode: int) -> None:
        if stat.S_ISDIR(mode) and ending in EXTENSIONS:
            self._skip(entry.path, "a folder named like an HDF5 file; rename it to read what is inside")
        elif stat.S_ISDIR(mode):
            (self.pending.append if entry.is_symlink() else self.pending.appendleft)(entry.path)
        elif ending not in EXTENSIONS:
            packed = ".tar" + ending  # ".tar.gz" says more than ".gz"
            self.others[packed if entry.name.lower().endswith(packed) else ending or "no ending"] += 1
        elif not stat.S_ISREG(mode):
            self._skip(entry.path, f"not a regular file ({stat.filemode(mode)})")
        else:
            self.found.append((entry.path, self._name(entry.path)))
