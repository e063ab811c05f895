"""Losses that compare two tensors element by element and average over everything, in PyTorch's definitions.

Every function takes `(y_true, y_pred)` of one shape, floating, and returns a scalar tensor.
"""

from __future__ import annotations

from typing import Any

from keras import ops

_LOG_FLOOR = -100.0  # PyTorch clamps the logarithms of BCELoss here
_TINY = 2e-38  # above the smallest normal float32: anything below is flushed to 0, whose logarithm is no number


def l1(y_true: Any, y_pred: Any) -> Any:
    """Mean absolute difference."""
    return ops.mean(ops.abs(y_true - y_pred))


def mse(y_true: Any, y_pred: Any) -> Any:
    """Mean squared difference."""
    return ops.mean(ops.square(y_true - y_pred))


def bce(y_true: Any, y_pred: Any) -> Any:
    """Binary cross entropy of probabilities `y_pred` in [0, 1] against labels in [0, 1]."""
    return -ops.mean(y_true * _log(y_pred) + (1.0 - y_true) * _log(1.0 - y_pred))


def bce_logits(y_true: Any, y_pred: Any) -> Any:
    """Binary cross entropy of logits `y_pred`. Seed 001 feeds it probabilities, which squashes twice.

    Without the usual relu and abs, whose derivatives at a logit of exactly 0 would give -y_true instead of 0.5 - y_true.
    """
    return ops.mean(y_true * ops.softplus(-y_pred) + (1.0 - y_true) * ops.softplus(y_pred))


def kldiv(y_true: Any, y_pred: Any) -> Any:
    """Seed 001's `KLDivLoss` on probabilities: mean of y_true * (log y_true - y_pred), 0 where y_true is 0.

    PyTorch's loss expects log-probabilities and the seed gives it probabilities. So the value is -mean(y_pred) for
    label 1 and exactly 0, with zero gradient, for label 0: the discriminator never learns from a fake.
    """
    entropy = ops.where(y_true > 0, y_true * ops.log(ops.maximum(y_true, _TINY)), ops.zeros_like(y_true))
    return ops.mean(entropy - y_true * y_pred)


def _log(p: Any) -> Any:
    """log(p) floored at -100 with a finite gradient (zero at the floor, where PyTorch's is finite too)."""
    return ops.where(p > _TINY, ops.log(ops.maximum(p, _TINY)), _LOG_FLOOR * ops.ones_like(p))
