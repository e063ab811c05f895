"""Training of SRResCycGAN (seed 002): two generators, to and from four times the size, and two critics in a cycle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from .. import losses as all_losses
from ..errors import UsageError
from ..layers import BilinearUpSampling2D
from ..models import srrescycgan as networks
from .base import Trainer
from .by_hand import Twins
from .gan import content_function, serializable, slice_scores
from .srrescycgan_parts import (
    FACTOR,
    REACH_G_LR,
    WEIGHTS,
    Gathered,
    Part,
    TapeOf,
    adam_opt,
    as_channels_of,
    check_pair,
    check_weights,
    default_losses,
    sum_up,
)

_GENERATORS, _CRITICS = ("g_hr_optimizer", "g_lr_optimizer"), ("d_hr_optimizer", "d_lr_optimizer")
_LIKENESS = ("perceptual", "total_variation", "content")  # losses of the large fake alone


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
        self.test_metrics = [keras.metrics.Mean(name=name) for name in ("ssim", "psnr", "l1")]
        self.enlarge = BilinearUpSampling2D(FACTOR, name="enlarge", dtype=self.variable_dtype)
        self.enlarge.build(self.G_HR.input_shape)
        self(keras.Input(self.G_HR.input_shape[1:]))
        self._twins = Twins({name: getattr(self, name) for name in ("G_HR", "G_LR", "D_HR", "D_LR")})

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
        return self._full(self.G_HR(as_channels_of(self.G_HR, inputs), training=training))

    def _full(self, x: Any) -> Any:
        """What losses see: float32 also under a mixed policy."""
        return ops.cast(x, self.variable_dtype)

    def check_channels(self, x: Any) -> None:
        wanted = self.G_HR.input_shape[-1]
        if x.shape[-1] not in (1, wanted):
            raise ValueError(f"predict takes images with 1 or {wanted} channels, received shape {x.shape}.")

    def magnitude_of(self, images: Any) -> Any:
        """Images as scores are taken on: (N, H, W, 1) float32, equal channels averaged."""
        return ops.mean(self._full(images), axis=-1, keepdims=True)

    def prepare_losses(self) -> None:
        """Build the VGG now, so that missing weights are told before the first step, and outside its graph."""
        perceptual = self.loss_functions["perceptual"]
        if self.lambda_perceptual and isinstance(perceptual, all_losses.PerceptualLoss):
            with self.distribute_strategy.scope():
                perceptual.features  # noqa: B018 built at the first use

    def make_train_function(self, force: bool = False) -> Any:
        self.prepare_losses()
        return super().make_train_function(force)

    def train_step(self, data: Any) -> dict[str, Any]:
        small, large = (as_channels_of(self.G_HR, self._full(x)) for x in data[:2])
        check_pair(small, large, self.D_HR if self.lambda_adversarial else None)
        d_loss, values, gradients = (self._in_parts if self.low_memory else self._at_once)(small, large)
        for name, own in gradients.items():
            getattr(self, name).apply(own, self.variables_of(name))
        zero = ops.zeros((), self.variable_dtype)
        logged = (self._weighted(values), d_loss, *(values.get(name, zero) for name in self.logged_losses))
        for metric, value in zip(self.train_metrics, logged, strict=True):
            metric.update_state(value)
        return {m.name: m.result() for m in self.train_metrics}

    def _parts(self) -> list[Part]:
        """The losses with a weight, grouped by the network they run through."""
        parts = []
        if self.lambda_adversarial:
            parts += [Part(self._large_scores, ("fake_large",), critics=("d_hr_optimizer",)),
                      Part(self._small_scores, ("fake_small",), critics=("d_lr_optimizer",))]
        if self.lambda_cyc:
            parts += [Part(self._small_cycle, ("fake_large",), ("g_lr_optimizer",)),
                      Part(self._large_cycle, ("fake_small",), ("g_hr_optimizer",))]
        if any(self.weight_of(name) for name in _LIKENESS):
            parts.append(Part(self._likeness, ("fake_large",)))
        if self.lambda_identity:
            parts.append(Part(self._identity, (), ("g_lr_optimizer",)))
        return parts

    def _fakes(self, small: Any, large: Any) -> dict[str, Any]:
        """The images of a step by name."""
        images = {"small": small, "large": large, "fake_large": self._up(small)}
        if self.lambda_adversarial or self.lambda_cyc:
            images["fake_small"] = self._down(large)
        return images

    def _weighted(self, values: Mapping[str, Any]) -> Any:
        return sum(self.weight_of(name) * value for name, value in values.items())

    def _at_once(self, small: Any, large: Any) -> tuple[Any, dict[str, Any], dict[str, list]]:
        """The critics' loss, the generators' losses by name, and every network's gradients by its optimizer's name."""
        generators = _GENERATORS if any(self.weight_of(name) for name in REACH_G_LR) else _GENERATORS[:1]
        # Each tape follows its own networks: neither differentiates what only the other one needs.
        with self._tape(_CRITICS) as d_tape, self._tape(generators) as g_tape:
            images = self._fakes(small, large)
            d_loss, values = sum_up(part.losses_of(**images) for part in self._parts())
            d_scaled, g_scaled = self._scaled_sides(d_loss, values)
        gradients = {}
        if self.lambda_adversarial:
            gradients |= d_tape.gradient(d_scaled, {name: self.variables_of(name) for name in _CRITICS})
        gradients |= g_tape.gradient(g_scaled, {name: self.variables_of(name) for name in generators})
        return d_loss, values, self._rescaled(gradients)

    def _in_parts(self, small: Any, large: Any) -> tuple[Any, dict[str, Any], dict[str, list]]:
        """What `_at_once` gives, one pass of one network after the other.

        The fakes are made without a tape, the losses' gradients by them gathered, and last the fakes made once more to
        take these gradients on to the generators.
        """
        images, gathered, found = self._fakes(small, large), Gathered(), []
        for part in self._parts():
            losses, gradients = self._part(part, gathered.waiting(images))
            gathered.add(gradients)
            found.append(losses)
        for name, fake, remade, source in (("g_hr_optimizer", "fake_large", self._up, "small"),
                                           ("g_lr_optimizer", "fake_small", self._down, "large")):
            if fake in gathered:
                image = gathered.waiting({source: images[source]})[source]
                with self._tape((name,)) as tape:
                    output = remade(image)
                gathered.add({name: tape.gradient(output, self.variables_of(name), output_gradients=gathered[fake][0])})
        gradients = {name: gathered[name] for name in (*_CRITICS, *_GENERATORS) if name in gathered}
        return *sum_up(found), self._rescaled(gradients)

    def _part(self, part: Part, images: Mapping[str, Any]) -> tuple[tuple[Any, dict[str, Any]], dict[str, list]]:
        """A part's losses and its gradients by the names of optimizers and fakes."""
        fakes = {fake: [images[fake]] for fake in part.fakes}
        with self._tape(part.critics) as d_tape, self._tape(part.generators, [images[fake] for fake in part.fakes]) as g_tape:
            losses = part.losses_of(**images)
            d_scaled, g_scaled = self._scaled_sides(*losses)
        gradients = g_tape.gradient(g_scaled, fakes | {name: self.variables_of(name) for name in part.generators})
        if part.critics:
            gradients |= d_tape.gradient(d_scaled, {name: self.variables_of(name) for name in part.critics})
        return losses, gradients

    def _tape(self, names: Sequence[str], tensors: Iterable[Any] = ()) -> TapeOf:
        return TapeOf((variable for name in names for variable in self.variables_of(name)), tensors)

    def _scaled_sides(self, d_loss: Any, values: Mapping[str, Any]) -> tuple[Any, Any]:
        """Both sides' losses as they are differentiated, scaled for the first optimizer of each."""
        return self.scaled(self.d_hr_optimizer, d_loss), self.scaled(self.g_hr_optimizer, self._weighted(values))

    def _rescaled(self, gradients: dict[str, list]) -> dict[str, list]:
        """Gradients for each optimizer's own scale: those of float16 divide by the one they have come to themselves."""
        for first, second in (_CRITICS, _GENERATORS):
            if second in gradients:
                ratio = getattr(self, second).scale_loss(1.0) / getattr(self, first).scale_loss(1.0)
                gradients[second] = [gradient * ratio for gradient in gradients[second]]
        return gradients

    def _up(self, small: Any) -> Any:
        return self._full(self._twins["G_HR"](small, training=True))

    def _down(self, large: Any) -> Any:
        return self._full(self._twins["G_LR"](large, training=True))

    def _large_scores(self, large: Any, fake_large: Any, **_: Any) -> tuple[Any, dict[str, Any]]:
        return self._scores(self._twins["D_HR"], large, fake_large)

    def _small_scores(self, small: Any, fake_small: Any, **_: Any) -> tuple[Any, dict[str, Any]]:
        return self._scores(self._twins["D_LR"], small, fake_small)

    def _scores(self, critic: keras.Model, real: Any, fake: Any) -> tuple[Any, dict[str, Any]]:
        """The critic's loss, and the generator's."""
        loss = self.loss_functions["adversarial"]
        real_logits, fake_logits = (self._full(critic(images, training=True)) for images in (real, fake))
        believed = loss(ops.ones_like(fake_logits), fake_logits)
        told = loss(ops.ones_like(real_logits), real_logits) + loss(ops.zeros_like(fake_logits), fake_logits)
        return 0.5 * told, {"adversarial": believed}

    def _small_cycle(self, small: Any, fake_large: Any, **_: Any) -> tuple[Any, dict[str, Any]]:
        return 0.0, {"cyclic": self.loss_functions["cyclic"](small, self._down(fake_large))}

    def _large_cycle(self, large: Any, fake_small: Any, **_: Any) -> tuple[Any, dict[str, Any]]:
        return 0.0, {"cyclic": self.loss_functions["cyclic"](large, self._up(fake_small))}

    def _likeness(self, large: Any, fake_large: Any, **_: Any) -> tuple[Any, dict[str, Any]]:
        return 0.0, {name: self.loss_functions[name](large, fake_large) for name in _LIKENESS if self.weight_of(name)}

    def _identity(self, small: Any, **_: Any) -> tuple[Any, dict[str, Any]]:
        return 0.0, {"identity": self.loss_functions["content"](small, self._down(self.enlarge(small)))}

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
        return {**super().get_config(), **own, **{name: getattr(self, name) for name in (*WEIGHTS.values(), "low_memory")}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SRResCycGAN:
        nested = {k: keras.saving.deserialize_keras_object(v) for k, v in config.items()
                  if isinstance(v, dict) and "class_name" in v}
        return cls(**{**config, **nested})
