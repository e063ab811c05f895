"""Milliseconds per batch of a generator and of its inference form: deblurgan_mri (256x256x3) or Generator_HR (80x80x3).

    python benchmarks/inference.py [--model deblurgan_mri] [--rounds 10] [--batch 1] [--size N] [--width 64] [--blocks N]

Both in one process, each runner's plain model and form straight after one another, round after round: a busy moment hits
both, and the ratio is the median of the rounds' ratios. Biases, slopes and norms are random, as after training.
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
MODELS = {"deblurgan_mri": {"size": 256, "blocks": 9}, "Generator_HR": {"size": 80, "blocks": 5}}


def main() -> None:
    parser = _parser()
    parser.set_defaults(**MODELS[parser.parse_args().model])
    arguments = parser.parse_args()
    darkest, brightest = (0, 255) if arguments.model == "Generator_HR" else (-1, 1)
    shape = (arguments.batch, arguments.size, arguments.size, 3)
    x = np.random.default_rng(0).uniform(darkest, brightest, shape).astype(np.float32)
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
    print(f"{arguments.model}, {size}; {arguments.rounds} rounds. {surroundings('tensorflow', 'keras')}")
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
    from tfrecon.models import deblurgan_mri, srrescycgan
    from tfrecon.models.inference_form import inference_form

    shape, blocks = (arguments.size, arguments.size, 3), arguments.blocks
    if arguments.model == "Generator_HR":
        generator = srrescycgan.Generator_HR(shape, filters=arguments.width, n_blocks=blocks)
    else:
        generator = deblurgan_mri.generator_model(shape, ngf=arguments.width, n_blocks=blocks)
    rng = np.random.default_rng(1)
    for variable in generator.weights:
        if variable.name in ("gamma", "beta", "moving_mean", "moving_variance"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.name in ("bias", "alpha"):
            variable.assign(rng.uniform(-0.5, 0.5, variable.shape))
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
    parser.add_argument("--model", choices=MODELS, default="deblurgan_mri")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--size", type=int)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--blocks", type=int)
    parser.add_argument("--only", action="append", choices=RUNNERS, help="may be repeated")
    return parser


if __name__ == "__main__":
    sys.exit(main())
