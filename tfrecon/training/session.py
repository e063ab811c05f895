"""One resumable run: fit, checkpoint, stop on Ctrl-C, go on where it stopped."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import UsageError
from .callbacks import Checkpoint, KeepBest, OutOfTime, Progress, SetClock, StopCleanly, StopOnNaN
from .workers import agreed, is_chief


def fit_resumable(
    trainer: Any,
    train: Any,
    validation: Any,
    epochs: int,
    folder: Any,
    clock: Any,
    save_best: Callable[[dict[str, Any]], Any],
    callbacks: Sequence[Any] = (),
    baseline: tuple[str, float] | None = None,
    seconds: float = math.inf,
    monitor: str = "val_ssim",
    lower: bool = False,
) -> list[dict[str, float]]:
    """Train for `epochs` epochs in all, continuing from the state in `folder/checkpoint` if there is one.

    A run stopped after any step and resumed gives the weights of the uninterrupted run: the state holds the optimizers,
    the clock makes the order of slices and the masks of an epoch depend on its number alone, and the batches already
    seen are skipped.

    Args:
        trainer: a compiled training class.
        train, validation: datasets of known cardinality; `train` was made with `clock`.
        epochs: total number, at least 1.
        folder: of the run.
        clock: the `EpochClock` of `train`.
        save_best: writes the weights of an epoch that is the best so far by `monitor`; takes its number and scores.
        callbacks: more callbacks, for the whole run; of several workers the first one has them alone, and writes.
        baseline: what doing nothing is called and what it scores, for the progress line.
        monitor, lower: key of the epochs' logs that says which is the best, and whether the smallest is.
        seconds: the time after which the run stops at the end of a step, its state saved.

    Returns:
        A list with the logs of every complete epoch, the resumed ones included; fewer than `epochs`, or none, where the
        time was over before.

    Raises:
        UsageError: epochs below 1. Interrupted: Ctrl-C; the state was saved.
    """
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        raise UsageError(f"The number of epochs must be a whole number of at least 1, received {epochs!r}.")
    strategy = trainer.distribute_strategy
    chief = is_chief(strategy)
    scratch = None if chief else tempfile.TemporaryDirectory()
    began, checkpoint = time.monotonic(), Checkpoint(folder, scratch and scratch.name)
    epoch, batch = checkpoint.restore(trainer)
    steps = int(train.cardinality())
    stop = StopCleanly(checkpoint, began + seconds, agreed(strategy))
    parts = [(train.skip(batch), epoch, batch, epoch + 1)] if batch else []
    parts.append((train, epoch + bool(batch), 0, epochs))
    try:
        for data, first, first_batch, last in parts:
            if first >= last:
                continue
            # The checkpoint comes after what an epoch produces (best weights) and before what may raise.
            told = [Progress(epochs, steps, first, first_batch, baseline), *callbacks,
                    KeepBest(save_best, checkpoint.history, monitor, lower)]
            own = [SetClock(clock), StopOnNaN(first_batch), *(told if chief else ()), checkpoint, stop]
            trainer.fit(data, validation_data=validation, initial_epoch=first, epochs=last, verbose=0, callbacks=own)
    except OutOfTime:
        pass  # as asked for: the caller sees it by the number of epochs
    finally:
        stop.release()
        if scratch:
            scratch.cleanup()
    return checkpoint.history
