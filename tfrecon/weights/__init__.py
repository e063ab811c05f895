"""Weights: strict loading of every array or an error, and saving that is never half done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .contents import Contents, look_into, read_card, sha256_of
from .keras_files import save_weights
from .legacy_writer import save_legacy_weights
from .loading import load_file, load_mapping
from .records import WeightRecord, record_of_content, weight_records
from .report import LoadReport
from .sources import local_file, record_named, whereabouts


def load_weights(model: Any, source: str | Path | Mapping[str, Any], key: str | None = None) -> LoadReport:
    """Load weights into a model: all arrays or an error, and on an error no array is changed.

    Args:
        model: a built Keras model.
        source: a file, the name of a record (`weight_records`), a pinned address (`local_file`), or a mapping from names to
            arrays. Files are told by their content whatever they are called: Keras 3
            `.weights.h5` or `.keras`; Keras 2 weights or whole model in HDF5 (by position, inside nested models by name);
            PyTorch `.pth`, `.pt`, `.ckpt` (extra `torch`, tensors only); `.safetensors`; `.npz`; the prefix of a
            TensorFlow checkpoint. Names of mappings and of files of tensors: PyTorch's state dict with its layouts, the
            variables' own paths, `layer/variable`, or TensorFlow's numbered layers. No code from a file is ever run.
        key: which state dict is meant in a checkpoint that holds several.

    Returns:
        A `LoadReport` with `loaded`, `total`, `sha256` and `notes`.

    Raises:
        WeightsError: arrays are missing, left over, of another shape or not finite; the file is missing, broken, hostile
            or no weights at all.
    """
    return load_mapping(model, source, key) if isinstance(source, Mapping) else load_file(model, source, key)


__all__ = ["Contents", "LoadReport", "WeightRecord", "load_weights", "local_file", "look_into", "read_card", "record_named",
           "record_of_content", "save_legacy_weights", "save_weights", "sha256_of", "weight_records", "whereabouts"]
