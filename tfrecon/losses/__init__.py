"""Losses: `(y_true, y_pred)` to a scalar tensor, found by name with `get`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import UsageError
from .elementwise import bce, bce_logits, kldiv, l1, mse
from .perceptual import PerceptualLoss
from .ssim import ssim, ssim_per_image
from .total_variation import total_variation
from .wasserstein import gradient_penalty, wasserstein

LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "l1": l1,
    "mse": mse,
    "bce": bce,
    "bce_logits": bce_logits,
    "kldiv": kldiv,
    "ssim": ssim,
}


def get(name: str) -> Callable[[Any, Any], Any]:
    """The loss of that name; UsageError naming the choices if there is none."""
    if name not in LOSSES:
        raise UsageError(f"The loss must be one of {', '.join(LOSSES)}; received {name!r}.")
    return LOSSES[name]


__all__ = [
    "LOSSES", "PerceptualLoss", "bce", "bce_logits", "get", "gradient_penalty", "kldiv", "l1", "mse", "ssim",
    "ssim_per_image", "total_variation", "wasserstein",
]
