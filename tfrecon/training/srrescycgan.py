"""Training of SRResCycGAN (seed 002): two generators, to and from four times the size, and two critics in a cycle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from ..errors import UsageError
from ..layers import BilinearUpSampling2D
from ..models import srrescycgan as networks
from .by_hand import Twins, twin_of
from .gan import content_function, serializable
from .linear_ends import enlarging_twin
from .srrescycgan_parts import FACTOR, WEIGHTS, adam_opt, as_channels_of, check_weights, default_losses
from .srrescycgan_step import CycleStep

_NETWORKS = ("G_HR", "G_LR", "D_HR", "D_LR")


@keras.saving.register_keras_serializable(package="tfrecon")
class SRResCycGAN(CycleStep):
    """Super-resolution by four under five losses; `call` is G_HR.

    One step on a batch (small, large): the fakes G_HR(small) and G_LR(large), the cycles G_HR(G_LR(large)) and
    G_LR(G_HR(small)) and every critic's score are computed ONCE, with the weights before the step, and serve both sides:
    the critics take a step on half of BCE(real, 1) + BCE(fake, 0), the generators one on the weighted sum of their losses.

    Losses of the generators, means over everything: perceptual (VGG19 block3_conv3 of large target and fake), adversarial
    (BCE of both fakes against 1), total_variation (`losses.total_variation`), content (mean absolute error of the large
    fake), cyclic (that of both cycles), identity (that of G_LR of the enlarged small image; the original's idea, which
    cannot be had as it was written, for want of a change of size). A loss of weight 0 is not computed and logged as 0;
    without the adversarial one the critics rest, and networks no loss reaches are left as they are.

    Args:
        G_HR, G_LR, D_HR, D_LR: as `models.srrescycgan` builds them; None: the published network, D_HR for large images of
            320x320, the others for any size.
        lambda_cyc, lambda_content: 10 and 5.
        lambda_perceptual, lambda_adversarial, lambda_total_variation: 1 each.
        lambda_identity: 0.
        low_memory: take a step's losses one after the other, so that no more than one network's pass is kept at a time. The
            same numbers for less than half the original's memory; the fakes are computed twice, as the original does.

    Value range: images in [0, 255], 255 being the volume's maximum: the outputs are clipped there, VGG expects it, and on
        fastMRI's raw values (1e-4) nothing is learned. Grey images (one channel) are repeated for networks with three.
    Logs: g_loss, d_loss, perceptual_loss, adversarial_loss, total_variation_loss, content_loss, cyclic_loss (identity_loss),
        running means; the original calls them "Total generator loss", "Total discriminator loss", "Perceptual loss" and so
        on, and shows the last batch's. Losses are logged without their weights.
    Reference: JanPanjan/SRResCycGAN_MRI (seed 002) src/SRResCycGAN.py, src/losses.py.
    Departures: no forward pass is computed twice, and the networks are differentiated by hand where that is cheaper, G_HR's
        linear layers taken together (same numbers but for rounding, see `by_hand`, `linear_ends`); validation gives val_ssim,
        val_psnr and val_l1 instead of two training losses.
    """

    _optimizer_names = ("g_hr_optimizer", "d_hr_optimizer", "g_lr_optimizer", "d_lr_optimizer")
    _expected_range = (1.0, 1e4)
    _range_advice = ("SRResCycGAN expects the maximum of a volume to be 255. Use create_paired_dataset with task "
                     '"superres" and value_range="volume", or multiply the images yourself and keep the factor.')

    def __init__(
        self,
        G_HR: keras.Model | None = None,
        G_LR: keras.Model | None = None,
        D_HR: keras.Model | None = None,
        D_LR: keras.Model | None = None,
        lambda_cyc: float = 10.0,
        lambda_content: float = 5.0,
        lambda_perceptual: float = 1.0,
        lambda_adversarial: float = 1.0,
        lambda_total_variation: float = 1.0,
        lambda_identity: float = 0.0,
        low_memory: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        any_size = (None, None, 3)
        self.G_HR = networks.Generator_HR(any_size) if G_HR is None else G_HR
        self.G_LR = networks.Generator_LR(any_size) if G_LR is None else G_LR
        self.D_HR = networks.Discriminator_HR() if D_HR is None else D_HR
        self.D_LR = networks.Discriminator_LR(any_size) if D_LR is None else D_LR
        self.lambda_cyc, self.lambda_content = float(lambda_cyc), float(lambda_content)
        self.lambda_perceptual, self.lambda_adversarial = float(lambda_perceptual), float(lambda_adversarial)
        self.lambda_total_variation, self.lambda_identity = float(lambda_total_variation), float(lambda_identity)
        check_weights({attribute: getattr(self, attribute) for attribute in WEIGHTS.values()})
        self.low_memory = bool(low_memory)
        self.logged_losses = [name for name in WEIGHTS if name != "identity" or self.lambda_identity]
        self.train_metrics = [keras.metrics.Mean(name=f"{name}_loss") for name in ("g", "d", *self.logged_losses)]
        self.enlarge = BilinearUpSampling2D(FACTOR, name="enlarge", dtype=self.variable_dtype)
        self.enlarge.build(self.G_HR.input_shape)
        self(keras.Input(self.G_HR.input_shape[1:]))
        self._twins = Twins({name: getattr(self, name) for name in _NETWORKS},
                            lambda model: (enlarging_twin if model is self.G_HR else twin_of)(model))

    def weight_of(self, loss: str) -> float:
        """The weight of a loss by its name in the logs (without `_loss`)."""
        return getattr(self, WEIGHTS[loss])

    def compile(
        self,
        g_hr_optimizer: Any = None,
        d_hr_optimizer: Any = None,
        g_lr_optimizer: Any = None,
        d_lr_optimizer: Any = None,
        losses: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Take four optimizers and, where they are to differ, the losses.

        Args:
            g_hr_optimizer, d_hr_optimizer, g_lr_optimizer, d_lr_optimizer: Keras optimizers, one object for each network;
                None: `adam_opt()`.
            losses: replaces losses by name: adversarial (labels, logits), cyclic, content, perceptual, total_variation
                (y_true, y_pred). Values are names in `losses.LOSSES`, `PerceptualLoss` or other functions; of those, only
                names and objects Keras can serialise survive `save`.
            kwargs: `jit_compile`, `run_eagerly`, `steps_per_execution` of Keras.
        """
        given, published = dict(losses or {}), default_losses()
        if unknown := set(given) - set(published):
            raise UsageError(f"Expected losses named {', '.join(published)}; received {', '.join(sorted(unknown))}.")
        self.loss_functions = published | {name: content_function(loss) for name, loss in given.items()}
        optimizers = (g_hr_optimizer, d_hr_optimizer, g_lr_optimizer, d_lr_optimizer)
        optimizers = [adam_opt() if optimizer is None else optimizer for optimizer in optimizers]
        if len({id(optimizer) for optimizer in optimizers}) < len(optimizers):
            raise UsageError("Expected one optimizer object for each network, received the same one twice.")
        self.compile_optimizers(dict(zip(self._optimizer_names, optimizers)), **kwargs)
        if given:
            self._compile_arguments["losses"] = {name: serializable(loss) for name, loss in given.items()}

    @property
    def g_hr_optimizer(self) -> Any:
        return self.optimizer

    @property
    def generator(self) -> keras.Model:
        """G_HR, the network behind `call`, under the name it has in the other systems."""
        return self.G_HR

    def network_of(self, optimizer_name: str) -> keras.Model:
        """The network an optimizer trains: G_HR for "g_hr_optimizer"."""
        return getattr(self, optimizer_name.removesuffix("_optimizer").upper())

    def variables_of(self, optimizer_name: str) -> list:
        return self.network_of(optimizer_name).trainable_variables

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.full_precision(self.G_HR(as_channels_of(self.G_HR, inputs), training=training))

    def check_channels(self, x: Any) -> None:
        wanted = self.G_HR.input_shape[-1]
        if x.shape[-1] not in (1, wanted):
            raise ValueError(f"predict takes images with 1 or {wanted} channels, received shape {x.shape}.")

    def losses_in_use(self) -> list:
        names = {"content" if name == "identity" else name for name in WEIGHTS if self.weight_of(name)}
        return [self.loss_functions[name] for name in sorted(names)]

    def get_config(self) -> dict[str, Any]:
        own = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in _NETWORKS}
        return {**super().get_config(), **own, **{name: getattr(self, name) for name in (*WEIGHTS.values(), "low_memory")}}
