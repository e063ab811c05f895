"""Processor seconds and peak memory of a training step of every system, next to plain TensorFlow and to PyTorch.

    python benchmarks/training_steps.py [--systems unet_gan srrescycgan ...] [--rounds 5] [--only tfrecon --only "plain form"]

"Plain form" is the same step written from the description with Keras' layers and a tape for each network's step
(`plain_*.py`), "PyTorch" the same, eager (`torch_*.py`). Before anything is timed, all of them take two steps on the same
weights and batch, dropout off and with the same random numbers, and must show the same losses. "Norms left out" is another
network: the most that a faster norm could gain. All have the same allocator settings and waiting threads that do not spin;
they take their steps in turns. The ratios are medians over the rounds of processor seconds.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from step_start import Case, fill_keras, fill_torch, images, measurement, peak
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

OURS, PLAIN, TORCH = "tfrecon", "plain form", "PyTorch"


class System(NamedTuple):
    """A system at its faithful size, or the largest that fits."""

    case: Case
    batch: Callable[[Case], list[np.ndarray]]
    tolerances: tuple[float, float] = (1e-3, 2e-2)  # of the first step's losses, and of the second's, behind Adam's signs
    random: bool = False  # whether a step draws numbers, so that its losses must be compared apart
    instance_norms: bool = False
    more: tuple[str, ...] = ()  # further variants of ours


def _images(channels: int, low: float, high: float, *shares: float, flatness: float = 1.0) -> Callable[[Case], list[np.ndarray]]:
    """Batches of images whose heights are these shares of the case's side; `flatness` is width / height."""
    def make(case: Case) -> list[np.ndarray]:
        sides = [round(share * case.side) for share in shares]
        return images(case, *(((side, round(flatness * side)), channels, low, high) for side in sides))

    return make


SYSTEMS: Mapping[str, System] = {
    "unet_gan": System(Case(320, 1), _images(1, 0.0, 1.0, 1.0, 1.0)),
    "deblurgan": System(Case(256, 1), _images(3, -1.0, 1.0, 1.0, 1.0), random=True),
    "ct_deblur": System(Case(256, 1), _images(3, -1.0, 1.0, 1.0, 1.0), random=True, instance_norms=True),
    "srrescycgan": System(Case(320, 1), _images(3, 0.0, 255.0, 0.25, 1.0), instance_norms=True, more=("tfrecon, low_memory",)),
    "flow": System(Case(80, 9), _images(1, 0.0, 255.0, 1.0, flatness=0.8), random=True),
    "modl": System(Case(256, 1), measurement),
}


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.worker:
        serve(lambda: _prepare(arguments))
        return
    print(surroundings("tensorflow", "keras", "torch"))
    for name in arguments.systems:
        system = SYSTEMS[name]
        variants = [v for v in _variants(system) if not arguments.only or v in arguments.only]
        same = [variant for variant in variants if "norms" not in variant]
        if system.random:
            _check_losses(name, {variant: _losses_alone(name, variant, arguments) for variant in same})
        workers = [_worker(name, variant, arguments) for variant in variants]
        if not system.random:
            _check_losses(name, {worker.name: worker.start["losses"] for worker in workers if worker.name in same})
        in_turns(workers, arguments.rounds)
        peaks = [worker.stop() for worker in workers]
        case = _case(arguments, name)
        print(f"\n{name}: side {case.side}, batch {case.batch}; load average {os.getloadavg()[0]:.1f}\n")
        print(_report(workers, peaks), flush=True)


def _variants(system: System) -> list[str]:
    norms = [f"{side}, norms left out" for side in (OURS, PLAIN)] if system.instance_norms else []
    torch = [TORCH] if installed("torch") else []
    return [OURS, *system.more, f"{OURS}, XLA", PLAIN, *torch, *norms]


def _losses_alone(name: str, variant: str, arguments: argparse.Namespace) -> list[list[float]]:
    """The losses without dropout and with the random numbers that all share, from a child that is not measured."""
    worker = _worker(name, variant, arguments, "--check")
    worker.stop()
    return worker.start["losses"]


