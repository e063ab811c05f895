"""Datasets of Kaggle as data paths: `kaggle://owner/dataset` stands for a folder on this machine.

What is attached to a Kaggle notebook is taken where it lies. Elsewhere kagglehub downloads into its cache
(KAGGLEHUB_CACHE) what is not there yet. Behind the name may stand a version, `kaggle://owner/dataset/versions/3`, and a
file or folder inside, `kaggle://owner/dataset/singlecoil_val`. Only a named version is the same data every time, and
from the cache it needs no network; without one it is the newest, or the newest in the cache where there is no network,
and a note says which. A process stays with the version it took first.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from pathlib import Path

from ..downloads.kaggle_client import INPUT, Dataset, downloaded
from ..errors import DataError, UsageError, shown
from ..hdf5 import file_error

_SLUG = "([A-Za-z0-9][A-Za-z0-9_-]*)"
# pathlib makes one slash of two.
_ADDRESS = re.compile(rf"kaggle:/+{_SLUG}/{_SLUG}(?:/versions/([1-9][0-9]{{0,8}}))?((?:/(?!\.\.?(?:/|$))[^/]+)*)/?")

_log = logging.getLogger("tfrecon")
_lock = threading.Lock()
_taken: dict[Dataset, str] = {}  # train and validation of one run must not come from two versions


def local_path(path: str) -> str:
    """The file or folder on this machine that a path stands for; one that is not `kaggle://` is given back as it is.

    Raises:
        UsageError: not of the form `kaggle://owner/dataset[/versions/3][/folder inside]`.
        DataError: there is no such dataset, no permission, or no network and nothing in the cache (within a second).
        ResourceError: no room for it on the disk.
    """
    if not path.startswith("kaggle:/"):
        return path
    dataset, parts = _parse(path)
    with _lock:  # kagglehub does not expect a second download of the same
        folder = _taken.get(dataset)
        if folder is None or not os.path.isdir(folder):
            folder = _taken[dataset] = _attached(dataset) or downloaded(dataset)
    return _inside(folder, parts, path)


def versions_taken() -> dict[str, str]:
    """Dataset -> the version this process reads, of those taken from kagglehub's cache ("unknown" for attached ones)."""
    with _lock:
        taken = {str(dataset): Path(folder).as_posix() for dataset, folder in _taken.items()}
    found = {name: re.search(r"/versions/(\d+)(?:/|$)", folder) for name, folder in taken.items()}
    return {name: match[1] if match else "unknown" for name, match in found.items()}


def path_error(path: str, error: OSError) -> DataError:
    """The error for a path that cannot be read; under /kaggle/input it says what is attached there."""
    plain = file_error(path, error)
    where = os.path.abspath(path)
    if isinstance(error, FileNotFoundError) and f"{where}/".startswith(f"{INPUT}/") and os.path.isdir(INPUT):
        found = [*_names(INPUT, "datasets/*/*"), *(name for name in _names(INPUT) if name != "datasets")]
        return DataError(f"{plain}; attached in {INPUT}: {_listed(found)}; attach what is missing with Add Input")
    return plain


def _parse(path: str) -> tuple[Dataset, list[str]]:
    """The dataset and the way inside it."""
    match = _ADDRESS.fullmatch(path)
    if match is None or match[4].split("/")[1:2] == ["versions"]:
        raise UsageError(
            f"expected kaggle://owner/dataset, with /versions/3 behind it to fix the version and a folder of the dataset "
            f"last, received {shown(path)!r}; owner and dataset are the end of its address, "
            "https://www.kaggle.com/datasets/owner/dataset"
        )
    return Dataset(match[1], match[2], int(match[3]) if match[3] else None), match[4].split("/")[1:]


def _attached(dataset: Dataset) -> str | None:
    """The folder of a dataset that is attached to the Kaggle notebook."""
    places = (os.path.join(INPUT, "datasets", dataset.owner, dataset.name), os.path.join(INPUT, dataset.name))
    folder = next(filter(os.path.isdir, places), None)
    if folder and dataset.version:
        _log.warning("note: %s is read as attached in %s, which does not tell its version", dataset, folder)
    return folder


def _inside(folder: str, parts: list[str], path: str) -> str:
    for part in parts:
        below = os.path.join(folder, part)
        if not os.path.exists(below):
            raise DataError(f"{shown(path)}: no {shown(part)} in {shown(folder)}, which holds {_listed(_names(folder))}; "
                            "name what is there, or leave the folder away to take all of it")
        folder = below
    return folder


def _names(folder: str, pattern: str = "*") -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).glob(pattern) if not p.name.startswith("."))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return (", ".join(shown(name) for name in names[:12]) or "nothing") + more
