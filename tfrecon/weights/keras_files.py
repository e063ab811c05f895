"""Keras 3 weight files: `.weights.h5` and the one inside a `.keras` archive, checked before Keras reads them.

Only numbers are read: a `.keras` archive's own description of the model is never followed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import lzma
import os
import re
import shutil
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import DataError, TfreconError, WeightsError, shown
from ..files import InMemory, with_version, without_version
from ..hdf5 import ALWAYS_ALLOWED_BYTES, check_tree, guard, open_hdf5
from .attributes import check_plain, read_label
from .report import LoadReport, check_array, saved_variables, unchanged_on_error

CARD_ATTRIBUTE, _CONTENT = "tfrecon_card", "arrays_sha256"
ARCHIVE_MEMBER = "model.weights.h5"
# Trained numbers hardly compress; a hundredfold is no network.
_MAX_COMPRESSION = 100


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
    content = InMemory()
    model.save_weights(content)
    if card is not None:
        with h5py.File(content, "r+") as file:
            file.attrs[CARD_ATTRIBUTE] = json.dumps(with_version({_CONTENT: _content(file), **card}))
    return content.write_to(path)


def card_in(path: Any, archive: bool) -> dict[str, Any]:
    """The card `save_weights` was given; empty where there is none."""
    with opened(path, archive) as file:
        card = _card(path, file)
    return {key: value for key, value in card.items() if key != _CONTENT}


def _card(path: Any, file: h5py.File) -> dict[str, Any]:
    text = read_label(file, CARD_ATTRIBUTE)
    try:
        card = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{shown(path)}: its card is not valid JSON ({error}); the file is damaged.") from error
    return without_version(card, f"{shown(path)}: its card", WeightsError) if isinstance(card, dict) else {}


def _content(file: h5py.File) -> str:
    """SHA-256 of all arrays with their names, types and shapes: what else would tell a file with a flipped bit?"""
    digest = hashlib.sha256()
    for name in sorted(keras_arrays(file)):
        array = np.asarray(file[name])
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _check_content(path: Any, file: h5py.File) -> None:
    wanted = _card(path, file).get(_CONTENT)
    if wanted is not None and wanted != _content(file):
        raise WeightsError(f"{shown(path)}: its arrays are not those that were written, as the SHA-256 in its card says; the "
                           "file is damaged or was changed. Get it again.")


def load_keras_file(model: Any, path: Any, archive: bool, sha256: str) -> LoadReport:
    """Load a `.weights.h5` or `.keras` file strictly: every array, right shapes, finite numbers, or no change.

    Raises:
        WeightsError, DataError: see above; or the file is broken or hostile.
    """
    with _weights_member(Path(path), archive) as member:
        with _inside(path, member) as file:
            _check_count(path, file, model)
            _check_content(path, file)
        # Keras assigns while it reads: a failure half way has already changed most arrays.
        with unchanged_on_error(model.weights), _fitting(path, model), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras' guesses why a layer does not fit; the error says that it does not
            model.load_weights(str(member))
            variables = saved_variables(model)
            for variable in variables:
                check_array(variable, shown(path), np.array(variable))
    rows = tuple((v.path, v.path, tuple(v.shape)) for v in variables)
    return LoadReport(len(rows), len(rows), sha256, rows)


@contextmanager
def _fitting(path: Any, model: Any) -> Iterator[None]:
    """Whatever Keras raises means that the file is for another network."""
    try:
        yield
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(
            f"{shown(path)} does not fit {model.name}: {_reason(error)}. Build the model with the options it was trained with."
        ) from error


def _reason(error: Exception) -> str:
    """Keras lists every layer with its values: the first array that does not fit says as much."""
    text = " ".join(str(error).split())
    shapes = re.search(r"variable\.shape=(\(.*?\)), Received: value\.shape=(\(.*?\))", text)
    if not shapes:
        return text[:300].rstrip(" .")
    name = re.search(r"<Variable path=([^,>]*)", text)
    return f"{name[1] if name else 'an array'} has the shape {shapes[1]}, in the file {shapes[2]}"


@contextmanager
def opened(path: Any, archive: bool) -> Iterator[h5py.File]:
    """The HDF5 file with the arrays, checked and open.

    Raises:
        WeightsError: the file or the archive is broken or hostile; the message names `path`, not the copy.
    """
    with _weights_member(Path(path), archive) as member, _inside(path, member) as file:
        yield file


@contextmanager
def _inside(path: Any, member: Path) -> Iterator[h5py.File]:
    try:
        with open_hdf5(member) as file, guard(member, "reading the weights"):
            check_tree(file)
            yield file
    except DataError as error:
        raise WeightsError(str(error).replace(str(member), shown(path))) from error


def _check_count(path: Any, file: h5py.File, model: Any) -> None:
    names = keras_arrays(file)
    for name in names:
        check_plain(file[name])
    stored, expected = len(names), _count_saved(model)
    if stored != expected:
        # Keras takes what it needs and leaves the rest without a word.
        raise WeightsError(
            f"{shown(path)} holds {stored} arrays, {model.name} saves {expected}. Build the model with the options it was "
            "trained with."
        )


def _count_saved(model: Any) -> int:
    """Arrays a file of this model holds; not len(model.weights), as wrapped layers are saved twice."""
    content = InMemory()
    model.save_weights(content)
    with h5py.File(content) as file:
        return len(keras_arrays(file))


def keras_arrays(file: h5py.File) -> list[str]:
    """Names of the arrays of layers; an optimizer's state and metrics may lie beside them."""
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    beside = ("optimizer", "metrics")
    return [n for n in names if "vars" in n.split("/") and not any(b in n.split("/")[0] for b in beside)]


@contextmanager
def _weights_member(path: Path, archive: bool) -> Iterator[Path]:
    """The arrays under a name Keras reads by, in a folder of their own that is removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / ARCHIVE_MEMBER  # Keras looks at the ending; the content was looked at before
        if archive:
            _extract(path, target)
        else:
            _link(path, target)
        yield target


def _link(path: Path, target: Path) -> None:
    try:
        target.symlink_to(path.absolute())
    except OSError:  # a system without links
        shutil.copyfile(path, target)


def _extract(path: Path, target: Path) -> None:
    with archive_errors(path), zipfile.ZipFile(path) as archive:
        check_unpacked_size(path, archive.getinfo(ARCHIVE_MEMBER).file_size)
        # The name is written out here, never taken from the archive.
        with archive.open(ARCHIVE_MEMBER) as source, open(target, "wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)  # zipfile hands out no more than is declared


def check_unpacked_size(path: Any, declared: int) -> None:
    """WeightsError if an archive claims to unpack to more than weights can."""
    stored = os.path.getsize(path)
    if declared > max(ALWAYS_ALLOWED_BYTES, _MAX_COMPRESSION * stored):
        raise WeightsError(f"{shown(path)}: declares {declared} bytes of arrays in a file of {stored}, which no weights do; "
                           "get it from its source.")


@contextmanager
def archive_errors(path: Any) -> Iterator[None]:
    """What zipfile raises for broken archives, as one sentence."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, RuntimeError, EOFError, ValueError) as error:
        full_disk = isinstance(error, OSError) and error.errno != errno.EINVAL  # a broken offset is "invalid"
        if full_disk or isinstance(error, TfreconError):
            raise
        raise WeightsError(f"{shown(path)} is a damaged, truncated or encrypted archive ({error}). Get it again.") from error
