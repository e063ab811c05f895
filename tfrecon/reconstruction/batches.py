"""Volumes one after the other through one model: read ahead, batched across their borders, written as they are done.

A result does not depend on which volumes were complete already: every slice has its place in a batch, counted over all
volumes, and a batch that is not full is filled up, as a network's last bits depend on both.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from ..data.lost import too_many
from ..errors import DataError, UnreadableError
from ..machine import free_memory

_BYTES_PER_SAMPLE = 32  # of a volume that is being prepared: complex numbers, what is made of them, and copies


@dataclass(frozen=True)
class Outcome:
    """What became of one volume: `note` says what was special, `error` why there is no file, `seconds` what it took."""

    name: str
    path: Path | None = None
    note: str = ""
    error: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Work:
    """What is left to do for a volume that was read.

    Attributes:
        path: of the result.
        finish: takes what the model made of each image, writes the result, returns a note.
        images: for the model, of the shape the volume was said to have; none where `finish` does everything.
    """

    path: Path
    finish: Callable[[list[np.ndarray]], str]
    images: Sequence[np.ndarray] = ()


@dataclass(frozen=True)
class Batching:
    """How images get through the model.

    Attributes:
        apply: from (N, ...) to (N, ...).
        batch_size: images at once.
        shape_of: of a volume, what its images share with those they may be batched with.
        workers: threads that prepare the next volumes meanwhile, 0 for none. They rest while memory is short.
    """

    apply: Callable[[np.ndarray], Any] = np.asarray
    batch_size: int = 1
    shape_of: Callable[[Any], Hashable] = lambda volume: None
    workers: int = 0


def through_model(images: Sequence[np.ndarray], apply: Callable[[np.ndarray], Any], batch_size: int) -> list[np.ndarray]:
    """What the model makes of the images of one volume, the same as in a folder that holds it alone."""
    if not images:
        return []
    entry = _Entry(None, 0, 0, _even(len(images), batch_size), outputs=[None] * len(images), left=len(images) + 1)
    batch = _Batch(apply)
    for i, image in enumerate(images):
        batch.add(entry, i, image)
    batch.run()
    if entry.failure:
        raise entry.failure
    return entry.outputs


def each_volume(
    volumes: Sequence[Any], complete: Callable[[Any], Path | None], prepare: Callable[[Any], Work], strict: bool,
    batching: Batching,
) -> Iterator[Outcome]:
    """Make the result of every volume that has none yet; yields in their order, as they are done.

    Args:
        volumes: with `name`, `slices`, `height`, `width`.
        complete: the result that stands there already and is to be kept, or None.
        prepare: reads a volume. With workers it is called by other threads.
        strict: raise at the first volume that fails, instead of going on.

    Raises:
        DataError: more than 5 % of the inputs, and more than one, vanished or changed since they were found.
    """
    entries = _entries(volumes, batching)
    for entry in entries:
        entry.path = complete(entry.volume)
        entry.note = "complete already" if entry.path else ""
    batch, waiting, lost = _Batch(batching.apply), deque(entries), 0
    with _Ahead(prepare, [e for e in entries if e.path is None], batching.workers) as ahead:
        for entry, following in zip(entries, [*entries[1:], None]):
            if entry.path is None:
                _start(entry, ahead, batch)
            if following is None or following.run != entry.run:
                batch.run()
            while waiting and waiting[0].is_done:
                lost += isinstance(failure := waiting[0].failure, UnreadableError)
                if failure and strict:
                    raise failure
                if isinstance(failure, UnreadableError) and too_many(lost, len(volumes)):
                    raise DataError(f"{failure}. By now {lost} of {len(volumes)} inputs vanished or changed; bring them back, "
                                    "and go on with --resume") from failure
                yield waiting.popleft().outcome()


@dataclass
class _Entry:
    """A volume on its way. `run` counts groups of neighbours of one shape, `start` the images before it in its own."""

    volume: Any
    run: int
    start: int
    batch_size: int
    path: Path | None = None
    note: str = ""
    work: Work | None = None
    outputs: list[Any] = field(default_factory=list)
    left: int = 0
    failure: DataError | None = None
    seconds: float = 0.0

    @property
    def is_done(self) -> bool:
        return self.path is not None or self.failure is not None

    def attempt(self, step: Callable[[], Any]) -> Any:
        """The value of a step; the error of data it ends in becomes the volume's own."""
        began = time.monotonic()
        try:
            return step()
        except DataError as error:
            self.fail(error)
        finally:
            self.seconds += time.monotonic() - began

    def fail(self, error: DataError) -> None:
        self.failure, self.work, self.outputs = error, None, []

    def take(self, i: int, output: np.ndarray) -> None:
        """What the model made of an image; with the last one the volume is finished."""
        self.outputs[i] = output
        self.left -= 1
        if not self.left:
            self.finish()

    def finish(self) -> None:
        work, outputs = self.work, self.outputs
        self.work, self.outputs = None, []  # nothing of a volume stays in memory when it is done

        def finish() -> None:
            self.note, self.path = work.finish(outputs), work.path

        self.attempt(finish)

    def outcome(self) -> Outcome:
        return Outcome(self.volume.name, None if self.failure else self.path, self.note, str(self.failure or ""), self.seconds)


