"""k-fold cross-validation with fresh networks per fold, and seed 001's leaking form behind a switch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def cross_validate(
    build: Callable[[], Any],
    folds: Sequence[tuple[Any, Any]],
    epochs: int,
    metric: str = "val_ssim",
    leaking: bool = False,
    callbacks: Sequence[Any] = (),
) -> np.ndarray:
    """Train and validate on every fold.

    Args:
        build: makes a compiled training model with fresh weights and optimizers.
        folds: (train, validation) datasets, split by patient (`data.folds`).
        epochs: per fold, at least 1.
        metric: the validation log to collect.
        leaking: seed 001's way: ONE network goes through all folds in every epoch, so from the second fold on it is
            validated on what it has trained on. Warns; for reproducing the seed's figures only.
        callbacks: passed to every `fit`.

    Returns:
        float (folds, epochs).
    """
    if not leaking:
        return np.array([_fit(build(), train, val, epochs, metric, callbacks) for train, val in folds])
    warnings.warn(
        "Leaking folds: one network passes through all folds, so it is validated on slices it was trained on. The "
        "scores are too high and only reproduce seed 001's figures.",
        stacklevel=2,
    )
    shared = build()
    by_epoch = [[_fit(shared, train, val, 1, metric, callbacks)[0] for train, val in folds] for _ in range(epochs)]
    return np.array(by_epoch).T


def _fit(trainer: Any, train: Any, validation: Any, epochs: int, metric: str, callbacks: Sequence[Any]) -> list[float]:
    history = trainer.fit(train, validation_data=validation, epochs=epochs, verbose=0, callbacks=list(callbacks))
    return [float(value) for value in history.history[metric]]
