"""The comparison of the seed's article: a flow prior with three penalties against reconstructions that unroll."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..options import say
from ..runs import WEIGHTS
from .forms import NETWORKS

UNROLLED = {"MoDL": "modl", "DBP": "deep_basis_pursuit"}
Method = Callable[[dict[str, np.ndarray]], np.ndarray]


def methods(arguments: argparse.Namespace, flow: Any, training: Any) -> dict[str, Method]:
    """Name -> inputs to real images (N, H, W), doing nothing first.

    Args:
        flow: the trained prior. training: `PictureProblem` that the unrolled networks learn on, from its samples alone.
    """
    from ...models.unrolled import CGSense
    from ...reconstruction.flow_prior import PENALTIES

    found: dict[str, Method] = {
        "zero_filled": _zero_filled,
        "CG-SENSE": lambda inputs: np.abs(CGSense(1e-3, cg_max_iter=20)(inputs)),
    }
    for title, name in UNROLLED.items():
        found[title] = _trained(arguments, name, title, training)
    for penalty in PENALTIES:
        found[f"flow, {penalty.replace('_', ' ')}"] = _with_flow(arguments, flow, penalty)
    return found


def scores(truth: np.ndarray, images: np.ndarray) -> dict[str, float]:
    """Mean PSNR with data range 1 and mean NRMSE |x - truth| / |truth| over the pictures."""
    from ...metrics import psnr
    from ...training.unrolled_recon import nrmse

    found = {"psnr": np.array([psnr(t[None], x[None], 1.0) for t, x in zip(truth, images)]),
             "nrmse": np.asarray(nrmse(truth, images))}
    spread = {f"{name}_sd": float(values.std(ddof=1)) for name, values in found.items() if len(truth) > 1}
    return {**{name: float(values.mean()) for name, values in found.items()}, **spread, "n": len(truth)}


def _zero_filled(inputs: dict[str, np.ndarray]) -> np.ndarray:
    from ...physics.operators import Sense

    return np.abs(Sense(inputs["sens_maps"], inputs["mask"]).adjoint(inputs["kspace"]))


def _trained(arguments: argparse.Namespace, name: str, title: str, training: Any) -> Method:
    import keras
    import tensorflow as tf

    from ...zoo import create

    weights = Path(arguments.out) / NETWORKS / title / WEIGHTS
    if arguments.resume and weights.exists():
        say(f"{title}: trained already")
        found = create(name, weights=weights)
        return lambda inputs: np.abs(found.model(inputs))
    keras.utils.set_random_seed(arguments.seed)
    trainer = create(name, preset=arguments.preset, supervised=False, jit_compile=False)
    data = tf.data.Dataset.from_tensor_slices((training.inputs,)).shuffle(len(training.truth), arguments.seed)
    say(f"{title}: {arguments.epochs} epochs on the samples of {len(training.truth)} pictures")
    trainer.fit(data.batch(min(5, len(training.truth)), drop_remainder=True), epochs=arguments.epochs, verbose=0)
    _save(arguments, name, trainer, weights, training)
    return lambda inputs: np.abs(trainer.model(inputs))


def _save(arguments: argparse.Namespace, name: str, trainer: Any, path: Path, training: Any) -> None:
    """Weights with their card inside, and the card to read beside them."""
    from ...files import write_whole
    from ...report import model_card
    from ...weights import read_card, save_weights, sha256_of
    from ...zoo import record_of
    from ..export.facts import card_facts

    record = record_of(name)
    options = {**record.presets[arguments.preset], "supervised": False}
    save_weights(trainer.generator, path, {"model": name, "options": options, "scaling": "none"})
    facts = card_facts(record, read_card(path), sha256_of(path), data=training.source,
                       training={"epochs": arguments.epochs, "seed": arguments.seed, "from samples alone": True})
    write_whole(path.with_name("MODEL_CARD.md"), model_card(facts).encode())


def _with_flow(arguments: argparse.Namespace, flow: Any, penalty: str) -> Method:
    from ...reconstruction.flow_prior import PENALTIES, FlowPriorSettings, solve_with_flow

    def solve(inputs: dict[str, np.ndarray]) -> np.ndarray:
        from tqdm import tqdm

        settings = FlowPriorSettings(**PENALTIES[penalty], learning_rate=arguments.flow_rate, steps=arguments.steps,
                                     starts=arguments.starts, first=arguments.flow_start, seed=arguments.seed,
                                     jit_compile=None if arguments.jit == "auto" else arguments.jit == "on")
        with tqdm(total=settings.steps, desc=f"flow, {penalty}", disable=None) as bar:
            return np.clip(solve_with_flow(inputs, flow, settings, progress=lambda *_: bar.update()).image, 0, 1)

    return solve
