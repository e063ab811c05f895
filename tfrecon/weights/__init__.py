"""Weights: strict loading of every array or an error, and saving that is never half done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .keras_files import load_keras_file, read_card, save_weights, sha256_of
from .report import LoadReport
from .torch_layout import load_state_dict


def load_weights(model: Any, source: str | Path | Mapping[str, Any]) -> LoadReport:
    """Load weights into a model: all arrays or an error, and on an error no array is changed.

    Args:
        model: a built Keras model.
        source: a Keras 3 `.weights.h5` or `.keras` file, told by its content; or a mapping from PyTorch state-dict
            names to arrays in PyTorch's layout.

    Returns:
        A `LoadReport` with `loaded`, `total` and `sha256`.

    Raises:
        WeightsError: arrays are missing, left over, of another shape or not finite.
        DataError: the file is missing, broken or hostile.
    """
    if isinstance(source, Mapping):
        return load_state_dict(model, source)
    return load_keras_file(model, source)


__all__ = ["LoadReport", "load_weights", "read_card", "save_weights", "sha256_of"]
