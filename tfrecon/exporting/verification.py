"""Compares an exported file with the answers in a golden file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .golden import Case
from .runners import run


@dataclass(frozen=True)
class Drift:
    """How far one case is off.

    Attributes:
        shape: of the first input.
        largest: the largest absolute difference; infinite where the shapes differ or the answer is not finite.
        scale: the largest magnitude expected.
    """

    shape: tuple[int, ...]
    largest: float
    scale: float

    def within(self, tolerance: float) -> bool:
        """Whether the difference is at most `tolerance` times the scale (times 1 where all is 0)."""
        return self.largest <= tolerance * (self.scale or 1.0)


def compare(path: Any, cases: list[Case]) -> list[Drift]:
    """The drift of every case; `path` as in `run`.

    Raises:
        As `run`.
    """
    return [_drift(case, answer) for case, answer in zip(cases, run(path, [case.inputs for case in cases]), strict=True)]


def _drift(case: Case, answer: np.ndarray) -> Drift:
    shape = next(iter(case.inputs.values())).shape
    scale = float(np.abs(case.output).max(initial=0.0))
    if answer.shape != case.output.shape or not np.isfinite(answer).all():
        return Drift(shape, float("inf"), scale)
    return Drift(shape, float(np.abs(answer.astype(np.float64) - case.output).max(initial=0.0)), scale)
