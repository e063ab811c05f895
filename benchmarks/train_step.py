"""Seconds and peak memory of a U-Net GAN training step (13.4 M parameters, 320x320), next to the same step in PyTorch.

    python benchmarks/train_step.py [--rounds 5] [--batch 1] [--size 320] [--width 64]

Every variant is a process of its own; they take their steps in turns. The first call (tracing, compiling) is shown apart.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from workers import (
    MALLOC_ENVIRONMENT,
    PASSIVE_WAITING,
    TORCH_HINT,
    Worker,
    in_turns,
    installed,
    median,
    serve,
    surroundings,
    table,
)

# name: (XLA, glibc's allocator told to keep memory)
VARIANTS = {
    "tfrecon": (False, False),
    "tfrecon, malloc tuned": (False, True),
    "tfrecon, XLA": (True, False),
    "tfrecon, XLA, malloc tuned": (True, True),
}
# PyTorch has no `prepare`: environment variables do it there.
PYTORCH = {
    "PyTorch": {},
    "PyTorch, passive waiting": PASSIVE_WAITING,
    "PyTorch, passive waiting, malloc tuned": PASSIVE_WAITING | MALLOC_ENVIRONMENT,
}


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.worker:
        serve(lambda: _prepare(arguments))
        return
    names = [*VARIANTS, *(PYTORCH if installed("torch") else ())]
    options = [f"--{k}={getattr(arguments, k)}" for k in ("batch", "size", "width")]
    chosen = [n for n in names if not arguments.only or n in arguments.only]
    workers = [Worker(__file__, n, *options, environment=PYTORCH.get(n)) for n in chosen]
    in_turns(workers, arguments.rounds)
    peaks = [worker.stop() for worker in workers]
    size = f"{arguments.size}x{arguments.size}, batch {arguments.batch}, width {arguments.width}"
    print(f"U-Net GAN step, {size}. {surroundings('tensorflow', 'keras', 'torch')}\n")
    print(_report(workers, peaks))


def _report(workers: list[Worker], peaks: list[float]) -> str:
    times = {w.name: median(wall for wall, _ in w.samples) for w in workers}
    reference = min((times[n] for n in PYTORCH if n in times), default=None)
    rows = []
    for worker, peak in zip(workers, peaks):
        fastest, cpu = (min(column) for column in zip(*worker.samples))
        ratio = f"{times[worker.name] / reference:.2f}" if reference else "-"
        seconds = [f"{x:.2f}" for x in (times[worker.name], fastest, cpu)]
        rows.append([worker.name, *seconds, ratio, f"{peak:.0f}", f"{worker.start:.1f}"])
    if not installed("torch"):
        rows.append([f"PyTorch: {TORCH_HINT}", *"------"])
    header = ["variant", "s/step, median", "fastest", "least CPU s", "median / best PyTorch", "peak MiB", "first call, s"]
    return table(header, rows)


def _prepare(arguments: argparse.Namespace) -> tuple[float, Callable[[], tuple[float, float]]]:
    rng = np.random.default_rng(0)
    shape = (arguments.batch, arguments.size, arguments.size, 1)
    pair = [rng.random(shape, dtype=np.float32) for _ in range(2)]
    make = _torch_step if arguments.worker.startswith("PyTorch") else _keras_step
    step = make(pair, arguments)
    first = _seconds(step)
    step()
    return first[0], lambda: _seconds(step)


def _keras_step(pair: list[np.ndarray], arguments: argparse.Namespace) -> Callable[[], Any]:
    xla, tuned = VARIANTS[arguments.worker]
    if tuned:
        from tfrecon.cli.process import prepare

        prepare()
    import tensorflow as tf

    from tfrecon.models.unet_gan import discriminator_model, generator_model
    from tfrecon.training import UNetGAN

    shape = (arguments.size, arguments.size, 1)
    model = UNetGAN(generator_model(shape, width=arguments.width), discriminator_model(shape), loss="bce")
    model.compile("adam", jit_compile=xla)
    image, target = (tf.constant(x) for x in pair)
    return lambda: model.train_on_batch(image, target)


def _torch_step(pair: list[np.ndarray], arguments: argparse.Namespace) -> Callable[[], Any]:
    import torch
    from torch_unet_gan import Discriminator, Step, UNet

    step = Step(UNet(arguments.width), Discriminator())
    image, target = (torch.from_numpy(np.moveaxis(x, -1, 1).copy()) for x in pair)
    return lambda: step(image, target)


def _seconds(step: Callable[[], Any]) -> tuple[float, float]:
    """Wall and processor seconds of one step."""
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - wall, time.process_time() - cpu


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--only", action="append", help="a variant's name; may be repeated")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
