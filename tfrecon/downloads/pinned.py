"""Files whose content is known beforehand by its SHA-256: fetched once, verified at every use, kept in one cache."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import ResourceError, WeightsError, shown
from ..files import replace_when_complete, sha256_of
from .http import UnfinishedDownload, download
from .reach import silence

_log = logging.getLogger("tfrecon")
_lock = threading.Lock()  # the temporary names below differ between processes, not between threads


@dataclass(frozen=True)
class Url:
    """A file by its plain address."""

    url: str

    def __str__(self) -> str:
        return urlsplit(self.url)._replace(query="").geturl()  # a query may hold a token

    @property
    def page(self) -> str:
        """Where people find it."""
        return str(self)

    def silence(self) -> str | None:
        """Why its server cannot be reached; None if it can."""
        return silence(self.url)


@dataclass(frozen=True)
class Pinned:
    """Where a file is, and what must come.

    Attributes:
        source: a `Url`, `hub.HubFile` or `kaggle_client.ModelFile`.
        sha256: of the file, 64 lower-case hexadecimal digits.
        name: of the file in the cache.
        size: in bytes, if known; a longer download is stopped there.
        title: how errors call it; its address if empty.
    """

    source: Any
    sha256: str
    name: str
    size: int | None = None
    title: str = ""

    def __str__(self) -> str:
        return self.title or str(self.source)


def cache_folder() -> Path:
    """The folder named by TFRECON_CACHE, or tfrecon in XDG_CACHE_HOME or ~/.cache.

    Raises:
        ResourceError: there is no home folder and none was named.
    """
    named = os.environ.get("TFRECON_CACHE")
    if named:
        return Path(os.path.abspath(os.path.expanduser(named)))
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tfrecon"
    except RuntimeError:  # a user without an entry and without HOME
        raise ResourceError("There is no home folder to keep downloads in. Name a folder in TFRECON_CACHE.") from None


def cached_path(wanted: Pinned) -> Path:
    """Where a file is kept when it was fetched: under its own name, with its content's digest in front."""
    return cache_folder() / "weights" / f"{wanted.sha256[:16]}-{wanted.name}"


def pinned_file(wanted: Pinned) -> str:
    """Path of the file in the cache, fetched if it is not there or is no longer what it was.

    Raises:
        WeightsError: no way to the server (within a second) or another content came; the message names the other way.
        ResourceError: the cache cannot be written to.
    """
    path = cached_path(wanted)
    with _lock:
        found = sha256_of(path) if path.is_file() else None
        if found == wanted.sha256:
            return str(path)
        changed = f"{shown(path)} was changed (SHA-256 {found[:16]}..., expected {wanted.sha256[:16]}...)" if found else ""
        why = wanted.source.silence()
        if why:
            raise WeightsError(f"{wanted}: {changed or f'not in the cache ({shown(path.parent)})'}, and cannot be fetched "
                               f"({why}). Connect to the network, or {by_hand(wanted)}")
        if changed:
            _log.warning("note: %s; fetched again", changed)
        _fetch(wanted, path)
    return str(path)


def by_hand(wanted: Pinned) -> str:
    """The way without this program's network."""
    return f"download {wanted.source.page} elsewhere and give the file, or put it at {shown(cached_path(wanted))}."


def _fetch(wanted: Pinned, path: Path) -> None:
    try:
        with replace_when_complete(path, wanted.size or 0) as part:
            if isinstance(wanted.source, Url):
                download(wanted.source.url, part, wanted.size)
            else:
                with tempfile.TemporaryDirectory(prefix=".fetching-", dir=path.parent) as folder:
                    shutil.copyfile(wanted.source.fetch(Path(folder)), part)
            _check(wanted, part)
    except UnfinishedDownload as error:
        raise WeightsError(f"{wanted}: could not be fetched: {error}; nothing of it is used. Try again later, or "
                           f"{by_hand(wanted)}") from None
    except ResourceError as error:
        raise ResourceError(f"{error} TFRECON_CACHE names another folder for downloads.") from None


def _check(wanted: Pinned, part: Path) -> None:
    found = sha256_of(part)
    if found != wanted.sha256:
        size = part.stat().st_size
        expected = f" ({wanted.size} bytes)" if wanted.size else ""
        raise WeightsError(f"{wanted}: what came ({size} bytes) has the SHA-256 {found}, expected {wanted.sha256}{expected}. It "
                           "is not the file that was meant and nothing of it is kept: the address gives something else now, or "
                           "the expected hash is wrong.")
