"""Keras callbacks of a run that can be stopped, killed and resumed without losing anything."""

from __future__ import annotations

import json
import math
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from ..errors import DataError, TfreconError, UsageError, shown
from ..files import InMemory, read_json, write_json
from ..hdf5 import check_tree, open_hdf5, read_attributes

_RUNNING = "tfrecon_running_means"
_ADVICE = "Lower the learning rate, or check the data with `tfrecon inspect --deep`."
SAVE_SECONDS = 600.0  # what a killed run loses at most, epochs being of any length


class Interrupted(TfreconError):
    """Ctrl-C was pressed; the step was finished and the state saved."""

    exit_code = 130


class OutOfTime(TfreconError):
    """The time given to a run is over; the step was finished and the state saved."""


class SetClock(keras.callbacks.Callback):
    """Sets a dataset's `EpochClock` at the beginning of each epoch, so the data of epoch n are always the same."""

    def __init__(self, clock: Any):
        super().__init__()
        self.clock = clock

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.clock.epoch = epoch


class Checkpoint(keras.callbacks.Callback):
    """Saves weights and both optimizers in one file, and the history beside it: after every epoch, within long ones by
    `StopCleanly`, and when interrupted.

    The file is named after the epoch and batch it continues with and is complete before the former one is removed, so a
    crash at any moment leaves a state. The history is written first and cut to the state's epoch when it is read.

    Args:
        folder: of the run: `history.json`, and the states in `checkpoint`.
        scratch: another folder to write to, for a process that must take part in saving and whose copy nobody wants.
    """

    _PATTERN = re.compile(r"state-(\d{5})-(\d{7})\.weights\.h5")

    def __init__(self, folder: Any, scratch: Any = None):
        super().__init__()
        self.folder, self._record = Path(folder) / "checkpoint", Path(folder) / "history.json"
        self._scratch = scratch
        self.history: list[dict[str, float]] = []
        self.epoch = self.first_batch = 0
        self._running: list[Any] = []
        self._saved = time.monotonic()

    @property
    def is_old(self) -> bool:
        """Whether the last state was saved so long ago that it is time for another, in the middle of an epoch."""
        return time.monotonic() - self._saved >= SAVE_SECONDS

    def on_train_begin(self, logs: Any = None) -> None:
        self._saved = time.monotonic()

    def restore(self, model: Any) -> tuple[int, int]:
        """Load the latest state into a compiled model; returns the (epoch, batch) to continue with, (0, 0) if none."""
        states = self._states()
        if states:
            (self.epoch, self.first_batch), path = states[-1]
            with _state_errors(path):
                with open_hdf5(path) as file:
                    check_tree(file)
                    self._running = list(json.loads(str(read_attributes(file).get(_RUNNING, "[]"))))
                model.load_weights(str(path))
            self.history = _former_epochs(self._record)[: self.epoch] if self._record.exists() else []
        if self._scratch is not None:
            self.folder, self._record = Path(self._scratch) / "checkpoint", Path(self._scratch) / "history.json"
        return self.epoch, self.first_batch

    def save(self, epoch: int, batch: int) -> Path:
        """Write the present state as the one to continue with at (epoch, batch).

        Raises:
            TfreconError: a weight is not finite; the former state is kept. ResourceError: it could not be written.
        """
        path = self.folder / f"state-{epoch:05d}-{batch:07d}.weights.h5"
        if hasattr(self.model, "average_statistics"):
            self.model.average_statistics()
        check_finite(self.model, f"by step {batch} of epoch {epoch + 1}" if batch else f"in epoch {epoch}")
        content = InMemory()
        self.model.save_weights(content)
        with h5py.File(content, "r+") as file:
            file.attrs[_RUNNING] = json.dumps([v.numpy().tolist() for v in _metric_variables(self.model)])
        content.write_to(path)
        self._saved = time.monotonic()
        for _, old in self._states():
            if old != path:
                old.unlink()
        return path

    def _states(self) -> list[tuple[tuple[int, int], Path]]:
        found = ((self._PATTERN.fullmatch(p.name), p) for p in self.folder.glob("state-*.weights.h5"))
        return sorted(((int(m[1]), int(m[2])), p) for m, p in found if m)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch != self.epoch:
            self.epoch, self.first_batch = epoch, 0
        elif self.first_batch:  # the means over the epoch's first batches, which fit has just reset
            with _state_errors(self.folder):
                for variable, value in zip(_metric_variables(self.model), self._running):
                    variable.assign(value)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.history.append({"epoch": epoch, **{k: float(v) for k, v in (logs or {}).items()}})
        write_json(self._record, self.history)
        self.save(epoch + 1, 0)


