"""Training of SRResCycGAN (seed 002): two generators, to and from four times the size, and two critics in a cycle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from .. import losses
from ..errors import UsageError
from ..layers import BilinearUpSampling2D
from ..models import srrescycgan as networks
from .base import Trainer
from .gan import content_function, serializable, slice_scores

_FACTOR = 4
_GENERATORS, _CRITICS = ("g_hr_optimizer", "g_lr_optimizer"), ("d_hr_optimizer", "d_lr_optimizer")
# The generators' losses and the attributes that hold their weights.
_WEIGHTS = {
    "perceptual": "lambda_perceptual",
    "adversarial": "lambda_adversarial",
    "total_variation": "lambda_total_variation",
    "content": "lambda_content",
    "cyclic": "lambda_cyc",
    "identity": "lambda_identity",
}
# Those that the large images' generator is trained by; the others reach the small images' generator too, or alone.
_OF_G_HR, _OF_G_LR = set(_WEIGHTS) - {"identity"}, {"adversarial", "cyclic", "identity"}


def adam_opt(
    lr: float = 1e-4, b1: float = 0.9, b2: float = 0.999, decay_steps: float = 1e4, decay_rate: float = 0.5
) -> keras.optimizers.Adam:
    """Keras' Adam (epsilon 1e-7) whose rate is multiplied by `decay_rate` after every `decay_steps` steps, all at once.

    Reference: JanPanjan/SRResCycGAN_MRI (seed 002) src; its no-op `weight_decay=False` is left out.
    """
    schedule = keras.optimizers.schedules.ExponentialDecay(lr, decay_steps, decay_rate, staircase=True)
    return keras.optimizers.Adam(schedule, beta_1=b1, beta_2=b2)


@keras.saving.register_keras_serializable(package="tfrecon")
class SRResCycGAN(Trainer):
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

    Value range: images in [0, 255], 255 being the volume's maximum: the outputs are clipped there, VGG expects it, and on
        fastMRI's raw values (1e-4) nothing is learned. Grey images (one channel) are repeated for networks with three.
    Logs: g_loss, d_loss, perceptual_loss, adversarial_loss, total_variation_loss, content_loss, cyclic_loss (identity_loss),
        running means; the original calls them "Total generator loss", "Total discriminator loss", "Perceptual loss" and so
        on, and shows the last batch's. Losses are logged without their weights.
    Reference: JanPanjan/SRResCycGAN_MRI (seed 002) src/SRResCycGAN.py, src/losses.py.
    Departures: no forward pass is computed twice (same numbers); validation gives val_ssim, val_psnr and val_l1 instead of
        two training losses.
    """

    _optimizer_names = ("g_hr_optimizer", "d_hr_optimizer", "g_lr_optimizer", "d_lr_optimizer")

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
        self._check_weights()
        logged = ["g", "d", *(name for name in _WEIGHTS if name != "identity" or self.lambda_identity)]
        self.train_metrics = [keras.metrics.Mean(name=f"{name}_loss") for name in logged]
        self.test_metrics = [keras.metrics.Mean(name=name) for name in ("ssim", "psnr", "l1")]
        self.enlarge = BilinearUpSampling2D(_FACTOR, name="enlarge", dtype=self.variable_dtype)
        self(keras.Input(self.G_HR.input_shape[1:]))

    def _check_weights(self) -> None:
        weights = {attribute: getattr(self, attribute) for attribute in _WEIGHTS.values()}
        if any(not 0 <= w < float("inf") for w in weights.values()):
            raise UsageError(f"The weights of the losses must be finite and not negative, received {weights}.")
        if not any(self.weight_of(name) for name in _OF_G_HR):
            raise UsageError("No loss is left to train G_HR by; give one of "
                             f"{', '.join(_WEIGHTS[name] for name in sorted(_OF_G_HR))} a weight above 0.")

    def weight_of(self, loss: str) -> float:
        """The weight of a loss by its name in the logs (without `_loss`)."""
        return getattr(self, _WEIGHTS[loss])

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
        given = dict(losses or {})
        self.loss_functions = _default_losses() | {name: content_function(loss) for name, loss in given.items()}
        if unknown := set(given) - set(_default_losses()):
            raise UsageError(f"The losses are {', '.join(_default_losses())}; received {', '.join(sorted(unknown))}.")
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

    def network_of(self, optimizer_name: str) -> keras.Model:
        """The network an optimizer trains: G_HR for "g_hr_optimizer"."""
        return getattr(self, optimizer_name.removesuffix("_optimizer").upper())

    def variables_of(self, optimizer_name: str) -> list:
        return self.network_of(optimizer_name).trainable_variables

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self._full(self.G_HR(_channels(inputs, self.G_HR), training=training))

    def _full(self, x: Any) -> Any:
        """What losses see: float32 also under a mixed policy."""
        return ops.cast(x, self.variable_dtype)

    def check_channels(self, x: Any) -> None:
        wanted = self.G_HR.input_shape[-1]
        if x.shape[-1] not in (1, wanted):
            raise ValueError(f"predict takes images with 1 or {wanted} channels, received shape {x.shape}.")

    def prepare_losses(self) -> None:
        """Build the VGG now, so that missing weights are told before the first step, and outside its graph."""
        perceptual = self.loss_functions["perceptual"]
        if self.lambda_perceptual and isinstance(perceptual, losses.PerceptualLoss):
            with self.distribute_strategy.scope():
                perceptual.features  # noqa: B018 built at the first use

    def make_train_function(self, force: bool = False) -> Any:
        self.prepare_losses()
        return super().make_train_function(force)

    def train_step(self, data: Any) -> dict[str, Any]:
        small, large = (_channels(self._full(x), self.G_HR) for x in data[:2])
        _check_pair(small, large, self.D_HR)
        critics, generators = _CRITICS if self.lambda_adversarial else (), self._trained_generators()
        # Each tape follows its own networks: neither records what only the other one needs.
        with self._tape(critics) as d_tape, self._tape(generators) as g_tape:
            d_loss, values = self._forward(small, large)
            g_loss = sum(self.weight_of(name) * value for name, value in values.items() if self.weight_of(name))
            d_scaled, g_scaled = (self.scaled(self._named(names)[0], loss) if names else loss
                                  for names, loss in ((critics, d_loss), (generators, g_loss)))
        self._minimize_together(critics, d_tape, d_scaled)
        self._minimize_together(generators, g_tape, g_scaled)
        for metric, value in zip(self.train_metrics, (g_loss, d_loss, *values.values())):
            metric.update_state(value)
        return {m.name: m.result() for m in self.train_metrics}

    def _trained_generators(self) -> Sequence[str]:
        reached = any(self.weight_of(name) for name in _OF_G_LR)
        return _GENERATORS if reached else _GENERATORS[:1]

    def _named(self, names: Sequence[str]) -> list[Any]:
        return [getattr(self, name) for name in names]

    def _tape(self, names: Sequence[str]) -> tf.GradientTape:
        return _Watching([v.value for name in names for v in self.variables_of(name)])

    def _minimize_together(self, names: Sequence[str], tape: tf.GradientTape, loss: Any) -> None:
        """One step of several optimizers on one scalar, differentiated once; it was scaled for the first of them."""
        optimizers, variables = self._named(names), [self.variables_of(name) for name in names]
        for optimizer, own, gradients in zip(optimizers, variables, tape.gradient(loss, variables) if names else ()):
            if optimizer is not optimizers[0]:
                # Each optimizer of float16 takes the scale it has come to out of its gradients.
                ratio = optimizer.scale_loss(1.0) / optimizers[0].scale_loss(1.0)
                gradients = [gradient * ratio for gradient in gradients]
            optimizer.apply(gradients, own)

    def _forward(self, small: Any, large: Any) -> tuple[Any, dict[str, Any]]:
        """The critics' loss and every loss of the generators by name, in the logs' order."""
        use, zero = self.loss_functions, ops.zeros((), self.variable_dtype)
        fake_large = self(small, training=True)
        fake_small = self._down(large) if self.lambda_adversarial or self.lambda_cyc else None
        d_loss, adversarial = zero, zero
        if self.lambda_adversarial:
            sides = [self._scores(self.D_HR, large, fake_large), self._scores(self.D_LR, small, fake_small)]
            d_loss, adversarial = (sum(values) for values in zip(*sides))
        makers = {
            "perceptual": lambda: use["perceptual"](large, fake_large),
            "adversarial": lambda: adversarial,
            "total_variation": lambda: use["total_variation"](large, fake_large),
            "content": lambda: use["content"](large, fake_large),
            "cyclic": lambda: use["cyclic"](small, self._down(fake_large)) + use["cyclic"](
                large, self(fake_small, training=True)),
            "identity": lambda: use["content"](small, self._down(self.enlarge(small))),
        }
        names = makers if self.lambda_identity else [name for name in makers if name != "identity"]
        return d_loss, {name: makers[name]() if self.weight_of(name) else zero for name in names}

    def _down(self, large: Any) -> Any:
        return self._full(self.G_LR(large, training=True))

    def _scores(self, critic: keras.Model, real: Any, fake: Any) -> tuple[Any, Any]:
        """(the critic's loss, the generator's loss) of one critic."""
        loss = self.loss_functions["adversarial"]
        real_logits, fake_logits = (self._full(critic(images, training=True)) for images in (real, fake))
        believed = loss(ops.ones_like(fake_logits), fake_logits)
        told = loss(ops.ones_like(real_logits), real_logits) + loss(ops.zeros_like(fake_logits), fake_logits)
        return 0.5 * told, believed

    def test_step(self, data: Any) -> dict[str, Any]:
        """val_ssim, val_psnr, val_l1 of G_HR alone, means over slices; see `GAN.test_step` for the data range."""
        facts = data[2] if len(data) > 2 and isinstance(data[2], dict) else {}
        output, target = (ops.mean(self._full(x), axis=-1, keepdims=True) for x in (self(data[0], training=False), data[1]))
        values, judged = slice_scores(output, target, facts.get("data_range"))
        for metric, value in zip(self.test_metrics, values):
            metric.update_state(value, sample_weight=judged)
        return {m.name: m.result() for m in self.test_metrics}

    def get_config(self) -> dict[str, Any]:
        own = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in ("G_HR", "G_LR", "D_HR", "D_LR")}
        return {**super().get_config(), **own, **{name: getattr(self, name) for name in _WEIGHTS.values()}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SRResCycGAN:
        nested = {k: keras.saving.deserialize_keras_object(v) for k, v in config.items()
                  if isinstance(v, dict) and "class_name" in v}
        return cls(**{**config, **nested})


class _Watching(tf.GradientTape):
    """A tape that follows the given variables and nothing else."""

    def __init__(self, variables: Sequence[Any]):
        super().__init__(watch_accessed_variables=False)
        self._to_watch = list(variables)

    def __enter__(self) -> _Watching:
        super().__enter__()
        self.watch(self._to_watch)
        return self


def _default_losses() -> dict[str, Any]:
    return {
        "adversarial": losses.bce_logits,
        "cyclic": losses.l1,
        "content": losses.l1,
        "perceptual": losses.PerceptualLoss("vgg19", "block3_conv3", preprocess="imagenet"),
        "total_variation": losses.total_variation,
    }


def _channels(images: Any, network: keras.Model) -> Any:
    """Grey images repeated for a network of more channels, on the device, so that the pipeline carries one."""
    wanted = network.input_shape[-1]
    return ops.repeat(images, wanted, axis=-1) if images.shape[-1] == 1 and wanted != 1 else images


def _check_pair(small: Any, large: Any, critic: keras.Model) -> None:
    """UsageError, when the step is traced, for sizes whose tensors would be broadcast or refused deep inside."""
    sides, wanted = (tuple(x.shape[1:3]) for x in (small, large)), critic.input_shape[1:3]
    small_size, large_size = sides
    if None in small_size + large_size:
        return
    if large_size != tuple(_FACTOR * n for n in small_size):
        raise UsageError(f"Expected targets {_FACTOR} times the size of the inputs, received inputs {small_size} and targets "
                         f"{large_size}. Cut the targets to a multiple of {_FACTOR} before they are reduced.")
    if large_size != wanted:
        raise UsageError(f"Expected targets of {wanted}, for which D_HR was built, received {large_size}. Cut patches of that "
                         f"size, or build models.srrescycgan.Discriminator_HR for {large_size}.")
