"""SRResCycGAN's training step in plain TensorFlow, in the original's order of work: tests/srrescycgan_original.py.

Its networks are made of Keras' own layers in the package too, so the package's builders make these.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from plain_parts import vgg, without_norms
from step_start import Case

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))


def networks_of(case: Case) -> list[keras.Model]:
    """G_HR, G_LR, D_HR, D_LR."""
    from tfrecon.models import srrescycgan as models

    small, large = (case.side // 4,) * 2 + (3,), (case.side,) * 2 + (3,)
    built = [models.Generator_HR(small), models.Generator_LR(large), models.Discriminator_HR(large),
             models.Discriminator_LR(small)]
    return built if case.norms else [without_norms(model) for model in built]


def build(case: Case) -> tuple[list[keras.Model], Callable[..., Any]]:
    """(the networks and the VGG, the step on a small and a large image: its losses, see the original)."""
    import srrescycgan_original as original

    networks, features = networks_of(case), vgg((2, 2, 3))
    optimizers = [keras.optimizers.Adam(1e-4) for _ in networks]
    for optimizer, network in zip(optimizers, networks):
        optimizer.build(network.trainable_variables)

    @tf.function(jit_compile=case.jit)
    def step(small: Any, large: Any) -> Any:
        d_loss, g_loss, *_ = tf.unstack(original.train_step(networks, optimizers, features, small, large))
        return g_loss, d_loss

    return [*networks, features], step
