"""The training steps of tfrecon's own classes, as `fit` runs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from plain_parts import without_norms
from step_start import Case, flow_start

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


def deblurgan(case: Case) -> tuple[list[keras.Model], Callable[..., Any]]:
    """(the networks and the VGG, the step: g_loss, d_loss)."""
    shape = (case.side, case.side, 3)
    networks = [models.deblurgan_mri.generator_model(shape, dropout=case.dropout),
                models.deblurgan_mri.discriminator_model(shape)]
    perceptual = losses.PerceptualLoss("vgg16", "block3_conv3", weights=None)
    trainer = training.DeblurGAN(*networks, content=perceptual)
    trainer.compile(jit_compile=case.jit)
    return [*networks, perceptual.features], _stepping(trainer, "g_loss", "d_loss")


def ct_deblur(case: Case) -> tuple[list[keras.Model], Callable[..., Any]]:
    """(the networks and the VGG, the step: g_loss, d_loss)."""
    shape = (None, None, 3)
    networks = [models.ct_deblur.generator_model(shape, dropout=case.dropout), models.ct_deblur.discriminator_model(shape)]
    networks = networks if case.norms else [without_norms(model) for model in networks]
    perceptual = losses.PerceptualLoss(pre_activation=True, weights=None)
    trainer = training.CTDeblurGAN(*networks, content=perceptual)
    trainer.compile(jit_compile=case.jit)
    return [*networks, perceptual.features], _stepping(trainer, "g_loss", "d_loss")


def modl(case: Case) -> tuple[list[keras.Model], Callable[..., Any]]:
    """(the denoiser, the step: its loss)."""
    denoiser = models.unrolled.resnet_denoiser()
    trainer = training.UnrolledRecon(models.unrolled.MoDL(denoiser, cg_eps=0.0, centered=False))
    trainer.compile(jit_compile=case.jit)
    step = _stepping(trainer, "loss")
    return [denoiser], lambda *batch: step(dict(zip(("kspace", "sens_maps", "mask"), batch)), batch[3])


def flow(case: Case) -> tuple[list, Callable[..., Any]]:
    """(nothing left to fill, the step: its loss)."""
    from tfrecon.models.spline_flow import spline_flow_model

    built = spline_flow_model()
    for steps, last, own in zip(built.steps, built.last_maps, flow_start()):
        for step, arrays in zip(steps, own[0]):
            step.actnorm.log_scale.assign(arrays["log_scale"])
            step.actnorm.shift.assign(arrays["shift"])
            step.actnorm.initialized.assign(1.0)
            step.coupling.network.set_weights(arrays["network"])
            _fill_map(step.linear, arrays)
        _fill_map(last, own[1])
    trainer = training.SplineFlowTrainer(built)
    trainer.compile(jit_compile=case.jit)
    return [], _stepping(trainer, "loss")


def _fill_map(linear: Any, arrays: dict[str, Any]) -> None:
    size = len(arrays["bias"])
    linear.lower.assign(arrays["lower"][np.tril_indices(size, -1)])
    linear.upper.assign(arrays["upper"][np.triu_indices(size, 1)])
    linear.diagonal.assign(arrays["diagonal"])
    linear.bias.assign(arrays["bias"])
    linear.permutation.assign(arrays["order"])
