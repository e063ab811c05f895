"""The training steps of tfrecon's own classes, as `fit` runs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from step_start import Case

import tfrecon.losses as losses
import tfrecon.models as models
import tfrecon.training as training


def _stepping(trainer: Any, *names: str) -> Callable[..., Any]:
    """A compiled trainer's step on a batch: the losses of these names."""
    trainer.make_train_function()

    def step(*batch: Any) -> Any:
        trainer.reset_metrics()
        logs = trainer.train_function(iter([batch]))
        return [logs[name] for name in names]

    return step


def unet_gan(case: Case) -> tuple[list[keras.Model], Callable[..., Any]]:
    """(the networks, the step: g_loss, d_loss)."""
    shape = (case.side, case.side, 1)
    networks = [models.unet_gan.generator_model(shape), models.unet_gan.discriminator_model(shape)]
    trainer = training.UNetGAN(*networks, loss="bce")
    trainer.compile(jit_compile=case.jit)
    return networks, _stepping(trainer, "g_loss", "d_loss")


def srrescycgan(case: Case, low_memory: bool = False) -> tuple[list[keras.Model], Callable[..., Any]]:
    """(the networks and the VGG, the step: g_loss, d_loss)."""
    from plain_srrescycgan import networks_of

    networks = networks_of(case)
    perceptual = losses.PerceptualLoss("vgg19", "block3_conv3", preprocess="imagenet", weights=None)
    trainer = training.SRResCycGAN(*networks, low_memory=low_memory)
    trainer.compile(losses={"perceptual": perceptual}, jit_compile=case.jit)
    return [*networks, perceptual.features], _stepping(trainer, "g_loss", "d_loss")
