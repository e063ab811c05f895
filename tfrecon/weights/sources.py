"""Where weights come from: a path, a record's name, or a pinned address; each becomes a file on this machine.

An address carries the SHA-256 of what must come, and names one version for good:
`https://host/file#sha256=HEX`, `kaggle://owner/model/framework/variation/3/file#sha256=HEX`,
`hf://owner/repository/file@COMMIT#sha256=HEX`. Without them it is refused: who owns the address could change the weights.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ..downloads import Pinned, cached_path, pinned_file
from ..downloads.hub import HubFile
from ..downloads.kaggle_client import ModelFile
from ..downloads.pinned import Url
from ..errors import UsageError, WeightsError, did_you_mean, shown
from ..files import sha256_of
from .records import WeightRecord, weight_records

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")  # two letters at least: C:/ is a disk; pathlib makes one slash of two
_SLUG = "[A-Za-z0-9][A-Za-z0-9_.-]*"
_WAY = r"((?:(?!\.\.?(?:/|$))[^/@#?%\\]+/)*(?!\.\.?$)[^/@#?%\\]+)"  # a file, perhaps in folders, never outside of them
_KAGGLE = re.compile(rf"({_SLUG})/({_SLUG})/({_SLUG})/({_SLUG})/([1-9][0-9]{{0,8}})/{_WAY}")
_HUB = re.compile(rf"({_SLUG}/{_SLUG})/{_WAY}@([0-9a-f]{{40}})")
_FORMS = ("https://host/file#sha256=HEX, kaggle://owner/model/framework/variation/3/file#sha256=HEX or "
          "hf://owner/repository/file@COMMIT#sha256=HEX, with 64 hexadecimal digits of SHA-256 and 40 of the commit")


def local_file(source: Any) -> str:
    """The path on this machine of weights; a path is given back as it is, whether something is there or not.

    Args:
        source: a path, the name of a record, or a pinned address. A file of a record's name counts more.

    Raises:
        UsageError: an address that is not of the forms above.
        WeightsError: the weights cannot be had; the message says what to do instead.
        ResourceError: the cache cannot be written to.
    """
    if not isinstance(source, (str, bytes, os.PathLike)) or not os.fspath(source):
        raise UsageError(f"Weights are a path, the name of a record or an address, received {source!r}.")
    text = os.fsdecode(source)
    if os.path.isfile(text) or os.path.isfile(f"{text}.index"):
        return text
    if _SCHEME.match(text):
        return pinned_file(parse_address(text))
    record = weight_records().get(text)
    return text if record is None else record_file(record)


def record_named(source: Any) -> WeightRecord | None:
    """The record a source names; None for paths and addresses."""
    text = os.fsdecode(source)
    return None if os.path.isfile(text) else weight_records().get(text)


def record_file(record: WeightRecord) -> str:
    """The file of a record: shipped, in the cache, or fetched. Raises as `local_file`."""
    shipped = record.shipped()
    if shipped:
        return str(shipped)
    if not record.url:
        raise WeightsError(f"{record.name}: is not given on by tfrecon (licence: {record.licence}). {record.by_hand}")
    return pinned_file(pinned(record))


def whereabouts(record: WeightRecord) -> str:
    """shipped, cached, download or by hand."""
    if record.shipped():
        return "shipped"
    if not record.url:
        return "by hand"
    path = cached_path(pinned(record))
    return "cached" if path.is_file() and sha256_of(path) == record.sha256 else "download"


def pinned(record: WeightRecord) -> Pinned:
    """The address of a record with what must come from it."""
    return Pinned(_place(record.url), record.sha256, record.file, record.bytes, record.name)


def parse_address(text: str) -> Pinned:
    """What an address stands for; UsageError if it is not of the forms above or not pinned."""
    address, _, fragment = text.partition("#")
    place = _place(address)
    digits = re.fullmatch(r"sha256=([0-9A-Fa-f]{64})", fragment)
    if digits is None:
        raise UsageError(f"{shown(_without_query(address))}: an address of weights must say which content is meant: add "
                         "#sha256= and the 64 digits its publisher gives, or that `tfrecon weights info FILE` prints of a copy "
                         "you trust.")
    return Pinned(place, digits[1].lower(), _file_name(address))


def hint(source: Any) -> str:
    """What to say besides "does not exist": a record of nearly that name, where a name may be meant."""
    text = os.fsdecode(source)
    near = "" if set(text) & set("/\\.") else did_you_mean(text, weight_records())
    return f"{near} (a record of weights; `tfrecon weights list` shows all)" if near else ""


def _place(address: str) -> Url | HubFile | ModelFile:
    match = _SCHEME.match(address)
    scheme, rest = match[1].lower(), address[match.end():]
    if scheme == "kaggle" and (found := _KAGGLE.fullmatch(rest)):
        owner, name, framework, variation, version, file = found.groups()
        return ModelFile(owner, name, framework, variation, int(version), file)
    if scheme == "hf" and (found := _HUB.fullmatch(rest)):
        return HubFile(*found.groups())
    if scheme in ("http", "https") and _is_plain(f"{scheme}://{rest}"):
        return Url(f"{scheme}://{rest}")
    raise UsageError(f"{shown(_without_query(address))}: is no address weights are fetched from; expected {_FORMS}.")


def _is_plain(url: str) -> bool:
    """A host and a file, and no name and password, which messages and shell histories would keep."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname and parts.path.strip("/") and parts.port != 0) and "@" not in parts.netloc
    except ValueError:  # an impossible port
        return False


def _without_query(address: str) -> str:
    plain = address.partition("?")[0]
    return re.sub(r"(?<=/)[^/@]*@(?=[^/]*/)", "", plain, count=1) if plain.lower().startswith("http") else plain


def _file_name(address: str) -> str:
    """A name that is safe on every disk, with the ending that tells people what it is."""
    last = Path(unquote(urlsplit(address).path.partition("@")[0])).name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last)[-80:].lstrip(".-") or "weights"