def _check_losses(name: str, found: Mapping[str, list[list[float]]]) -> None:
    """All variants show the same losses in two steps."""
    wanted, system = next(iter(found.values())), SYSTEMS[name]
    for variant, losses in found.items():
        print(f"{name}, {variant}: losses {losses}", file=sys.stderr)
        for own, first, tolerance in zip(losses, wanted, system.tolerances):
            np.testing.assert_allclose(own, first, rtol=tolerance, err_msg=f"{name}: {variant} computes something else")


def _worker(name: str, variant: str, arguments: argparse.Namespace, *options: str) -> Worker:
    options = (f"--systems={name}", *(f"--{k}={getattr(arguments, k)}" for k in ("side", "batch") if getattr(arguments, k)),
               *options)
    return Worker(__file__, variant, *options, environment=MALLOC_ENVIRONMENT | PASSIVE_WAITING)


def _report(workers: list[Worker], peaks: list[float]) -> str:
    cpu = {w.name: [sample[0] for sample in w.samples] for w in workers}
    rows = []
    for worker, most in zip(workers, peaks):
        own = cpu[worker.name]
        ratios = [f"{median(a / b for a, b in zip(own, cpu[other])):.2f}" if other in cpu else "-" for other in (PLAIN, TORCH)]
        wall = median(sample[1] for sample in worker.samples)
        rows.append([worker.name, f"{min(own):.2f}", f"{median(own):.2f}", f"{wall:.2f}", *ratios, f"{most:.0f}",
                     f"{most - worker.start['imported']:.0f}"])
    if not installed("torch"):
        rows.append([f"{TORCH}: {TORCH_HINT}", *"-------"])
    return table(["variant", "CPU s, least", "median", "wall s, median", f"CPU / {PLAIN}", f"CPU / {TORCH}", "peak MiB",
                  "of it above imports"], rows)


def _case(arguments: argparse.Namespace, name: str) -> Case:
    given = {k: getattr(arguments, k) for k in ("side", "batch") if getattr(arguments, k)}
    return replace(SYSTEMS[name].case, **given)


def _prepare(arguments: argparse.Namespace) -> tuple[dict[str, Any], Callable[[], tuple[float, float]]]:
    variant, (name,) = arguments.worker, arguments.systems
    case = replace(_case(arguments, name), compared=arguments.check, norms="norms left out" not in variant,
                   jit="XLA" in variant)
    batch = SYSTEMS[name].batch(case)
    imported, step = (_in_torch if variant == TORCH else _in_keras)(name, variant, case, batch)
    losses = [[float(value) for value in step()] for _ in range(2)]
    return {"losses": losses, "imported": imported}, lambda: _seconds(step)


def _in_keras(name: str, variant: str, case: Case, batch: list[np.ndarray]) -> tuple[float, Callable[[], Any]]:
    import own_steps
    import tensorflow as tf

    imported = peak()
    given = {"low_memory": True} if "low_memory" in variant else {}
    build = getattr(own_steps, name) if variant.startswith(OURS) else import_module(f"plain_{name}").build
    models, step = build(case, **given)
    fill_keras(models)
    tensors = [tf.constant(array) for array in batch]
    return imported, lambda: [value.numpy() for value in step(*tensors)]


def _in_torch(name: str, variant: str, case: Case, batch: list[np.ndarray]) -> tuple[float, Callable[[], Any]]:
    import torch

    torch.set_num_threads(os.cpu_count())
    imported = peak()
    modules, step = import_module(f"torch_{name}").build(case)
    fill_torch(modules)
    complex_or_flat = any(np.iscomplexobj(array) for array in batch)  # these have no channels
    tensors = [torch.from_numpy(array if complex_or_flat else np.moveaxis(array, -1, 1).copy()) for array in batch]
    return imported, lambda: step(*tensors)


def _seconds(step: Callable[[], Any]) -> tuple[float, float]:
    """Processor and wall seconds of one step."""
    cpu, wall = time.process_time(), time.perf_counter()
    step()
    return time.process_time() - cpu, time.perf_counter() - wall


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, help="another size of the images")
    parser.add_argument("--batch", type=int, help="another batch")
    parser.add_argument("--only", action="append", help="a variant's name; may be repeated")
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
