"""Datasets and model files of Kaggle by kagglehub, carefully: in time, inside their folder, with errors of our own."""

from __future__ import annotations

import logging
import os
import re
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError, ResourceError, TfreconError, WeightsError, shown
from .reach import silence

INPUT = "/kaggle/input"  # where Kaggle mounts what is attached to a notebook
_TIMEOUTS = (5, 30)  # seconds to connect, and between two pieces of an answer
_CREDENTIALS = "KAGGLE_USERNAME and KAGGLE_KEY, KAGGLE_API_TOKEN or ~/.kaggle/kaggle.json"

_log = logging.getLogger("tfrecon")


@dataclass(frozen=True)
class Dataset:
    """A dataset by its names on Kaggle; `version` None is the newest."""

    owner: str
    name: str
    version: int | None
    error = DataError

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

    @property
    def by_hand(self) -> str:
        """The way without this program's network."""
        return (f"download it by hand from {self.page} and give the folder; in a Kaggle notebook attach it with Add Input "
                f"and give {INPUT}/{self.name}")


@dataclass(frozen=True)
class ModelFile:
    """One file in a version of a variation of a model on Kaggle."""

    owner: str
    name: str
    framework: str
    variation: str
    version: int
    file: str
    error = WeightsError

    def __str__(self) -> str:
        return f"kaggle://{self.handle}/{self.file}"

    @property
    def handle(self) -> str:
        """As kagglehub writes it, without the file."""
        return f"{self.owner}/{self.name}/{self.framework}/{self.variation}/{self.version}"

    @property
    def page(self) -> str:
        """Where people find it."""
        return f"https://www.kaggle.com/models/{self.handle}"

    @property
    def by_hand(self) -> str:
        """The way without this program's network."""
        return f"download {self.file} by hand from {self.page} and give the file"

    def attached(self) -> str | None:
        """The file where the model is attached to the Kaggle notebook."""
        place = os.path.join(self.framework.lower(), self.variation, str(self.version), self.file)
        places = (os.path.join(INPUT, "models", self.owner, self.name, place), os.path.join(INPUT, self.name, place))
        return next(filter(os.path.isfile, places), None)

    def silence(self) -> str | None:
        """Why it cannot be fetched now; None if it can."""
        return None if self.attached() else _silence()

    def fetch(self, folder: Path) -> Path:
        """The attached file, or a download into the folder; kagglehub's own cache is left out of it."""
        attached = self.attached()
        if attached:
            return Path(attached)
        kagglehub = _client()
        try:
            with _careful():
                return Path(kagglehub.model_download(self.handle, path=self.file, output_dir=str(folder)))
        except Exception as error:  # as below
            raise _explained(self, error, "nothing of it is kept", "", "the folder for downloads") from None


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
    """Why Kaggle cannot be reached, within a second; None if it can."""
    from kagglesdk.kaggle_env import get_endpoint, get_env, is_in_kaggle_notebook

    # kagglehub does not download there but has what is wanted attached, by another server.
    return None if is_in_kaggle_notebook() else silence(get_endpoint(get_env()))


def _download(kagglehub: Any, dataset: Dataset, home: str) -> str:
    try:
        with _careful():
            return kagglehub.dataset_download(dataset.handle)
    except Exception as error:  # the client also raises bare Exceptions
        # Not `from error`: the client's text can hold a signed address or a header with the token.
        raise _explained(dataset, error, _cached(home), f"delete {shown(home)}/*.archive and ", f"{shown(home)}") from None


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
                     f"connect to the network, or {dataset.by_hand}")


def _cached(home: str) -> str:
    """What the cache holds of a dataset, in words."""
    versions = ", ".join(str(version) for version in sorted(_complete(home)))
    return f"{shown(home)} holds version {versions}" if versions else f"nothing complete in {shown(home)}"


def _explained(wanted: Dataset | ModelFile, error: Exception, kept: str, delete: str, place: str) -> TfreconError:
    """Our error for what the client raised, in our words only.

    Args:
        kept: what of it there is on this machine. delete: what to delete first. place: where it was to be stored.
    """
    import requests
    from kagglehub.exceptions import DataCorruptionError

    kind = type(error).__name__
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return _refused(wanted, error.response.status_code)
    if isinstance(error, requests.RequestException):
        return wanted.error(f"{wanted}: the connection to Kaggle broke off ({kind}), nothing of this download is used; "
                            f"{kept}; run it again, or {wanted.by_hand}")
    if isinstance(error, tarfile.FilterError):
        return wanted.error(f"{wanted}: its archive would write outside of its folder ({kind}) and is refused; do not use this "
                            f"dataset, and delete {place}")
    broken = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, DataCorruptionError)
    if isinstance(error, broken) or str(error) == "Unsupported archive type.":  # kagglehub's, a bare ValueError
        return wanted.error(f"{wanted}: what came is damaged or no archive ({kind}); {delete}run it again")
    if isinstance(error, OSError):
        return ResourceError(f"{wanted} cannot be stored in {place} ({error.strerror or kind}); free some space or "
                             f"name another folder in {'KAGGLEHUB_CACHE' if delete else 'TFRECON_CACHE'}")
    call = "dataset_download" if delete else "model_download"
    return wanted.error(f"{wanted}: kagglehub stopped ({kind}); check {_CREDENTIALS}, and see what "
                        f"kagglehub.{call}({wanted.handle!r}) says")


def _refused(wanted: Dataset | ModelFile, status: int) -> TfreconError:
    if status in (401, 403):
        return wanted.error(f"{wanted}: Kaggle refuses it (HTTP {status}); it is private, wants its terms accepted or does "
                            f"not exist; accept them signed in at {wanted.page} and set {_CREDENTIALS}")
    if status == 404:
        return wanted.error(f"{wanted}: not found on Kaggle (HTTP 404); check the names and the version at {wanted.page}; "
                            f"what is private also wants {_CREDENTIALS}")
    return wanted.error(f"{wanted}: Kaggle cannot give it now (HTTP {status}); try again later, or {wanted.by_hand}")
