"""Seconds and peak memory of MoDL, forward and one training step, next to the same loop in plain PyTorch.

    python benchmarks/unrolled_step.py [--repeats 3] [--forward] [--size 256] [--coils 8] [--features 64]

Four unrolls, ten iterations of conjugate gradient, `resnet_denoiser` at its defaults, batch 1. One child at a time: every
repeat starts each variant afresh; it takes its steps after two that trace and compile. Memory is the child's peak above what
it held once the frameworks were imported. Both sides have the allocator told to keep memory.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from workers import MALLOC_ENVIRONMENT, PASSIVE_WAITING, TORCH_HINT, Worker, installed, median, serve, surroundings, table

FORM = "tfrecon, inference form"
VARIANTS = {"PyTorch": None, "tfrecon": False, "tfrecon, XLA": True, FORM: False}  # name -> jit_compile


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.worker:
        serve(lambda: _prepare(arguments))
        return
    names = [n for n in VARIANTS if (n != "PyTorch" or installed("torch")) and (not arguments.only or n in arguments.only)]
    options = [f"--{k}={getattr(arguments, k)}" for k in ("size", "coils", "features")]
    found: dict[tuple[str, str], list] = {}
    for number in range(arguments.repeats):
        for name in names:
            for part in ("forward",) if name == FORM or arguments.forward else ("forward", "training"):
                environment = MALLOC_ENVIRONMENT | (PASSIVE_WAITING if name == "PyTorch" else {})
                worker = Worker(__file__, name, f"--part={part}", *options, environment=environment)
                for _ in range(arguments.steps):
                    worker.measure()
                found.setdefault((name, part), []).append((worker.samples, worker.stop() - worker.start))
                print(f"repeat {number + 1}: {name}, {part}: {found[name, part][-1]}", file=sys.stderr)
    size = f"{arguments.size}x{arguments.size}, {arguments.coils} coils, {arguments.features} features"
    print(f"MoDL, {size}. {surroundings('tensorflow', 'keras', 'torch')}\n")
    print(_report(found))


def _report(found: dict[tuple[str, str], list]) -> str:
    rows = []
    for (name, part), runs in found.items():
        cpu, wall = (median(step[i] for steps, _ in runs for step in steps) for i in (0, 1))
        reference = found.get(("PyTorch", part))
        ratio = f"{cpu / median(s[0] for steps, _ in reference for s in steps):.2f}" if reference else "-"
        rows.append([f"{name}, {part}", f"{cpu:.2f}", ratio, f"{wall:.2f}", f"{median(peak for _, peak in runs):.0f}"])
    if not installed("torch"):
        rows.append([f"PyTorch: {TORCH_HINT}", *"----"])
    return table(["variant", "CPU s, median", "ratio", "wall s", "peak MiB above imports"], rows)


def _prepare(arguments: argparse.Namespace) -> tuple[float, Callable[[], tuple[float, float]]]:
    rng = np.random.default_rng(0)
    shape = (1, arguments.coils, arguments.size, arguments.size)
    maps = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    maps /= np.sqrt((np.abs(maps) ** 2).sum(1, keepdims=True))
    mask = np.broadcast_to(rng.random(arguments.size) < 0.25, (1, *shape[2:])).astype(np.float32)
    image = (rng.normal(size=(1, *shape[2:])) + 1j * rng.normal(size=(1, *shape[2:]))).astype(np.complex64)
    kspace = (np.fft.fft2(maps * image[:, None], norm="ortho") * mask[:, None]).astype(np.complex64)
    make = _torch if arguments.worker == "PyTorch" else _keras
    start, step = make(arguments, kspace, maps, mask, image)
    step()
    step()
    return start, lambda: _seconds(step)


def _keras(arguments: argparse.Namespace, kspace: Any, maps: Any, mask: Any, image: Any) -> tuple[float, Callable]:
    import keras
    import tensorflow as tf

    from tfrecon.models import unrolled
    from tfrecon.training import UnrolledRecon

    start = _peak()
    jit = VARIANTS[arguments.worker]
    keras.utils.set_random_seed(0)
    model = unrolled.MoDL(unrolled.resnet_denoiser(arguments.features), cg_eps=0.0, centered=False)
    inputs = {name: tf.constant(x) for name, x in (("kspace", kspace), ("sens_maps", maps), ("mask", mask))}
    if arguments.worker == FORM:
        model = model.inference_form()
    if arguments.part == "forward":
        function = tf.function(lambda x: model(x), jit_compile=jit)
        return start, lambda: function(inputs).numpy()
    trainer = UnrolledRecon(model)
    trainer.compile(jit_compile=jit)
    iterator = iter(tf.data.Dataset.from_tensors((inputs, image)).repeat())
    trainer.make_train_function()
    return start, lambda: float(trainer.train_function(iterator)["loss"])


def _torch(arguments: argparse.Namespace, kspace: Any, maps: Any, mask: Any, image: Any) -> tuple[float, Callable]:
    import torch
    from torch_modl import MoDL

    start = _peak()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    model = MoDL(arguments.features)
    inputs, truth = [torch.from_numpy(np.ascontiguousarray(x)) for x in (kspace, maps, mask)], torch.from_numpy(image)

    def forward() -> Any:
        with torch.no_grad():
            return model(*inputs)

    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def train() -> Any:
        optimizer.zero_grad()
        difference = model(*inputs) - truth
        (difference.real**2 + difference.imag**2).sum().backward()
        optimizer.step()

    return start, forward if arguments.part == "forward" else train


def _seconds(step: Callable[[], Any]) -> tuple[float, float]:
    """Processor and wall seconds of one step."""
    cpu, wall = time.process_time(), time.perf_counter()
    step()
    return time.process_time() - cpu, time.perf_counter() - wall


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--forward", action="store_true", help="the forward pass only")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--coils", type=int, default=8)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3, help="fresh children of every variant")
    parser.add_argument("--steps", type=int, default=3, help="measured steps of each child")
    parser.add_argument("--only", action="append", choices=list(VARIANTS), help="may be repeated")
    parser.add_argument("--part", default="forward", help=argparse.SUPPRESS)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
