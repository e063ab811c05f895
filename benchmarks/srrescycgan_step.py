"""Processor seconds and peak memory of a full-size SRResCycGAN step, next to the original's order of work.

    python benchmarks/srrescycgan_step.py [--jit] [--repeats 3] [--batch 2] [--size 320] [--filters 64] [--vgg FILE]

The original's order (tests/srrescycgan_original.py) runs every network three times under two tapes and differentiates the
generators' loss twice. Both sides have the same layers and the same allocator settings. A step needs many gigabytes, so
there is never more than one child: every repeat starts each variant afresh, one after the other, and takes its steps after
one that traces and compiles. Memory is the child's peak above what it held once the frameworks were imported.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workers import Worker, median, serve, surroundings, table

ORIGINAL, SHARED, LEAN = "original's order", "SRResCycGAN", "SRResCycGAN, low_memory"
TESTS = Path(__file__).resolve().parents[1] / "tests"


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.worker:
        serve(lambda: _prepare(arguments))
        return
    names = [name for name in (ORIGINAL, SHARED, LEAN) if not arguments.only or name in arguments.only]
    found: dict[str, list[tuple[list, float]]] = {name: [] for name in names}
    for number in range(arguments.repeats):
        for name in names:
            found[name].append(_in_a_child(name, arguments))
            print(f"repeat {number + 1} of {arguments.repeats}: {name} {found[name][-1]}", file=sys.stderr)
    small = arguments.size // 4
    size = f"{small}x{small} to {arguments.size}x{arguments.size}, batch {arguments.batch}, {arguments.filters} filters"
    print(f"SRResCycGAN step, {size}, {'XLA' if arguments.jit else 'graph'}. {surroundings('tensorflow', 'keras')}\n")
    print(_report(found))


def _in_a_child(name: str, arguments: argparse.Namespace) -> tuple[list, float]:
    """([(processor, wall) seconds of each step], peak MiB above the imported frameworks)."""
    options = [f"--{k}={getattr(arguments, k)}" for k in ("batch", "size", "filters", "vgg") if getattr(arguments, k)]
    worker = Worker(__file__, name, *options, *(["--jit"] if arguments.jit else []))
    for _ in range(arguments.steps):
        worker.measure()
    return worker.samples, worker.stop() - worker.start


def _report(found: dict[str, list[tuple[list, float]]]) -> str:
    cpu, wall = ({name: median(step[i] for steps, _ in runs for step in steps) for name, runs in found.items()} for i in (0, 1))
    memory = {name: median(peak for _, peak in runs) for name, runs in found.items()}
    rows = [[name, f"{cpu[name]:.1f}", _ratio(cpu, name), f"{wall[name]:.1f}", f"{memory[name]:.0f}", _ratio(memory, name)]
            for name in found]
    return table(["variant", "CPU s/step, median", "ratio", "wall s", "peak MiB above imports", "ratio"], rows)


def _ratio(values: dict[str, float], name: str) -> str:
    return f"{values[name] / values[ORIGINAL]:.2f}" if ORIGINAL in values else "-"


def _prepare(arguments: argparse.Namespace) -> tuple[float, Callable[[], tuple[float, float]]]:
    from tfrecon.cli.process import prepare

    prepare()
    import keras
    import tensorflow as tf

    from tfrecon.training import SRResCycGAN  # noqa: F401 the child's own imports are no part of a step either

    imported = _peak()
    keras.utils.set_random_seed(0)
    sides = (arguments.size // 4, arguments.size)
    pair = [tf.random.uniform((arguments.batch, side, side, 3), 0, 255) for side in sides]
    make = _original_step if arguments.worker == ORIGINAL else _library_step
    step = make(arguments, pair)
    step()
    return imported, lambda: _seconds(step)


def _networks(arguments: argparse.Namespace) -> list:
    from tfrecon.models import srrescycgan as models

    small, large, filters = (arguments.size // 4,) * 2 + (3,), (arguments.size,) * 2 + (3,), arguments.filters
    return [models.Generator_HR(small, filters), models.Generator_LR(large, filters),
            models.Discriminator_HR(large, filters), models.Discriminator_LR(small, filters)]


def _perceptual(arguments: argparse.Namespace) -> Any:
    from tfrecon.losses import PerceptualLoss

    return PerceptualLoss("vgg19", "block3_conv3", preprocess="imagenet", weights=arguments.vgg)


def _library_step(arguments: argparse.Namespace, pair: list) -> Callable[[], Any]:
    from tfrecon.training import SRResCycGAN

    model = SRResCycGAN(*_networks(arguments), **({"low_memory": True} if arguments.worker == LEAN else {}))
    model.compile(losses={"perceptual": _perceptual(arguments)}, jit_compile=arguments.jit)
    return lambda: model.train_on_batch(*pair)


def _original_step(arguments: argparse.Namespace, pair: list) -> Callable[[], Any]:
    import tensorflow as tf

    from tfrecon.training import adam_opt

    sys.path.insert(0, str(TESTS))
    import srrescycgan_original as original

    networks = _networks(arguments)
    optimizers, features = [adam_opt() for _ in networks], _perceptual(arguments).features
    for optimizer, network in zip(optimizers, networks):
        optimizer.build(network.trainable_variables)
    step = tf.function(lambda *batch: original.train_step(networks, optimizers, features, *batch), jit_compile=arguments.jit)
    return lambda: step(*pair).numpy()


def _seconds(step: Callable[[], Any]) -> tuple[float, float]:
    """Processor and wall seconds of one step."""
    cpu, wall = time.process_time(), time.perf_counter()
    step()
    return time.process_time() - cpu, time.perf_counter() - wall


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--size", type=int, default=320, help="side of the large images, a multiple of 4 from 188 on")
    parser.add_argument("--filters", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3, help="fresh children of every variant")
    parser.add_argument("--steps", type=int, default=2, help="measured steps of each child")
    parser.add_argument("--jit", action="store_true", help="XLA on both sides")
    parser.add_argument("--vgg", help="file of VGG19 weights (h5, npz); random ones without it, which cost the same")
    parser.add_argument("--only", action="append", help="a variant's name; may be repeated")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
