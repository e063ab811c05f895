"""Commands and messages as other people may see them: without the folders of this machine."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def portable(words: Sequence[str], runs: Iterable[Path] = ()) -> str:
    """A command line; of absolute paths only the last part is left, of those in the folder of a run what begins there."""
    places = [run.resolve() for run in runs]
    return shlex.join(_portable(word, places) for word in words)


def _portable(word: str, places: Sequence[Path]) -> str:
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    if not value.startswith(("/", "~")):
        return word
    path = Path(value)
    place = next((place for place in places if place in path.parents), path)
    return f"{option}{equals}{path.relative_to(place.parent).as_posix()}"


def without_places(text: str, places: Iterable[Any]) -> str:
    """A text that names files below some places, with their names alone."""
    for place in sorted({str(p) for path in map(Path, places) for p in (path, path.absolute(), path.resolve())}, key=len,
                        reverse=True):
        if len(place) > 1:
            text = text.replace(f"{place}/", "")
            text = text.replace(place, Path(place).name) if place.startswith("/") else text
    return text
