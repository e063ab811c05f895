"""Milliseconds per image of exported generators (SavedModel, ONNX) beside `predict` of the trainer they came from.

    python benchmarks/serving.py [--rounds 5] [--size 128] [--models unet_gan ...]

The generators on images as published (pix2pix with seven halvings, for 128x128), one image of --size (a quarter of it for
super-resolution), on the processor.
The three take turns in one process, the same input; the ratio is the median of the rounds' ratios to `predict`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from workers import installed, median, surroundings, table

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
OPTIONS = {"unet_gan": {}, "deblurgan_mri": {"content": "l1"}, "ct_deblur": {"content": "l1"}, "pix2pix": {"num_downs": 7},
           "srrescycgan": {"preset": "content"}, "srresdnet": {}}


def main() -> None:
    arguments = _parser().parse_args()
    rows = []
    for name in arguments.models:
        with tempfile.TemporaryDirectory() as folder:
            runners, shape = _runners(name, arguments.size, Path(folder))
            rows += _measured(name, runners, shape, arguments.rounds)
        print(name, file=sys.stderr)
    size = f"One image of {arguments.size}x{arguments.size}, {arguments.rounds} rounds."
    print(f"{size} {surroundings('tensorflow', 'keras', 'onnxruntime')}\n")
    print(table(["network", "runner", "ms, median", "time / predict", "difference / range"], rows))


def _runners(name: str, size: int, folder: Path) -> tuple[dict[str, Callable], tuple]:
    import keras
    import tensorflow as tf

    from tfrecon import create
    from tfrecon.exporting.formats import write

    keras.utils.set_random_seed(0)
    trainer = create(name, **OPTIONS[name])
    side = size // 4 if name.startswith("srres") else size
    shape = (1, side, side, trainer.generator.input_shape[-1])
    served = trainer.served()
    saved = tf.saved_model.load(str(write("saved_model", served, folder)))
    found = {"predict": lambda x: np.asarray(trainer.predict(x, verbose=0)),
             "SavedModel": lambda x: next(iter(saved.signatures["serving_default"](image=tf.constant(x)).values())).numpy()}
    if installed("onnxruntime") and installed("tf2onnx"):
        import onnxruntime

        unchecked = trainer.served(checked=False)
        path = write("onnx", unchecked, folder, unchecked.signature())
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        found["ONNX"] = lambda x: session.run(None, {"image": x})[0]
    return found, shape


def _measured(name: str, runners: dict[str, Callable], shape: tuple, rounds: int) -> list[list[str]]:
    x = np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32)
    answers = {runner: call(x) for runner, call in runners.items()}  # tracing, before the clock runs
    seconds: dict[str, list[float]] = {runner: [] for runner in runners}
    for _ in range(rounds):
        for runner, call in runners.items():
            began = time.perf_counter()
            call(x)
            seconds[runner].append(time.perf_counter() - began)
    expected, rows = answers["predict"], []
    for runner, took in seconds.items():
        ratio = median(a / b for a, b in zip(took, seconds["predict"]))
        gap = np.abs(answers[runner] - expected).max() / np.ptp(expected)
        rows.append([name, runner, f"{1000 * median(took):.0f}", f"{ratio:.2f}", f"{gap:.1e}"])
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--models", nargs="+", default=list(OPTIONS), choices=list(OPTIONS))
    return parser


if __name__ == "__main__":
    main()
