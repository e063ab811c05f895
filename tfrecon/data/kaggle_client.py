"""Downloads a dataset of Kaggle by kagglehub, carefully: within time, without leaving its folder, in errors of our own."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import DataError, ResourceError, TfreconError
from ..hdf5 import shown

INPUT = "/kaggle/input"  # where Kaggle mounts what is attached to a notebook
_PATIENCE = 0.8  # seconds until no answer means no network
_TIMEOUTS = (5, 30)  # seconds to connect, and between two pieces of an answer
_CREDENTIALS = "KAGGLE_USERNAME and KAGGLE_KEY, KAGGLE_API_TOKEN or ~/.kaggle/kaggle.json"

_log = logging.getLogger("tfrecon")


@dataclass(frozen=True)
class Dataset:
    """A dataset by its names on Kaggle; `version` None is the newest."""

    owner: str
    name: str
    version: int | None

    def __str__(self) -> str:
        return f"kaggle://{self.handle}"

    @property
    def handle(self) -> str:
        """As kagglehub writes it."""
        return f"{self.owner}/{self.name}" + (f"/versions/{self.version}" if self.version else "")

    @property
    def page(self) -> str:
        """Where people find it."""
        return f"https://www.kaggle.com/datasets/{self.owner}/{self.name}"


def downloaded(dataset: Dataset) -> str:
    """The folder in kagglehub's cache, downloaded if the version wanted is not there as a whole."""
    kagglehub = _client()
    home = os.path.join(kagglehub.config.get_cache_folder(), "datasets", dataset.owner, dataset.name)
    complete = _complete(home)
    if dataset.version in complete:
        return complete[dataset.version]
    silence = _silence()
    if silence and (dataset.version or not complete):
        raise _offline(dataset, home, silence)
    if silence:
        version, why = max(complete), f", the newest in the cache ({silence})"
        folder = complete[version]
    else:
        folder, why = _download(kagglehub, dataset, home), ""
        version = int(found[1]) if (found := re.search(r"versions[/\\](\d+)$", folder)) else None
    if version and not dataset.version:
        _log.warning("note: %s is version %d%s; %s/versions/%d is the same data every time", dataset, version, why,
                     dataset, version)
    return folder


def _client() -> Any:
    """kagglehub. It logs to the stdout it finds when imported, which belongs to results."""
    with redirect_stdout(sys.stderr):
        import kagglehub
    return kagglehub


def _complete(home: str) -> dict[int, str]:
    """Folders by version. kagglehub writes the marker when all of it is unpacked; asking it would take the network."""
    stems = [marker.stem for marker in Path(home).glob("*.complete") if marker.stem.isdecimal()]
    folders = {int(stem): os.path.join(home, "versions", stem) for stem in stems}
    return {version: folder for version, folder in folders.items() if os.path.isdir(folder)}


def _silence() -> str | None:
    """Why Kaggle cannot be reached, within a second; None if it can. A black hole would keep the client for minutes."""
    from kagglesdk.kaggle_env import get_endpoint, get_env, is_in_kaggle_notebook
    from requests.utils import get_environ_proxies, select_proxy

    if is_in_kaggle_notebook():
        return None  # kagglehub does not download there but has the dataset attached, by another server
    url = get_endpoint(get_env())
    proxy = select_proxy(url, get_environ_proxies(url))
    parts = urlsplit(proxy if proxy and "//" in proxy else f"//{proxy}" if proxy else url)
    answer: list[str | None] = [f"no answer from {parts.hostname} within {_PATIENCE} s"]

    def connect() -> None:
        try:
            port = parts.port or (80 if parts.scheme == "http" else 443)
            socket.create_connection((parts.hostname, port), timeout=_PATIENCE).close()
            answer[0] = None
        except (OSError, ValueError) as error:  # an impossible port of a proxy
            answer[0] = f"{parts.hostname}: {getattr(error, 'strerror', None) or type(error).__name__}"

    # In a thread, since looking up the name has no time limit of its own.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return answer[0]


