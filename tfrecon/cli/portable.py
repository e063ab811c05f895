"""Commands and messages as other people may see them: without the folders of this machine."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def portable(words: Sequence[str]) -> str:
    """A command line; of absolute paths only the last part is left."""
    return shlex.join(map(_portable, words))


def _portable(word: str) -> str:
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return f"{option}{equals}{Path(value).name}" if value.startswith(("/", "~")) else word


def without_places(text: str, places: Iterable[Any]) -> str:
    """A text that names files below some places, with their names alone."""
    for place in sorted({str(p) for path in map(Path, places) for p in (path, path.absolute(), path.resolve())}, key=len,
                        reverse=True):
        if len(place) > 1:
            text = text.replace(f"{place}/", "")
            text = text.replace(place, Path(place).name) if place.startswith("/") else text
    return text
