"""What all sides of a training step start from: the case, the weights and the batch, each made from numbers alone.

TensorFlow and PyTorch list a network's arrays in the same order where its layers are in the same order. So every side fills
its own networks: the n-th array is drawn from the seed n, in Keras' shape.
"""

from __future__ import annotations

import math
import resource
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """What is measured, besides the system.

    `compared`: the losses are to be: no dropout, and PyTorch takes the random numbers that Keras draws from the seed 0.
    Without `norms` it is another network.
    """

    side: int
    batch: int
    compared: bool = False
    norms: bool = True
    jit: bool = False

    @property
    def dropout(self) -> float:
        """The DeblurGANs' rate."""
        return 0.0 if self.compared else 0.5

    def uniform(self, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
        """Numbers in [0, 1) for PyTorch, arrays of that shape one after the other."""
        if not self.compared:
            while True:
                yield np.random.default_rng().random(shape, dtype=np.float32)
        import keras

        seed = keras.random.SeedGenerator(0)
        while True:
            yield np.array(keras.random.uniform(shape, seed=seed))


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


def flow_start(levels: int = 4, steps: int = 10, hidden: int = 612, bins: int = 12) -> list[tuple[list[dict], dict]]:
    """For each level of the flow of the knees, 80x64, the arrays of its steps and of its last map."""
    found, channels, count = [], 4, 0
    for _ in range(levels):
        own = []
        for last in [False] * steps + [True]:
            count += 100
            arrays = {name: 0.5 * drawn(count + i, (channels,)) for i, name in enumerate(("log_scale", "shift", "bias"))}
            arrays["diagonal"] = 0.54 + 0.5 * drawn(count + 3, (channels,))
            arrays |= {name: 0.1 * drawn(count + i, (channels, channels)) for i, name in ((4, "lower"), (5, "upper"))}
            arrays["order"] = np.random.default_rng(count).permutation(channels)
            half = channels // 2
            shapes = ((3, 3, half, hidden), (1, 1, hidden, hidden), (3, 3, hidden, half * (3 * bins - 1)))
            kernels = [shape for kernel in shapes for shape in (kernel, kernel[-1:])]
            arrays["network"] = [] if last else [drawn(count + 10 + i, shape) for i, shape in enumerate(kernels)]
            own.append(arrays)
        found.append((own[:-1], own[-1]))
        channels *= 2
    return found


def images(case: Case, *scaled: tuple[tuple[int, int], int, float, float]) -> list[np.ndarray]:
    """Images (N, H, W, C) of uniform numbers: (height and width, channels, lowest, highest) for each."""
    rng = np.random.default_rng(0)
    return [rng.uniform(low, high, (case.batch, *side, channels)).astype("float32") for side, channels, low, high in scaled]


def measurement(case: Case, coils: int = 8) -> list[np.ndarray]:
    """K-space (N, coils, H, W), coil maps, mask (N, H, W) of columns at 4x and image (N, H, W), DC at index 0."""
    rng = np.random.default_rng(0)
    shape = (case.batch, coils, case.side, case.side)
    maps, image = (rng.normal(size=(2, *size)) for size in (shape, (case.batch, *shape[2:])))
    maps, image = ((real + 1j * imaginary).astype(np.complex64) for real, imaginary in (maps, image))
    maps /= np.sqrt((np.abs(maps) ** 2).sum(1, keepdims=True))
    mask = np.broadcast_to(rng.random(case.side) < 0.25, (case.batch, *shape[2:])).astype(np.float32)
    noise = rng.normal(scale=0.1, size=(2, *shape))  # without it nearly all of a loss would be rounding
    kspace = (np.fft.fft2(maps * image[:, None], norm="ortho") + noise[0] + 1j * noise[1]) * mask[:, None]
    return [kspace.astype(np.complex64), maps, mask, image]


def peak() -> float:
    """The process's peak memory so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