@contextmanager
def _state_errors(path: Path) -> Iterator[None]:
    """Whatever Keras and JSON raise over a damaged state, as one sentence."""
    try:
        yield
    except TfreconError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{shown(path)}: the state of this run does not fit its model or is damaged ({reason}); bring it back, "
                        "or begin anew with --overwrite.") from error


def _former_epochs(path: Path) -> list[dict[str, float]]:
    """The history of a run that goes on; DataError for anything but numbers by name."""
    epochs = read_json(path, list)
    if not all(isinstance(epoch, dict) and all(isinstance(value, (int, float)) for value in epoch.values()) for epoch in epochs):
        raise DataError(f"{shown(path)} is damaged: expected an object of numbers for every epoch; bring it back, or begin anew "
                        "with --overwrite.")
    return epochs


def check_finite(model: Any, when: str) -> None:
    """TfreconError for a network with a weight that is NaN or infinite; `when` says since when.

    No loss need tell of it: a rectifier makes 0 of NaN, and what the last step of an epoch spoils shows in the next one.
    """
    spoiled = [w.path for w in model.weights if not np.isfinite(w.numpy()).all()]
    if spoiled:
        raise TfreconError(f"{len(spoiled)} weights became NaN or infinite {when} ({spoiled[0]} is the first); training "
                           f"was stopped and the last good state kept. {_ADVICE}")


def _metric_variables(model: Any) -> list[Any]:
    """The sums and counts behind an epoch's means, which Keras does not save with the weights."""
    return [variable for metric in model.metrics for variable in metric.variables]


