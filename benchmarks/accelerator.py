"""Train and run every system for a few steps on this machine's GPU or TPU, beside its CPU: what the project never ran.

    python benchmarks/accelerator.py [--out accelerator.json] [--steps 5] [--models unet_gan modl ...]

The same small network takes the same steps on the same drawn data twice, in a process of its own each time: on the CPU without
XLA, and on the accelerator with the defaults of `create` (XLA on a GPU; under TPUStrategy on a TPU), float32 without TF32.
Printed and written are the losses of both, their largest relative difference, the difference of the trained networks' answers,
and seconds a step. Without an accelerator the second run is the CPU with XLA, which shows that the script works.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

SIDES = ("cpu", "accelerator")
MODELS = {
    "unet_gan": {"width": 8, "reconstruction_weight": 100.0},
    "deblurgan_mri": {"preset": "small", "image_shape": (64, 64, 3), "ngf": 8, "ndf": 8},
    "ct_deblur": {"preset": "small", "ngf": 8, "ndf": 8},
    "pix2pix": {"preset": "small", "ngf": 8, "ndf": 8},
    "srrescycgan": {"preset": "small", "filters": 8},
    "modl": {"preset": "small", "supervised": False},
    "deep_basis_pursuit": {"preset": "small", "supervised": False},
    "spline_flow": {"image_shape": (32, 32, 1), "levels": 2, "steps_per_level": 2, "hidden_channels": 16},
}


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.side:
        print(json.dumps(_side(arguments)))
        return
    found = {side: _worker(arguments, side) for side in SIDES}
    rows = {name: _compared(*(found[side]["models"][name] for side in SIDES)) for name in arguments.models}
    result = {"machine": {side: found[side]["machine"] for side in SIDES}, "models": rows}
    Path(arguments.out).write_text(json.dumps(result, indent=1))
    print(f"{found['cpu']['machine']['device']} against {found['accelerator']['machine']['device']}")
    for name, row in rows.items():
        print(f"{name:20}", row.get("error") or f"losses differ by {row['losses']:.1e}, answers by {row['answers']:.1e}; "
              f"{row['seconds'][0]:.3f} and {row['seconds'][1]:.3f} s a step")
    print(f"written: {arguments.out}")


def _worker(arguments: argparse.Namespace, side: str) -> dict[str, Any]:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **({"CUDA_VISIBLE_DEVICES": ""} if side == "cpu" else {})}
    command = [sys.executable, __file__, "--side", side, "--steps", str(arguments.steps), "--models", *arguments.models]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _compared(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any]:
    if "error" in one or "error" in two:
        return {"error": one.get("error") or two["error"]}
    losses = [(a[name], b[name]) for a, b in zip(one["losses"], two["losses"]) for name in a]
    answers = np.array(one["answer"]), np.array(two["answer"])
    return {"losses": max(abs(a - b) / max(abs(a), 1e-6) for a, b in losses), "of": [one["losses"], two["losses"]],
            "answers": float(np.abs(answers[0] - answers[1]).max() / np.abs(answers[0]).max()),
            "seconds": [one["seconds"], two["seconds"]]}


def _side(arguments: argparse.Namespace) -> dict[str, Any]:
    import keras
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)
    strategy, device, jit = _strategy(arguments.side)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        batches = _batches(Path(folder))
        for name in arguments.models:
            try:
                found[name] = _trained(name, batches[name], strategy, jit, arguments.steps)
            except Exception:  # one system that fails must not hide the others
                found[name] = {"error": traceback.format_exc(limit=-3)}
    machine = {"device": device, "python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__,
               "processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    return {"machine": machine, "models": found}


def _strategy(side: str) -> tuple[Any, str, Any]:
    """(how it is distributed, what it runs on, jit_compile)."""
    import tensorflow as tf

    if side == "cpu":
        return tf.distribute.get_strategy(), "CPU", False
    if os.environ.get("TPU_NAME", os.environ.get("COLAB_TPU_ADDR")):
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(tpu=os.environ.get("TPU_NAME", "local"))
        return tf.distribute.TPUStrategy(resolver), f"{resolver.num_accelerators()} TPU", "auto"
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return tf.distribute.get_strategy(), "CPU with XLA (no accelerator found)", True
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    return tf.distribute.get_strategy(), name, "auto"


def _batches(folder: Path) -> dict[str, Any]:
    """A batch of four for every model, from phantoms."""
    from tfrecon import data

    data.write_demo_volumes(folder / "mri", volumes=2, slices=4, size=64)
    data.write_demo_ct(folder / "ct", volumes=2, slices=4, size=64)
    volumes, images = data.index_volumes(folder / "mri"), data.index_images(folder / "ct", "soft_tissue")
    large = data.index_magnitudes(folder / "mri")

    def first(dataset: Any) -> Any:
        return next(iter(dataset.as_numpy_iterator()))

    masked = first(data.create_paired_dataset(volumes, batch_size=4))
    symmetric = first(data.create_paired_dataset(volumes, batch_size=4, scaling="symmetric", channels=3))
    blurred = first(data.create_paired_dataset(images, "blur", batch_size=4, patch=64))
    pictures = first(data.picture_batches(large, 4, size=(32, 32)))
    problem = data.measured_pictures(pictures[..., 0], coils=4)
    return {"unet_gan": masked, "deblurgan_mri": symmetric, "ct_deblur": blurred, "pix2pix": blurred,
            "srrescycgan": first(data.create_paired_dataset(large, "superres", batch_size=4)), "spline_flow": pictures,
            "modl": (problem.inputs,), "deep_basis_pursuit": (problem.inputs,)}


def _trained(name: str, batch: Any, strategy: Any, jit: Any, steps: int) -> dict[str, Any]:
    import keras
    import tensorflow as tf

    from tfrecon import create

    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = create(name, jit_compile=jit, **MODELS[name])
    batch = tuple(batch) if isinstance(batch, (tuple, list)) else batch
    data = tf.data.Dataset.from_tensors(batch).repeat()
    losses, took = [], []
    for _ in range(steps):
        began = time.perf_counter()
        history = model.fit(data, steps_per_epoch=1, epochs=1, verbose=0).history
        took.append(time.perf_counter() - began)
        losses.append({key: float(value[-1]) for key, value in history.items()})
    first = batch[0] if isinstance(batch, tuple) else batch
    if name == "spline_flow":
        answer = model.predict_on_batch(first / 16.0)  # 0..255 to the 4 bits of its flow
    else:
        answer = np.abs(np.asarray(model.predict_on_batch(first)))
    return {"losses": losses, "seconds": float(np.median(took[1:] or took)), "answer": np.ravel(answer)[:4096].tolist()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="accelerator.json")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
