"""Records of weights: JSON files that say what a set of weights is, where it is, and by what SHA-256 it is known.

They stand in the folder `weights` of the repository, those of our own with their file beside them, and are installed with the
package as `tfrecon/weights/shipped`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import WeightsError, shown
from ..files import sha256_of

VERSION = 1
_HERE = Path(__file__).resolve().parent
_INSTALLED, _CLONE = _HERE / "shipped", _HERE.parents[1] / "weights"
_KINDS = {"str": str, "int": int, "Mapping[str, Any]": dict}


@dataclass(frozen=True)
class WeightRecord:
    """One set of weights.

    Attributes:
        name: what `weights=` is given; small letters, digits, - and _.
        model: the zoo's name of the network it is for.
        summary: what it is, in a sentence.
        file: name of the file; of a TensorFlow checkpoint its prefix. It is shipped if it lies beside the record.
        sha256: of the file; of a checkpoint's files one after the other, as `tfrecon weights info` prints it.
        bytes: of them together.
        value_range: of the images the network takes and gives.
        licence: of the weights.
        source: repository at its commit, or our own training.
        url: where to fetch it: https://..., kaggle://... or hf://...@revision, without a hash; "" where nobody may give it on.
        by_hand: how to get it where there is no url.
        options: the network is built with.
        scaling: of `create_paired_dataset`; "" for the model's own.
        facts: more of what a card holds: acceleration, window, scores with baseline_scores, data, training.
    """

    name: str
    model: str
    summary: str
    file: str
    sha256: str
    bytes: int
    value_range: str
    licence: str
    source: str
    url: str = ""
    by_hand: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    scaling: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def card(self) -> dict[str, Any]:
        """What a card inside a weight file would say."""
        return {**self.facts, "model": self.model, "options": dict(self.options), "record": self.name,
                "weights_licence": self.licence, **({"scaling": self.scaling} if self.scaling else {})}

    def describe(self) -> dict[str, Any]:
        """Plain values for printing."""
        return asdict(self)

    def shipped(self) -> Path | None:
        """The file that was installed with the package; None if there is none.

        Raises:
            WeightsError: it is not what the record says.
        """
        path = folder() / self.file
        if not path.is_file():
            return None
        found = sha256_of(path)
        if found != self.sha256:
            raise WeightsError(f"{shown(path)}: has the SHA-256 {found}, its record {self.name} says {self.sha256}. The file was "
                               "changed; install tfrecon again.")
        return path


def folder() -> Path:
    """Where the records are: inside the installed package, in a clone beside it."""
    return _INSTALLED if _INSTALLED.is_dir() else _CLONE


def weight_records() -> dict[str, WeightRecord]:
    """All records by name.

    Raises:
        WeightsError: a record is damaged.
    """
    return _read_all(folder())


def record_of_content(sha256: str) -> WeightRecord | None:
    """The record of a file with that SHA-256, wherever it lies."""
    return next((record for record in weight_records().values() if record.sha256 == sha256), None)


@cache
def _read_all(place: Path) -> dict[str, WeightRecord]:
    records = [read_record(path) for path in sorted(place.glob("*.json"))]
    return {record.name: record for record in records}


def read_record(path: Path) -> WeightRecord:
    """One record from its file.

    Raises:
        WeightsError: it is no record, of another version, or a field is missing, unknown or of another kind.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{shown(path)}: is no record of weights ({error}).") from error
    if not isinstance(found, dict) or found.pop("version", None) != VERSION:
        raise WeightsError(f'{shown(path)}: expected a record of weights with "version": {VERSION}; a newer tfrecon may read it.')
    known = {f.name: f for f in fields(WeightRecord)}
    wrong = [name for name in found if name not in known]
    wrong += [name for name, f in known.items() if name not in found and f.default is f.default_factory is MISSING]
    wrong += [name for name, f in known.items() if name in found and type(found[name]) is not _KINDS[str(f.type)]]
    if not wrong:
        record = WeightRecord(**found)
        wrong = [name for name, right in _rules(record, path).items() if not right]
    if wrong:
        raise WeightsError(f"{shown(path)}: missing, unknown or wrong in this record: {', '.join(wrong)}.")
    return record


def _rules(record: WeightRecord, path: Path) -> dict[str, bool]:
    return {
        "name": bool(re.fullmatch(r"[a-z0-9][a-z0-9_-]*", record.name)) and path.stem == record.name,
        "file": bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", record.file)),
        "sha256": bool(re.fullmatch(r"[0-9a-f]{64}", record.sha256)),
        "bytes": record.bytes > 0,
        "url": not record.url or bool(re.match(r"(https|kaggle|hf)://", record.url)) and "#" not in record.url,
    }
