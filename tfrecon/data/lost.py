"""Files that vanish or change during a run: read once more, then done without, and counted; too many of them end the run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from ..errors import DataError, UnreadableError
from .splits import Sample

T = TypeVar("T")
PAUSE = 1.0  # seconds: a network disk that was away for a moment is back by then
_SHARE = 0.05
_log = logging.getLogger("tfrecon")


class SecondTry:
    """Reads once more, after a moment, what could not be read; at once, not again, what failed twice the last time."""

    def __init__(self) -> None:
        self._lost: set[str] = set()

    def __call__(self, path: str, read: Callable[[], T]) -> T:
        """`read()`; UnreadableError where the second try fails too."""
        try:
            values = read()
        except UnreadableError:
            if path in self._lost:
                raise
            self._lost.add(path)
            time.sleep(PAUSE)
            values = read()
        self._lost.discard(path)
        return values


def too_many(lost: int, total: int) -> bool:
    """Whether a run is to end: one may always be lost, then up to 5 %."""
    return lost > max(1, _SHARE * total)


class LostSlices:
    """Gives another slice in the place of one whose file vanished or changed, so that an epoch keeps its number of steps.

    Args:
        samples: of a pass.
        alike: of every volume, what slices must share to stand in for one another: their size.
        strict: end the run at the first one.
        names: a set that (volume name, slice) of the lost ones are put into, for whoever reports them. volumes: their names,
            in the order of their numbers.
    """

    def __init__(self, samples: Sequence[Sample], alike: Sequence[Hashable], strict: bool, names: set | None,
                 volumes: Sequence[str]):
        self._order = list(dict.fromkeys((int(number), int(i)) for number, i in samples))
        self._place = {sample: place for place, sample in enumerate(self._order)}
        self._alike, self._strict, self._volumes = alike, strict, volumes
        self._names = set() if names is None else names
        self._lost: set[Sample] = set()
        self._told: set[int] = set()

    def __call__(self, number: int, i: int, read: Callable[[int, int], T]) -> T:
        """`read(number, i)`, or of the next slice of the same size that can be read."""
        try:
            return read(number, i)
        except UnreadableError as error:
            self._count(number, i, error)
            return self._another(number, i, read, error)

    def _another(self, number: int, i: int, read: Callable[[int, int], T], error: UnreadableError) -> T:
        place, failed = self._place[number, i], {number}
        for other, j in (*self._order[place + 1 :], *self._order[:place]):
            if other not in failed and self._alike[other] == self._alike[number]:
                try:
                    return read(other, j)
                except UnreadableError as again:
                    failed.add(other)
                    self._count(other, j, again)
        raise DataError(f"{error}. No other slice of its size can take its place; bring the file back") from error

    def _count(self, number: int, i: int, error: UnreadableError) -> None:
        self._lost.add((number, i))
        self._names.add((self._volumes[number], i))
        if self._strict or too_many(len(self._lost), len(self._order)):
            raise DataError(f"{error}. By now {len(self._lost)} of {len(self._order)} slices cannot be read any more; bring "
                            "the files back before going on") from error
        if number not in self._told:  # once, not in every epoch
            self._told.add(number)
            _log.warning("note: %s; other slices take its place", error)
