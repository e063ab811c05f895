"""The packages only medical image files need: imported when such a file is read, and missed with the line that helps."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from ...errors import DataError, ResourceError, TfreconError, shown
from ...hdf5 import file_error


def load(package: str, kind: str) -> Any:
    """The package, or a ResourceError naming how to get it."""
    try:
        return import_module(package)
    except ImportError as error:
        raise ResourceError(f"{kind} files need the package {package.partition('.')[0]}, which is not installed; "
                            'run `pip install "tfrecon[dicom]"`') from error


@contextmanager
def reading(path: str, what: str) -> Iterator[None]:
    """Turns whatever a parser raises into one `DataError`.

    Only the kind of the exception is told: its text may quote values of the header, a patient's name among them.
    """
    try:
        yield
    except TfreconError:
        raise
    except OSError as error:
        if error.errno is not None:
            raise file_error(path, error) from error
        raise _damaged(path, what, error) from error
    except Exception as error:
        raise _damaged(path, what, error) from error


@contextmanager
def parsing(path: str, what: str) -> Iterator[list]:
    """As `reading`, for parsers that warn about every value that breaks their standard, with that value: yields the list
    the warnings are collected in, unseen. Python's filters belong to the whole process, so this is kept out of the way of a
    pipeline's threads wherever a file can be read without a parser.
    """
    with warnings.catch_warnings(record=True) as found, reading(path, what):
        warnings.simplefilter("always")
        yield found


def _damaged(path: str, what: str, error: Exception) -> DataError:
    return DataError(f"{shown(path)}: the {what} cannot be read ({type(error).__name__}); the file is damaged or not what "
                     "it says it is, get it again")
