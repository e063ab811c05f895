"""Seconds per step of two processes that train together, beside one process on the same global batch, on the same cores.

    python benchmarks/two_workers.py [--steps 12] [--rounds 3] [--models unet_gan srrescycgan]

The two share the machine's cores, half each, over loopback: what they take longer than one process is the cost of reducing the
gradients and of agreeing, not of a network between machines. One round is a run of each; the first three steps are not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time

from workers import median, surroundings, table

MODELS = {"unet_gan": ({"preset": "small"}, (128, 128, 1), 1),
          "srrescycgan": ({"preset": "small", "image_shape": (192, 192, 3)}, (192, 192, 3), 4)}
BATCH, WARM_UP = 4, 3


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.model:
        print(json.dumps(_trained(arguments.model, arguments.steps)))
        return
    rows = []
    for model in arguments.models:
        one, two = [], []
        for _ in range(arguments.rounds):
            one.append(_seconds(model, arguments.steps, 1))
            two.append(_seconds(model, arguments.steps, 2))
        ratio = median(b / a for a, b in zip(one, two))
        rows.append([model, f"{median(one):.3f}", f"{median(two):.3f}", f"{ratio:.2f}"])
        print(model, file=sys.stderr)
    print(f"Global batch {BATCH}, {arguments.steps} steps, {arguments.rounds} rounds. {surroundings('tensorflow', 'keras')}\n")
    print(table(["model", "s/step, one process", "s/step, two processes", "two / one"], rows))


def _seconds(model: str, steps: int, count: int) -> float:
    """Median seconds of a step, of so many processes; their cores are shared out."""
    ports, cores = _free_ports(count), sorted(os.sched_getaffinity(0))
    processes = []
    for index in range(count):
        mine = cores[index * len(cores) // count : (index + 1) * len(cores) // count]
        config = {"cluster": {"worker": [f"localhost:{port}" for port in ports]}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3",
                       **({"TF_CONFIG": json.dumps(config)} if count > 1 else {})}
        words = ["taskset", "-c", ",".join(map(str, mine)), sys.executable, __file__, "--model", model, "--steps", str(steps)]
        processes.append(subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))
    found = [json.loads(process.communicate(timeout=600)[0]) for process in processes]
    return max(median(each) for each in found)


def _trained(name: str, steps: int) -> list[float]:
    """Seconds of every counted step in this process."""
    from tfrecon.training import workers

    strategy = workers.workers_strategy()
    import keras
    import numpy as np
    import tensorflow as tf

    from tfrecon import create

    options, shape, reduction = MODELS[name]
    keras.utils.set_random_seed(0)
    with strategy.scope():
        trainer = create(name, jit_compile=False, **options)
    rng, (height, width, channels) = np.random.default_rng(0), shape
    large = rng.random((BATCH, *shape)).astype("float32")
    small = rng.random((BATCH, height // reduction, width // reduction, channels)).astype("float32")
    data = tf.data.Dataset.from_tensors((small, large)).repeat(steps + WARM_UP)
    moments: list[float] = []
    note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: moments.append(time.perf_counter()))
    trainer.fit(data, epochs=1, verbose=0, callbacks=[note])
    return [b - a for a, b in zip(moments[WARM_UP - 1 :], moments[WARM_UP:])]


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--model", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
