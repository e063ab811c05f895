"""Folders that `train` and `reconstruct` left, read for a report: their records, checked, for anyone may have sent them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import DataError, UsageError, shown
from ...files import read_json, without_version

_BEST, _BASELINE = "best_val_", "baseline_"
_TAKEN = {"zero-filled", "blurred", "bicubic", "uniform", "target"}  # names of other rows and pictures


@dataclass(frozen=True)
class Run:
    """A folder of a finished command.

    Attributes:
        label: what it is called in the report, unique among its runs.
        record: run.json. model: name in the zoo.
    """

    label: str
    path: Path
    record: dict[str, Any]
    model: str

    @property
    def weights(self) -> str:
        """SHA-256 of the weights that were made or used; "" where the record does not say it."""
        return text_of(self.record.get("weights_sha256", ""))

    @property
    def command(self) -> list[str]:
        words = self.record.get("command")
        return [text_of(word) for word in words] if isinstance(words, list) else []

    @property
    def places(self) -> list[str]:
        """Folders that messages may name and a report should not."""
        return [str(self.path), *(word for word in self.command if word.startswith("/"))]


@dataclass(frozen=True)
class Training(Run):
    """A folder of `tfrecon train`.

    Attributes:
        metric: by which the best epoch was chosen. best: that epoch, from 1.
        baseline: what doing nothing scores on the validation data, NaN where it is not known.
        history: a dictionary of numbers for every epoch; what is no finite number is NaN or infinity.
        settings: config.json, or settings.json of older runs, without what is None.
    """

    metric: str = "ssim"
    best: int = 1
    baseline: float = math.nan
    history: list[dict[str, float]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def curves(self) -> dict[str, list[float]]:
        """Quantity -> its values over the epochs."""
        return {name: [epoch[name] for epoch in self.history] for name in self.history[0] if name != "epoch"}

    @property
    def score(self) -> float:
        """The metric of the best epoch."""
        return self.history[self.best - 1].get(f"val_{self.metric}", math.nan)

    def side(self, name: str) -> dict[str, str]:
        """Volume -> pseudonym of its patient, of `train` or `validation`."""
        found = mapping_of(mapping_of(self.record.get("data")).get(name))
        return {str(volume): text_of(patient) for volume, patient in found.items()}


@dataclass(frozen=True)
class Reconstruction(Run):
    """A folder of `tfrecon reconstruct`."""

    @property
    def failed(self) -> dict[str, str]:
        """Volume -> why it has no result."""
        return {str(name): text_of(reason) for name, reason in mapping_of(self.record.get("failed")).items()}


def read_runs(paths: Sequence[str]) -> list[Run]:
    """The runs in these folders, in this order.

    Raises:
        UsageError: the same folder twice. DataError: no folder, no complete record, or one that cannot be a run's.
    """
    folders = [Path(path) for path in paths]
    places = [folder.resolve() for folder in folders]
    twice = next((folder for n, folder in enumerate(folders) if places[n] in places[:n]), None)
    if twice is not None:
        raise UsageError(f"{shown(twice)} is given twice. Name every run once.")
    return [_read(folder, label) for folder, label in zip(folders, _labels(places))]


def _labels(places: list[Path]) -> list[str]:
    """The folders' names, with as much of their places as tells them apart."""
    for length in range(1, max(len(place.parts) for place in places)):
        labels = ["/".join(place.parts[-length:]) for place in places]
        if len(set(labels)) == len(labels) and not _TAKEN & set(labels):
            return [shown(label) for label in labels]
    return [f"run {n}" for n, _ in enumerate(places, start=1)]


def _read(folder: Path, label: str) -> Run:
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise DataError(f"{shown(folder)} {what}; expected a folder of `tfrecon train` or `tfrecon reconstruct`.")
    record = _record(folder)
    if "card" in record and "data" in record:
        return _training(folder, label, record)
    if "reconstructed" in record:
        return Reconstruction(label, folder, record, _model(folder, record.get("model", _older_model(folder))))
    words = record.get("command")
    command = f"`tfrecon {text_of(words[1])}`" if isinstance(words, list) and len(words) > 1 else "another program"
    raise DataError(f"{shown(folder / 'run.json')} is a record of {command}; expected one of `tfrecon train` or `tfrecon "
                    "reconstruct`.")


def _record(folder: Path) -> dict[str, Any]:
    path = folder / "run.json"
    if path.exists():
        return without_version(read_json(path, dict), shown(path), DataError)
    if (folder / "settings.json").exists():
        raise DataError(f"{shown(folder)} holds a run that has not ended: there is no run.json. Let it end, or go on with "
                        "`tfrecon train --resume`; with --epochs N for the N epochs that are done it ends at once.")
    inside = sorted(shown(path.parent.name) for path in folder.glob("*/run.json"))[:5]
    more = f" Its folders {', '.join(inside)} have one." if inside else ""
    raise DataError(f"{shown(folder)} has no run.json, so it is no folder of `tfrecon train` or `tfrecon reconstruct`.{more}")


def _training(folder: Path, label: str, record: dict[str, Any]) -> Training:
    where = shown(folder / "run.json")
    model = _model(folder, mapping_of(record["card"]).get("model"))
    metric = next((key.removeprefix(_BEST) for key in record if key.startswith(_BEST)), None)
    if metric is None:
        raise DataError(f"{shown(folder)}: no epoch of this run was completed, so there is nothing to report. Go on with "
                        "`tfrecon train --resume`.")
    history, best = _history(folder / "history.json"), record.get("best_epoch")
    if isinstance(best, bool) or not isinstance(best, int) or not 1 <= best <= len(history):
        raise DataError(f"{where} is damaged: best_epoch is {text_of(best)} and history.json has {len(history)} epochs.")
    if f"val_{metric}" not in history[0]:
        raise DataError(f"{where} and history.json do not belong together: there is no val_{shown(metric)} in the history.")
    return Training(label, folder, record, model, metric, best, _number(record.get(_BASELINE + metric)), history,
                    _settings(folder))


def _model(folder: Path, name: Any) -> str:
    """The name, if the zoo knows it."""
    from ...zoo import list_models

    if name not in list_models():
        raise DataError(f"{shown(folder / 'run.json')} names a model this tfrecon does not know ({shown(text_of(name))}).")
    return name


def _older_model(folder: Path) -> str | None:
    """Records of reconstructions did not always name the model; the results do."""
    from ..judging import first_facts

    return (first_facts(folder) or {}).get("model")


def _history(path: Path) -> list[dict[str, float]]:
    epochs = read_json(path, list) if path.exists() else []
    if not epochs:
        raise DataError(f"{shown(path)} holds no epoch; bring it back, or repeat the run.")
    if not all(isinstance(epoch, dict) for epoch in epochs):
        raise DataError(f"{shown(path)} is damaged: expected an object for every epoch; bring it back, or repeat the run.")
    names = dict.fromkeys(name for epoch in epochs for name in epoch)
    return [{name: _number(epoch.get(name)) for name in names} for epoch in epochs]


def _settings(folder: Path) -> dict[str, Any]:
    path = next((folder / name for name in ("config.json", "settings.json") if (folder / name).exists()), None)
    found = {} if path is None else read_json(path, dict)
    return {name: value for name, value in found.items() if value not in (None, False, [], {})}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def mapping_of(value: Any) -> dict[str, Any]:
    """The value, where it is a mapping; else an empty one."""
    return value if isinstance(value, dict) else {}


def text_of(value: Any) -> str:
    """A value as short text."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)