def _entries(volumes: Sequence[Any], batching: Batching) -> list[_Entry]:
    entries: list[_Entry] = []
    for run, (_, group) in enumerate(groupby(volumes, batching.shape_of)):
        members = list(group)
        start, size = 0, _even(sum(volume.slices for volume in members), batching.batch_size)
        for volume in members:
            entries.append(_Entry(volume, run, start, size))
            start += volume.slices
    return entries


def _even(images: int, most: int) -> int:
    """The size of batches that are as few as those of `most` images and as full as can be: 3 for 5 images, at most 4 at once."""
    return -(-images // -(-images // most))


def _start(entry: _Entry, ahead: _Ahead, batch: _Batch) -> None:
    """Give a volume's images to the batch, or finish it where it has none."""
    work = ahead.prepared(entry)
    if work is None:
        return
    entry.work, entry.outputs, entry.left = work, [None] * len(work.images), len(work.images)
    for i, image in enumerate(work.images):
        batch.add(entry, i, image)
    if not work.images:
        entry.finish()


class _Batch:
    """The images that go through the model next, each at its place."""

    def __init__(self, apply: Callable[[np.ndarray], Any]):
        self._apply, self._key = apply, None
        self._slots: dict[int, tuple[_Entry, int, np.ndarray]] = {}

    def add(self, entry: _Entry, i: int, image: np.ndarray) -> None:
        number, slot = divmod(entry.start + i, entry.batch_size)
        if self._key != (entry.run, number):
            self.run()
        self._key, self._slots[slot] = (entry.run, number), (entry, i, image)
        if slot == entry.batch_size - 1:
            self.run()

    def run(self) -> None:
        """The images there are through the model, and what is complete with them to its end."""
        slots = {slot: item for slot, item in self._slots.items() if not item[0].failure}
        self._slots = {}
        if not slots:
            return
        (entry, _, image), began = next(iter(slots.values())), time.monotonic()
        images = np.stack([slots[slot][2] if slot in slots else image for slot in range(entry.batch_size)])
        try:
            outputs = self._apply(images)
        except DataError as error:
            for entry, *_ in slots.values():
                entry.fail(error)
            return
        share = (time.monotonic() - began) / len(slots)
        for slot, (entry, i, _) in slots.items():
            entry.seconds += share
            entry.take(i, outputs[slot])


class _Ahead:
    """Volumes prepared by other threads while the model works, in their order."""

    def __init__(self, prepare: Callable[[Any], Work], entries: Sequence[_Entry], workers: int):
        self._prepare, self._next, self._workers = prepare, deque(entries), workers
        self._futures: dict[int, Future] = {}
        self._pool = ThreadPoolExecutor(workers) if workers else None

    def __enter__(self) -> _Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def prepared(self, entry: _Entry) -> Work | None:
        """The next entry's volume read; None where that failed."""
        future = self._futures.pop(id(entry), None)
        if future is None:
            self._next.popleft()
        self._look_ahead()
        return future.result() if future else self._read(entry)

    def _look_ahead(self) -> None:
        while self._pool and self._next and len(self._futures) < self._workers and _fits(self._next[0].volume):
            entry = self._next.popleft()
            self._futures[id(entry)] = self._pool.submit(self._read, entry)

    def _read(self, entry: _Entry) -> Work | None:
        return entry.attempt(lambda: self._prepare(entry.volume))


def _fits(volume: Any) -> bool:
    """Whether there is room for this volume beside the one that is being worked on, which may be as large."""
    free = free_memory()
    samples = volume.slices * volume.height * volume.width * (getattr(volume, "coils", None) or 1)
    return free is None or 2 * samples * _BYTES_PER_SAMPLE < free