class StopCleanly(keras.callbacks.Callback):
    """On Ctrl-C: finish the step, save the state, raise `Interrupted`. On a second Ctrl-C: stop at once. Without either: save
    the state whenever the last one has grown old.

    Args:
        checkpoint: saves the state.
        deadline: moment of `time.monotonic` from which on the run stops in the same way, raising `OutOfTime`.
        agree: tells of each of several answers whether any of the processes that train together says yes; all of them ask it
            after the same steps, once.
    """

    def __init__(self, checkpoint: Checkpoint, deadline: float = math.inf,
                 agree: Callable[[Sequence[bool]], list[bool]] = list):
        super().__init__()
        self.checkpoint, self.deadline, self.agree = checkpoint, deadline, agree
        self.requested = False
        self._former: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        if self._former is None and threading.current_thread() is threading.main_thread():
            self._former = signal.signal(signal.SIGINT, self._request)

    def release(self) -> None:
        """Give SIGINT back; to be called however training ended (Keras skips on_train_end after an error)."""
        if self._former is not None:
            signal.signal(signal.SIGINT, self._former)
            self._former = None

    def _request(self, *_: Any) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print("\nstopping after this step; press Ctrl-C again to stop at once", file=sys.stderr)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        due, old = self._asked()
        if (due or old) and batch + 1 < self.params["steps"]:  # after the last step the epoch is validated and saved first
            state = self.checkpoint.save(self.checkpoint.epoch, self.checkpoint.first_batch + batch + 1)
            if due:
                self._stop(f"the state is in {state}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._asked()[0]:  # in the last step or in validation: this epoch's state is saved
            self._stop(f"after epoch {epoch + 1}; the state is in {self.checkpoint.folder}")

    def _asked(self) -> tuple[bool, bool]:
        """Whether the run is to stop, and whether the last state has grown old."""
        asked, late, old = self.agree([self.requested, time.monotonic() >= self.deadline, self.checkpoint.is_old])
        self.requested = self.requested or asked  # a Ctrl-C while they agree counts after the next step
        return asked or late, old

    def _stop(self, where: str) -> None:
        if self.requested:
            raise Interrupted(f"stopped on request, {where}")
        raise OutOfTime(f"stopped because the time is over, {where}")


class StopOnNaN(keras.callbacks.Callback):
    """Ends the run with an error that names the step when a loss is no longer finite, and before anything of an epoch is
    written after which a weight is not.

    Args:
        first_batch: steps of the first epoch that were taken before this part of the run.
    """

    def __init__(self, first_batch: int = 0):
        super().__init__()
        self._first, self._before = first_batch, 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._before, self._first = self._first, 0

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        bad = [name for name, value in (logs or {}).items() if not math.isfinite(float(value))]
        if bad:
            raise TfreconError(
                f"{', '.join(bad)} became NaN or infinite at step {self._before + batch + 1} of the epoch; training was "
                f"stopped and the last good state kept. {_ADVICE}"
            )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        check_finite(self.model, f"in epoch {epoch + 1}")


class KeepBest(keras.callbacks.Callback):
    """Calls `save` after every epoch whose monitored value is the best so far.

    Args:
        save: takes a dict with the epoch (counted from 1) and its scores; writes the weights worth keeping.
        history: logs of the epochs before this part of the run, whose best value has to be beaten.
        monitor: key of the epoch's logs.
        lower: whether the smallest value is the best, not the largest.
    """

    def __init__(self, save: Callable[[dict[str, Any]], Any], history: Sequence[Mapping[str, float]] = (),
                 monitor: str = "val_ssim", lower: bool = False):
        super().__init__()
        self.save, self.monitor, self.sign = save, monitor, -1.0 if lower else 1.0
        values = (self.sign * epoch.get(monitor, math.nan) for epoch in history)
        self.best = max((value for value in values if math.isfinite(value)), default=-math.inf)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        scores = {k: float(v) for k, v in (logs or {}).items()}
        if self.sign * scores[self.monitor] > self.best:
            self.best = self.sign * scores[self.monitor]
            self.save({"epoch": epoch + 1, "scores": scores})


class Progress(keras.callbacks.Callback):
    """Progress on stderr: a bar with the time left on a terminal, a line per epoch elsewhere.

    Args:
        epochs, steps: of the whole run.
        first_epoch, first_batch: where this part of the run begins.
        baseline: what doing nothing is called and what it scores, shown beside the network's scores.
    """

    def __init__(self, epochs: int, steps: int, first_epoch: int = 0, first_batch: int = 0,
                 baseline: tuple[str, float] | None = None):
        super().__init__()
        if epochs < 1 or steps < 1:
            raise UsageError(f"Expected at least one epoch and one step, received {epochs} and {steps}.")
        self.epochs, self.steps, self.baseline = epochs, steps, baseline
        self.first = first_epoch * steps + first_batch
        self._bar: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        from tqdm import tqdm

        self._began = time.monotonic()
        total = self.epochs * self.steps
        self._bar = tqdm(
            total=total, initial=self.first, unit="step", file=sys.stderr, disable=not sys.stderr.isatty(),
            bar_format="{desc} {percentage:3.0f}% |{bar:20}| {n_fmt}/{total_fmt} eta {remaining}{postfix}",
        )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._bar.set_description_str(f"epoch {epoch + 1}/{self.epochs}", refresh=False)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self._bar.update(1)
        self._bar.set_postfix_str(_short({k: v for k, v in (logs or {}).items() if k != "reconstruction_loss"}), False)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        done = (epoch + 1) * self.steps - self.first
        left = (time.monotonic() - self._began) / done * (self.epochs - epoch - 1) * self.steps
        baseline = "" if self.baseline is None else f" ({self.baseline[0]} {self.baseline[1]:.3f})"
        line = f"epoch {epoch + 1}/{self.epochs}  {_short(logs or {})}{baseline}  eta {left:.0f} s"
        self._bar.clear()
        print(line, file=sys.stderr, flush=True)

    def on_train_end(self, logs: Any = None) -> None:
        self._bar.close()


def _short(logs: Mapping[str, float]) -> str:
    return " ".join(f"{name} {float(value):.3g}" for name, value in logs.items())
