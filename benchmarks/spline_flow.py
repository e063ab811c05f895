"""Seconds of the spline flow: log_prob, inverse, and a gradient step of the inverse problem, next to plainer forms.

    python benchmarks/spline_flow.py [--rounds 5] [--hidden 128] [--steps 4] [--batch 8] [--pictures 15]

A flow of four levels for 80x64 pictures. "Layer by layer, eager" calls tfrecon's own layers one after the other without a
graph, activation norm, 1x1 convolution and triangular inverses each by itself; PyTorch is the same flow in its usual form
(`torch_flow.py`), eager as the original, which also computes the gradients of the weights that its search does not use;
"weights frozen" does not. The gradient step is one of the search for latents, eight coils: all pictures in one
batch, or one after the other as the original. All alternatives take turns; both sides have the allocator told to keep memory.
"""

from __future__ import annotations

import argparse
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

SHAPE, COILS = (80, 64), 8
VARIANTS = ("tfrecon", "tfrecon, XLA", "layer by layer, eager", "PyTorch, eager", "PyTorch, eager, weights frozen")
PARTS = ("log_prob", "inverse", "gradient, one batch", "gradient, one by one")


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.worker:
        serve(lambda: _prepare(arguments))
        return
    names = [n for n in VARIANTS if not n.startswith("PyTorch") or installed("torch")]
    options = [f"--{k}={getattr(arguments, k)}" for k in ("hidden", "steps", "batch", "pictures")]
    rows = []
    for part in PARTS:
        workers = [Worker(__file__, name, f"--part={part}", *options,
                          environment=MALLOC_ENVIRONMENT | (PASSIVE_WAITING if "PyTorch" in name else {}))
                   for name in names if _has(name, part)]
        in_turns(workers, arguments.rounds)
        base = {w.name: median(cpu for cpu, _ in w.samples) for w in workers}
        for worker in workers:
            cpu, wall = (median(sample[i] for sample in worker.samples) for i in (0, 1))
            ratios = [f"{cpu / base[name]:.2f}" if name in base else "-" for name in VARIANTS[2:]]
            rows.append([f"{part}: {worker.name}", f"{cpu:.3f}", f"{wall:.3f}", *ratios])
            worker.stop()
    size = f"{arguments.steps} steps a level, {arguments.hidden} hidden channels, batch {arguments.batch}"
    print(f"Flow of 80x64, {size}, {arguments.pictures} pictures. {surroundings('tensorflow', 'keras', 'torch')}\n")
    print(table(["variant", "CPU s, median", "wall s", *(f"CPU / {name}" for name in VARIANTS[2:])], rows))
    if not installed("torch"):
        print(f"\nPyTorch: {TORCH_HINT}")


def _has(name: str, part: str) -> bool:
    """Whether a part is measured in this form."""
    gradient = part.startswith("gradient")
    return not (gradient and name == "layer by layer, eager" or not gradient and name.endswith("frozen"))


def _prepare(arguments: argparse.Namespace) -> tuple[None, Callable[[], tuple[float, float]]]:
    rng = np.random.default_rng(0)
    count = arguments.pictures if arguments.part.startswith("gradient") else arguments.batch
    data = {
        "x": rng.uniform(0, 16, (count, *SHAPE, 1)).astype("float32"),
        "z": rng.normal(size=(count, SHAPE[0] * SHAPE[1])).astype("float32"),
        "maps": (rng.normal(size=(count, COILS, *SHAPE, 2)).astype("float32") / 3).view("complex64")[..., 0],
        "mask": np.broadcast_to(rng.uniform(size=SHAPE) < 0.2, (count, *SHAPE)).astype("float32"),
    }
    data["kspace"] = (np.fft.fft2(data["maps"] * data["x"][:, None, ..., 0] / 16, norm="ortho")
                      * data["mask"][:, None]).astype("complex64")
    step = (_torch if "PyTorch" in arguments.worker else _keras)(arguments, data)
    step()
    step()
    return None, lambda: _seconds(step)


def _keras(arguments: argparse.Namespace, data: dict[str, np.ndarray]) -> Callable[[], Any]:
    import tensorflow as tf

    from tfrecon.models.spline_flow import spline_flow_model

    flow = spline_flow_model((*SHAPE, 1), 4, arguments.steps, arguments.hidden)
    jit = arguments.worker == "tfrecon, XLA"
    x, z = tf.constant(data["x"]), tf.constant(data["z"])
    if arguments.worker == "layer by layer, eager":
        return (lambda: _one_by_one(flow, x)) if arguments.part == "log_prob" else lambda: _one_by_one_back(flow, z)
    prepared = flow.prepared()
    if arguments.part in ("log_prob", "inverse"):
        given = x if arguments.part == "log_prob" else z
        compiled = tf.function(getattr(prepared, arguments.part), jit_compile=jit)
        return lambda: tf.nest.map_structure(lambda t: t.numpy(), compiled(given))
    return _gradient(arguments, data, prepared, jit)


