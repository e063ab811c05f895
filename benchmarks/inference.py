"""Milliseconds per batch of the DeblurGAN generator (11.4 M parameters, 256x256x3) and of its inference form.

    python benchmarks/inference.py [--rounds 10] [--batch 1] [--size 256] [--width 64] [--blocks 9]

Both in one process, each runner's plain model and form straight after one another, round after round: a busy moment hits
both, and the ratio is the median of the rounds' ratios. The batch norms have random statistics, as after training.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from workers import median, surroundings, table

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
RUNNERS = ("predict_on_batch", "tf.function", "tf.function, XLA")


def main() -> None:
    arguments = _parser().parse_args()
    x = np.random.default_rng(0).uniform(-1, 1, (arguments.batch, arguments.size, arguments.size, 3)).astype(np.float32)
    models, seconds = _models(arguments)
    chosen = [(runner, [_runner(runner, model) for model in models]) for runner in arguments.only or RUNNERS]
    outputs = [[run(x) for run in pair] for _, pair in chosen]  # tracing and compiling, before the clock runs
    samples = [[[], []] for _ in chosen]
    for number in range(arguments.rounds):
        for (_, pair), kept in zip(chosen, samples):
            for run, sample in zip(pair, kept):
                sample.append(_seconds(lambda run=run: run(x)))
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
    size = f"{arguments.size}x{arguments.size}x3, batch {arguments.batch}, width {arguments.width}"
    print(f"DeblurGAN generator, {size}; {arguments.rounds} rounds. {surroundings('tensorflow', 'keras')}")
    print(f"Making the form took {seconds:.1f} s.\n")
    print(_report([runner for runner, _ in chosen], samples, outputs))


def _report(runners: list[str], samples: list, outputs: list) -> str:
    rows = []
    for runner, (plain, form), (expected, got) in zip(runners, samples, outputs):
        difference = f"{np.abs(got - expected).max() / np.ptp(expected):.1e}"
        ratio = median(a[0] / b[0] for a, b in zip(plain, form))
        cpu_ratio = min(cpu for _, cpu in plain) / min(cpu for _, cpu in form)
        rows.append([f"plain, {runner}", *_milliseconds(plain), "1.00", "1.00", "-"])
        rows.append([f"inference form, {runner}", *_milliseconds(form), f"{ratio:.2f}", f"{cpu_ratio:.2f}", difference])
    header = ["runner", "ms, median", "fastest", "least CPU ms", "times as fast", "by least CPU", "difference / range"]
    return table(header, rows)


def _milliseconds(sample: list[tuple[float, float]]) -> list[str]:
    walls, cpus = zip(*sample)
    return [f"{1e3 * x:.0f}" for x in (median(walls), min(walls), min(cpus))]


def _models(arguments: argparse.Namespace) -> tuple[tuple[Any, Any], float]:
    """The generator and its form, and the seconds it took to make that."""
    from tfrecon.models.deblurgan_mri import generator_model
    from tfrecon.models.inference_form import inference_form

    generator = generator_model((arguments.size, arguments.size, 3), ngf=arguments.width, n_blocks=arguments.blocks)
    rng = np.random.default_rng(1)
    for layer in generator.layers:
        if layer.name.endswith("norm"):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    start = time.perf_counter()
    form = inference_form(generator)
    return (generator, form), time.perf_counter() - start


def _runner(name: str, model: Any) -> Callable[[np.ndarray], np.ndarray]:
    if name == "predict_on_batch":
        return model.predict_on_batch
    import tensorflow as tf

    function = tf.function(lambda x: model(x, training=False), jit_compile=name.endswith("XLA"), autograph=False)
    return lambda x: function(tf.constant(x)).numpy()


def _seconds(step: Callable[[], Any]) -> tuple[float, float]:
    """Wall and processor seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - wall, time.process_time() - cpu


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--only", action="append", choices=RUNNERS, help="may be repeated")
    return parser


if __name__ == "__main__":
    sys.exit(main())