def _download(kagglehub: Any, dataset: Dataset, home: str) -> str:
    try:
        with _careful():
            return kagglehub.dataset_download(dataset.handle)
    except Exception as error:  # the client also raises bare Exceptions
        # Not `from error`: the client's text can hold a signed address or a header with the token.
        raise _explained(dataset, home, error) from None


@contextmanager
def _careful() -> Iterator[None]:
    """While kagglehub works: time limits for its requests, no archive written outside its folder, stdout left alone.

    kagglesdk sends without any time limit, and kagglehub before 1.0.2 unpacks tar archives just as they are.
    """
    import requests

    send, unpack = requests.Session.send, vars(tarfile.TarFile)["extraction_filter"]

    def send_in_time(session: Any, request: Any, **options: Any) -> Any:
        return send(session, request, **{**options, "timeout": options.get("timeout") or _TIMEOUTS})

    requests.Session.send, tarfile.TarFile.extraction_filter = send_in_time, staticmethod(tarfile.data_filter)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        requests.Session.send, tarfile.TarFile.extraction_filter = send, unpack


def _offline(dataset: Dataset, home: str, silence: str) -> DataError:
    return DataError(f"{dataset} is not in the cache ({_cached(home)}) and there is no way to Kaggle ({silence}); "
                     f"connect to the network, or {_by_hand(dataset)}")


def _cached(home: str) -> str:
    """What the cache holds of a dataset, in words."""
    versions = ", ".join(str(version) for version in sorted(_complete(home)))
    return f"{shown(home)} holds version {versions}" if versions else f"nothing complete in {shown(home)}"


def _by_hand(dataset: Dataset) -> str:
    return (f"download it by hand from {dataset.page} and give the folder; in a Kaggle notebook attach it with Add Input "
            f"and give {INPUT}/{dataset.name}")


def _explained(dataset: Dataset, home: str, error: Exception) -> TfreconError:
    """Our error for what the client raised, in our words only."""
    import requests
    from kagglehub.exceptions import DataCorruptionError

    kind = type(error).__name__
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return _refused(dataset, error.response.status_code)
    if isinstance(error, requests.RequestException):
        return DataError(f"{dataset}: the connection to Kaggle broke off ({kind}), nothing of this download is used; "
                         f"{_cached(home)}; run it again, or {_by_hand(dataset)}")
    if isinstance(error, tarfile.FilterError):
        return DataError(f"{dataset}: its archive would write outside of its folder ({kind}) and is refused; do not use "
                         f"this dataset, and delete {shown(home)}")
    broken = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, DataCorruptionError)
    if isinstance(error, broken) or str(error) == "Unsupported archive type.":  # kagglehub's, a bare ValueError
        return DataError(f"{dataset}: what came is damaged or no archive ({kind}); delete {shown(home)}/*.archive and run "
                         "it again")
    if isinstance(error, OSError):
        return ResourceError(f"{dataset} cannot be stored in {shown(home)} ({error.strerror or kind}); free some space or "
                             "name another folder in KAGGLEHUB_CACHE")
    return DataError(f"{dataset}: kagglehub stopped ({kind}); check {_CREDENTIALS}, and see what "
                     f"kagglehub.dataset_download({dataset.handle!r}) says")


def _refused(dataset: Dataset, status: int) -> DataError:
    if status in (401, 403):
        return DataError(f"{dataset}: Kaggle refuses it (HTTP {status}); it is private, wants its terms accepted or does "
                         f"not exist; accept them signed in at {dataset.page} and set {_CREDENTIALS}")
    if status == 404:
        return DataError(f"{dataset}: not found on Kaggle (HTTP 404); check the names and the version at {dataset.page}; a "
                         f"private dataset also wants {_CREDENTIALS}")
    return DataError(f"{dataset}: Kaggle cannot give it now (HTTP {status}); try again later, or {_by_hand(dataset)}")
