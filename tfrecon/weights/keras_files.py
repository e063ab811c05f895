"""Keras 3 weight files: `.weights.h5` and the one inside a `.keras` archive, checked before Keras reads them.

Only numbers are read: a `.keras` archive's own description of the model is never followed.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import WeightsError
from ..files import replace_when_complete
from ..hdf5 import check_tree, open_hdf5, read_attributes
from .report import LoadReport, check_array, is_seed

CARD_ATTRIBUTE = "tfrecon_card"
_MEMBER = "model.weights.h5"
_LARGEST_MEMBER = 4 << 30


def save_weights(model: Any, path: Any, card: dict[str, Any] | None = None) -> Path:
    """Write the model's weights as a Keras 3 `.weights.h5` that appears only when complete.

    Args:
        model: a built Keras model.
        path: file name ending in `.weights.h5`; an existing file is replaced.
        card: facts needed to use the weights (model name, builder options, scaling, acceleration); kept as JSON
            inside the file, so they cannot be parted from it.
    """
    path = Path(path)
    if not path.name.endswith(".weights.h5"):
        raise WeightsError(f"A weight file must end in .weights.h5, received {path.name}.")
    size = sum(v.numpy().nbytes for v in model.weights)
    with replace_when_complete(path, size, suffix=".part.weights.h5") as part:  # Keras insists on its ending
        model.save_weights(str(part))
        if card is not None:
            with h5py.File(part, "r+") as file:
                file.attrs[CARD_ATTRIBUTE] = json.dumps(card)
    return path


def read_card(path: Any) -> dict[str, Any]:
    """The card `save_weights` put into the file; empty where there is none."""
    with _weights_member(Path(path)) as member, open_hdf5(member) as file:
        text = read_attributes(file).get(CARD_ATTRIBUTE)
    try:
        card = json.loads(text) if isinstance(text, str) else {}
    except json.JSONDecodeError as error:
        raise WeightsError(f"{path}: its card is not valid JSON ({error}); the file is damaged.") from error
    return card if isinstance(card, dict) else {}


def load_keras_file(model: Any, path: Any) -> LoadReport:
    """Load a `.weights.h5` or `.keras` file strictly: every array, right shapes, finite numbers, or no change.

    Raises:
        WeightsError, DataError: see above; or the file is broken or hostile.
    """
    with _weights_member(Path(path)) as member:
        _check_file(member, model)
        before = [np.array(v) for v in model.weights]
        try:
            model.load_weights(str(member))
            for variable in model.weights:
                if not is_seed(variable):
                    check_array(variable, str(path), np.array(variable))
        except Exception as error:
            # Keras assigns while it reads: a failure half way has already changed most arrays.
            for variable, array in zip(model.weights, before):
                variable.assign(array)
            if isinstance(error, WeightsError):
                raise
            raise WeightsError(
                f"{path} does not fit {model.name}: {error}. Build the model with the options it was trained with."
            ) from error
    count = len([v for v in model.weights if not is_seed(v)])
    return LoadReport(count, count, sha256_of(path), tuple((v.path, v.path, tuple(v.shape)) for v in model.weights))


def sha256_of(path: Any) -> str:
    """SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        for block in iter(lambda: handle.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _check_file(path: Path, model: Any) -> None:
    with open_hdf5(path) as file:
        check_tree(file)
        if "kspace" in file or "reconstruction" in file:
            raise WeightsError(f"{path} is a volume of images, not weights (keys {sorted(file)[:5]}).")
        stored = _count_arrays(file)
    expected = _count_saved(model)
    if stored != expected:
        # Keras takes what it needs and leaves the rest without a word.
        raise WeightsError(
            f"{path} holds {stored} arrays, {model.name} saves {expected}. Build the model with the options it was trained "
            "with."
        )


def _count_saved(model: Any) -> int:
    """Arrays a file of this model holds; not len(model.weights), as wrapped layers are saved twice."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / _MEMBER
        model.save_weights(str(path))
        with h5py.File(path) as file:
            return _count_arrays(file)


def _count_arrays(file: h5py.File) -> int:
    """Arrays of layers; an optimizer's state and metrics may lie beside them."""
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    beside = ("optimizer", "metrics")
    return sum("vars" in name.split("/") and not any(b in name.split("/")[0] for b in beside) for name in names)


@contextmanager
def _weights_member(path: Path) -> Iterator[Path]:
    """The path itself, or for a `.keras` archive a temporary copy of the weights inside, removed afterwards."""
    if not (path.is_file() and zipfile.is_zipfile(path)):
        yield path
        return
    with _zip_errors(path), tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
        if _MEMBER not in archive.namelist():
            raise WeightsError(f"{path} is a zip archive without {_MEMBER}; expected a .keras file of Keras 3.")
        size = archive.getinfo(_MEMBER).file_size
        if size > _LARGEST_MEMBER:
            raise WeightsError(f"{path} declares {size} bytes of weights, more than the {_LARGEST_MEMBER} allowed.")
        # The name is written out here, never taken from the archive.
        target = Path(folder) / _MEMBER
        with archive.open(_MEMBER) as source, open(target, "wb") as out:
            _copy_at_most(source, out, size)
        yield target


@contextmanager
def _zip_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise WeightsError(f"{path} is a damaged or encrypted archive ({error}). Get it again.") from error


def _copy_at_most(source: Any, out: Any, size: int) -> None:
    """Copy what the archive declared and refuse more: the size field of a zip can lie."""
    left = size
    while block := source.read(min(1 << 20, left + 1)):
        left -= len(block)
        if left < 0:
            raise WeightsError("The archive holds more bytes than it declares; it is damaged or hostile.")
        out.write(block)