def _gradient(arguments: argparse.Namespace, data: dict[str, np.ndarray], flow: Any, jit: bool) -> Callable[[], Any]:
    import tensorflow as tf

    from tfrecon.reconstruction.flow_prior import FlowPriorSettings, _adam_step, _objective

    settings = FlowPriorSettings(centered=False)
    inputs = {"kspace": data["kspace"], "sens_maps": data["maps"], "mask": data["mask"]}
    together = arguments.part == "gradient, one batch"
    groups = [slice(None)] if together else [slice(i, i + 1) for i in range(len(data["z"]))]
    # One function for all pictures, traced once: what differs is given.
    objective = lambda given: _objective(given, flow, settings)  # noqa: E731

    @tf.function(jit_compile=jit)
    def step(z: Any, first: Any, second: Any, number: Any, kspace: Any, maps: Any, mask: Any) -> Any:
        given = {"kspace": kspace, "sens_maps": maps, "mask": mask}
        return _adam_step(objective(given), settings.learning_rate)(z, first, second, number)

    parts = []
    for group in groups:
        z = tf.constant(data["z"][group])
        parts.append((z, tf.zeros_like(z), tf.zeros_like(z), tf.constant(1.0),
                      *(tf.constant(inputs[name][group]) for name in ("kspace", "sens_maps", "mask"))))
    return lambda: [step(*part)[1].numpy() for part in parts]


def _one_by_one(flow: Any, x: Any) -> Any:
    """log_prob without a graph and without merging."""
    from keras import ops

    from tfrecon.models.spline_flow import _flat, log_normal

    x, total = flow.preprocess.forward(x)
    parts = []
    for level, (steps, last) in enumerate(zip(flow.steps, flow.last_maps)):
        x, _ = flow.squeeze.forward(x)
        for layer in (*(one for s in steps for one in (s.actnorm, s.linear, s.coupling)), last):
            x, log = layer.forward(x)
            total += log
        if level < len(flow.steps) - 1:
            parts.append(_flat(x[..., : x.shape[-1] // 2]))
            x = x[..., x.shape[-1] // 2 :]
    return (total + log_normal(ops.concatenate([*parts, _flat(x)], 1))).numpy()


def _one_by_one_back(flow: Any, z: Any) -> Any:
    """inverse without a graph, every layer's own inverse computed anew."""
    import tensorflow as tf

    x, total, end = None, 0.0, flow.latent_size
    for level in reversed(range(len(flow.steps))):
        height, width, channels = flow.sizes[level]
        given = channels if x is None else channels // 2
        start = end - height * width * given
        part = tf.transpose(tf.reshape(z[:, start:end], (-1, given, height, width)), (0, 2, 3, 1))
        x, end = part if x is None else tf.concat([part, x], -1), start
        layers = [*(one for s in flow.steps[level] for one in (s.actnorm, s.linear, s.coupling)), flow.last_maps[level]]
        for layer in reversed(layers):
            x, log = layer.inverse(x)
            total += log
        x, _ = flow.squeeze.inverse(x)
    x, log = flow.preprocess.inverse(x)
    return x.numpy(), (total + log).numpy()


def _torch(arguments: argparse.Namespace, data: dict[str, np.ndarray]) -> Callable[[], Any]:
    import torch
    from torch_flow import Flow

    torch.set_num_threads(2)
    torch.manual_seed(0)
    flow = Flow(SHAPE, 4, arguments.steps, arguments.hidden).eval().requires_grad_(arguments.worker != VARIANTS[4])
    x, z = torch.from_numpy(data["x"][..., 0])[:, None], torch.from_numpy(data["z"])
    if arguments.part in ("log_prob", "inverse"):
        def call() -> Any:
            with torch.no_grad():
                return flow.log_prob(x) if arguments.part == "log_prob" else flow.inverse(z)
        return call
    maps, mask, kspace = (torch.from_numpy(np.ascontiguousarray(data[name])) for name in ("maps", "mask", "kspace"))
    together = arguments.part == "gradient, one batch"
    groups = [slice(None)] if together else [slice(i, i + 1) for i in range(len(z))]
    latents = [z[group].clone().requires_grad_() for group in groups]
    optimizers = [torch.optim.Adam([latent], 1.33) for latent in latents]

    def gradient() -> None:
        for group, latent, optimizer in zip(groups, latents, optimizers):
            optimizer.zero_grad()
            image = flow.inverse(latent)[0][:, 0] / 16
            gap = torch.fft.fft2(maps[group] * image[:, None], norm="ortho") * mask[group][:, None] - kspace[group]
            loss = (gap.real**2 + gap.imag**2).sum() / COILS + 0.002899 * torch.linalg.norm(latent, dim=1).sum()
            loss.backward()
            optimizer.step()

    return gradient


def _seconds(step: Callable[[], Any]) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    step()
    return time.process_time() - cpu, time.perf_counter() - wall


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("rounds", 5), ("hidden", 128), ("steps", 4), ("batch", 8), ("pictures", 15)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--part", default=PARTS[0])
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
