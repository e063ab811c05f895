"""Chains of linear layers for `inference_form`: which of them are better made one."""

from __future__ import annotations

import dataclasses

import numpy as np

# One convolution in place of several must save half the multiplications: it has a border to be mended, or more channels.
_WORTH = 2


@dataclasses.dataclass
class Stage:
    """One layer of a chain, padded "same": a convolution, or with a stride a transposed one, which only comes first.

    `kernel` (float64) and `bias` are the layer's own: (k, l, in, out), where transposed (k, l, out, in).
    """

    kernel: np.ndarray
    bias: np.ndarray
    stride: int = 1

    @property
    def channels(self) -> int:
        return self.kernel.shape[2 if self.stride == 1 else 3]


def cheapest(stages: list[Stage]) -> tuple[float, int]:
    """How many of the last stages are best made one, behind the multiplications that the whole chain then needs.

    The multiplications are counted for each pixel of the output, about.
    """
    if not stages:
        return 0.0, 0
    counts = [count for count in range(1, len(stages) + 1) if count <= 2 or stages[-count].stride == 1]
    return min((_multiplications(stages[-count:]) + cheapest(stages[:-count])[0], count) for count in counts)


def _multiplications(stages: list[Stage]) -> float:
    first, filters = stages[0], len(stages[-1].bias)
    sizes = np.sum([stage.kernel.shape[:2] for stage in stages], axis=0) - len(stages) + 1
    if len(stages) == 1:
        return np.prod(sizes) * first.channels * filters / first.stride**2
    channels = first.channels if first.stride == 1 else 4 * first.channels + 1  # see OverhangChannels
    return _WORTH * np.prod(-(-sizes // first.stride)) * channels * filters
