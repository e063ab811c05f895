"""What all sides of a training step start from: the case, the weights and the batch, each made from numbers alone.

TensorFlow and PyTorch list a network's arrays in the same order where its layers are in the same order. So every side fills
its own networks: the n-th array is drawn from the seed n, in Keras' shape.
"""

from __future__ import annotations

import math
import resource
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """What is measured, besides the system: `dropout` off makes losses comparable; without `norms` it is another network."""

    side: int
    batch: int
    dropout: bool = True
    norms: bool = True
    jit: bool = False


def drawn(number: int, shape: tuple[int, ...], about_one: bool = False) -> np.ndarray:
    """The array of that number: kernels of variance 2 / fan-in; vectors of standard deviation 0.1, around 0 or 1."""
    numbers = np.random.default_rng(number).standard_normal(shape, dtype=np.float32)
    if len(shape) > 1 and math.prod(shape[:-1]) > 1:
        return numbers * math.sqrt(2.0 / math.prod(shape[:-1]))
    return 0.1 * numbers + float(about_one)


def fill_keras(models: Iterable[Any]) -> None:
    """Give every weight of the models, one model behind the other, its array."""
    for number, variable in enumerate(weight for model in models for weight in model.weights):
        array = drawn(number, tuple(variable.shape), variable.name in ("gamma", "moving_variance"))
        variable.assign(np.abs(array) if variable.name == "moving_variance" else array)


def fill_torch(modules: Iterable[Any]) -> None:
    """The same for PyTorch modules whose layers are in Keras' order."""
    import torch

    number = 0
    for layer in (layer for module in modules for layer in module.modules()):
        own = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
        for name, tensor in (pair for pair in own if pair[0] != "num_batches_tracked"):
            axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(tensor.ndim, (0,))
            norm = isinstance(layer, (torch.nn.modules.batchnorm._NormBase, torch.nn.GroupNorm))
            one = name == "running_var" or norm and name == "weight"
            array = drawn(number, tuple(tensor.permute(axes).shape), one).transpose(np.argsort(axes))
            with torch.no_grad():
                tensor.copy_(torch.from_numpy(np.abs(array) if name == "running_var" else array))
            number += 1


def images(case: Case, *scaled: tuple[int, int, float, float]) -> list[np.ndarray]:
    """Images (N, H, W, C) of uniform numbers: (side, channels, lowest, highest) for each."""
    rng = np.random.default_rng(0)
    return [rng.uniform(low, high, (case.batch, side, side, channels)).astype("float32") for side, channels, low, high in scaled]


def peak() -> float:
    """The process's peak memory so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
