"""What a weight file holds, without a model: names, shapes, types, labels. TensorFlow is loaded only for its own files."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..files import sha256_of as _digest
from ..hdf5 import guard, open_hdf5
from . import formats
from .checkpoint_files import checkpoint_files, checkpoint_table
from .formats import Source, as_weights_error, find_source
from .keras_files import card_in, keras_arrays, opened
from .legacy_files import facts, stored_layers
from .npz_file import npz_table
from .records import record_of_content, weight_records
from .safetensors_file import safetensors_table
from .sources import local_file
from .torch_files import torch_table

Table = list[tuple[str, tuple[int, ...], str]]


@dataclass(frozen=True)
class Contents:
    """What is in a weight file.

    Attributes:
        format: the kind of file, as its content says.
        arrays: (name, shape, type) of the arrays of layers.
        sha256: of the file.
        labels: what the file says about itself: keras_version, backend, our card.
    """

    format: str
    arrays: Table
    sha256: str
    labels: dict[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """Numbers in all arrays together."""
        return sum(math.prod(shape) for _, shape, _ in self.arrays)


def look_into(path: Any) -> Contents:
    """List what a weight file holds; nothing of it is run and no network is needed.

    Raises:
        WeightsError: the file is missing, broken, hostile or no weights.
    """
    with as_weights_error():
        source = find_source(path)
        arrays, labels = _LOOKS[source.format](source.path)
        return Contents(source.format, arrays, digest(source), labels)


def read_card(path: Any) -> dict[str, Any]:
    """What is known about weights: the card `save_weights` put into a file of ours, and what the record says which knows a
    file by its content (data, training, scores on others); empty for all others.

    Raises:
        WeightsError: the file is missing, broken, hostile or no weights.
    """
    source = find_source(path)
    card = card_in(source.path, source.format == formats.ARCHIVE) if source.format in (formats.KERAS, formats.ARCHIVE) else {}
    if card and not any(record.bytes == os.path.getsize(source.path) for record in weight_records().values()):
        return card  # no record can know it, so it need not be read for its SHA-256
    record = record_of_content(digest(source))
    return {**(record.card() if record else {}), **card}


def sha256_of(path: Any) -> str:
    """SHA-256 of a file, read in pieces; of a TensorFlow checkpoint's files one after the other for its prefix."""
    path = local_file(path)
    is_prefix = not os.path.lexists(path) and os.path.isfile(f"{path}.index")
    return _digest(*(checkpoint_files(path) if is_prefix else [path]))


def digest(source: Source) -> str:
    """SHA-256 of what `find_source` found."""
    return _digest(*(checkpoint_files(source.path) if source.format == formats.CHECKPOINT else [source.path]))


def _look_legacy(path: str) -> tuple[Table, dict[str, Any]]:
    with open_hdf5(path) as file, guard(path, "listing the weights"):
        stored = [array for _, arrays in stored_layers(file) for array in arrays]
        return [(a.name, tuple(a.dataset.shape), str(a.dataset.dtype)) for a in stored], facts(file)


def _look_keras(path: str, archive: bool) -> tuple[Table, dict[str, Any]]:
    with opened(path, archive) as file:
        arrays = [(name, tuple(file[name].shape), str(file[name].dtype)) for name in keras_arrays(file)]
    card = card_in(path, archive)
    return arrays, {"card": card} if card else {}


def _look_plain(table: Callable[[str], Table]) -> Callable[[str], tuple[Table, dict[str, Any]]]:
    return lambda path: (table(path), {})


_LOOKS: dict[str, Callable[[str], tuple[Table, dict[str, Any]]]] = {
    formats.LEGACY: _look_legacy,
    formats.LEGACY_MODEL: _look_legacy,
    formats.KERAS: lambda path: _look_keras(path, archive=False),
    formats.ARCHIVE: lambda path: _look_keras(path, archive=True),
    formats.TORCH: _look_plain(torch_table),
    formats.SAFETENSORS: _look_plain(safetensors_table),
    formats.NPZ: _look_plain(npz_table),
    formats.CHECKPOINT: _look_plain(checkpoint_table),
}
