"""How many slices a second each stage of training manages on this machine, and which of them is the one to wait for."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

_SECONDS = 3.0  # of every stage
_SIZE = 320
_REMEDIES = {
    "read": "Reading is what training waits for. Copy the data to a local disk; compressed files read faster rewritten without "
            "compression.",
    "FFT": "The Fourier transform is what training waits for. Read stored targets instead of computing them, and take a machine "
           "with more cores.",
    "pairs": "Preparing pairs is what training waits for. Store targets in the files; more cores help.",
    "training step": "The network's step is what training waits for: a GPU, a smaller preset or --crop help; faster data do "
                     "not.",
}


def measure(data: str | None = None) -> dict[str, float]:
    """Slices per second by stage: reading k-space, its FFT, whole pairs from the pipeline, steps of a small U-Net GAN."""
    from ...data import index_volumes, write_demo_volumes

    with tempfile.TemporaryDirectory() as folder:
        if data is None:
            write_demo_volumes(folder, volumes=2, slices=8, size=_SIZE)
        index = index_volumes(data or folder, "kspace")
        return {"read": _read(index), "FFT": _fft(index), "pairs": _pairs(index), "training step": _step(index)}


def advice(speeds: dict[str, float]) -> str:
    """What training waits for and what to do about it. Pairs are read and transformed on their way: where one of these takes at
    least half of their time, it is the one to name.
    """
    slowest = min(speeds, key=lambda stage: speeds[stage])
    if slowest == "pairs":
        part = min(("read", "FFT"), key=lambda stage: speeds[stage])
        slowest = part if speeds[part] <= 2 * speeds["pairs"] else slowest
    return _REMEDIES[slowest]


def _rate(work: Callable[[], int]) -> float:
    """Slices per second of a call that returns how many it did; the first call is not counted."""
    work()
    done, began = 0, time.monotonic()
    while (spent := time.monotonic() - began) < _SECONDS:
        done += work()
    return done / spent


def _read(index: Any) -> float:
    from ...data import SliceReader

    with SliceReader() as reader:
        volume = index.volumes[0]
        return _rate(lambda: len([reader.kspace(volume, i) for i in range(volume.slices)]))


def _fft(index: Any) -> float:
    import tensorflow as tf

    from ...data import SliceReader

    with SliceReader() as reader:
        kspace = tf.constant(np.stack([reader.kspace(index.volumes[0], i) for i in range(min(4, index.volumes[0].slices))]))
    transform = tf.function(lambda x: tf.abs(tf.signal.ifft2d(x)))
    return _rate(lambda: len(transform(kspace).numpy()))


def _pairs(index: Any) -> float:
    batches = iter(_dataset(index).repeat())
    return _rate(lambda: len(next(batches)[0].numpy()))


def _step(index: Any) -> float:
    from ...training import measure_step
    from ...zoo import create

    cost = measure_step(create("unet_gan", preset="small"), _dataset(index))
    return 4 / cost.seconds


def _dataset(index: Any) -> Any:
    from ...data import create_paired_dataset

    combine = None if index.volumes[0].coils is None else "rss"
    return create_paired_dataset(index, batch_size=4, mask_seed=None, target="kspace", combine=combine)
