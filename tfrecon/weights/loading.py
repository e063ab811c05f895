"""From a path or a mapping to the reader it needs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ..errors import WeightsError, shown
from . import formats
from .checkpoint_files import read_checkpoint
from .contents import digest
from .formats import Source, as_weights_error, find_source
from .keras_files import load_keras_file
from .legacy_files import load_legacy_file
from .named import fits, load_named
from .npz_file import read_npz
from .report import LoadReport, about
from .safetensors_file import read_safetensors
from .torch_files import choose, read_torch, state_dicts


def load_mapping(model: Any, source: Mapping[str, Any], key: str | None) -> LoadReport:
    """Load arrays by name; a checkpoint that holds its state dict under a key is unwrapped."""
    if key is None and not any(isinstance(value, Mapping) for value in source.values()):
        return load_named(model, source)
    found = state_dicts(source)
    chosen = choose("the mapping", found, partial(fits, model), key)
    return load_named(model, found[chosen], notes=[f"taken from the key {chosen!r}"] if chosen else [])


def load_file(model: Any, path: Any, key: str | None) -> LoadReport:
    """Load any of the known files, found by content; every error is a WeightsError that begins with the path."""
    with as_weights_error():
        source = find_source(path)
        if key is not None and source.format != formats.TORCH:
            raise WeightsError(f"{shown(path)}: holds one set of weights ({source.format}), so a key ({key!r}) means "
                               "nothing here; leave it out.")
        sha256 = digest(source)
        if source.format in (formats.LEGACY, formats.LEGACY_MODEL):
            return load_legacy_file(model, source.path, sha256)
        if source.format in (formats.KERAS, formats.ARCHIVE):
            return load_keras_file(model, source.path, source.format == formats.ARCHIVE, sha256)
        tensors, notes = _read(source, model, key)
        with about(source.path):
            return load_named(model, tensors, sha256, notes)


def _read(source: Source, model: Any, key: str | None) -> tuple[Mapping[str, Any], list[str]]:
    if source.format == formats.TORCH:
        return read_torch(source.path, partial(fits, model), key)
    readers = {formats.SAFETENSORS: read_safetensors, formats.NPZ: read_npz, formats.CHECKPOINT: read_checkpoint}
    return readers[source.format](source.path), []
