"""The errors tfrecon raises on purpose, each with the exit code of the command line.

A message says what was expected, what was received and what to do about it. The command line prints it as
one line without a traceback; from Python the classes also derive from the built-in error a caller would expect.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from typing import Any


class TfreconError(Exception):
    """Base of every error raised on purpose; `exit_code` is what the command line returns for it."""

    exit_code = 1


class CheckFailed(TfreconError):
    """A check ran and its answer is no (a result below its baseline, predictions missing for targets)."""

    exit_code = 1


class UsageError(TfreconError, ValueError):
    """An argument is out of its range or two arguments contradict each other."""

    exit_code = 2


class DataError(TfreconError, ValueError):
    """A data file or folder is missing, broken, hostile or not what the task needs."""

    exit_code = 3


class UnreadableError(DataError):
    """A file vanished or changed after its header was read."""


class WeightsError(TfreconError, ValueError):
    """A weight file does not fit the model, or cannot be trusted."""

    exit_code = 4


class ResourceError(TfreconError, OSError):
    """The machine ran out of disk, memory or permission while working."""

    exit_code = 5


class NonFiniteError(DataError):
    """A slice holds NaN or infinity."""


def shown(path: str | bytes | os.PathLike) -> str:
    """A path, or other text from outside, as it can be printed anywhere: control characters and undecodable bytes are escaped."""
    text = os.fsdecode(path)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def did_you_mean(name: Any, choices: Iterable[str]) -> str:
    """"; did you mean X?" for a name that is nearly one of the choices, else nothing."""
    by_lower = {str(choice).lower(): choice for choice in choices}
    near = difflib.get_close_matches(str(name).lower(), by_lower, 1)
    return f"; did you mean {by_lower[near[0]]}?" if near else ""
