"""tfrecon: published MRI and CT image-reconstruction networks in Keras 3, proven equal to their originals.

Importing the package is light; TensorFlow is imported by the parts that compute with it, when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_MODULES = (
    "data", "errors", "exporting", "hdf5", "layers", "losses", "metrics", "models", "physics", "reconstruction", "report",
    "training", "transforms", "weights", "zoo",
)
_NAMES = {"create": "zoo", "list_models": "zoo"}

__all__ = [*_MODULES, *_NAMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name in _NAMES:
        return getattr(import_module(f".{_NAMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
