"""The training step of SRResCycGAN: what every loss runs through, and two ways to take their gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from .image_trainer import ImageTrainer
from .srrescycgan_parts import REACH_G_LR, Gathered, Part, TapeOf, as_channels_of, check_pair, sum_up

_GENERATORS, _CRITICS = ("g_hr_optimizer", "g_lr_optimizer"), ("d_hr_optimizer", "d_lr_optimizer")
_LIKENESS = ("perceptual", "total_variation", "content")  # losses of the large fake alone


class CycleStep(ImageTrainer):
    """The step, for `SRResCycGAN`, which holds the networks, their weights and the optimizers."""

    def train_step(self, data: Any) -> dict[str, Any]:
        small, large = (as_channels_of(self.G_HR, self.full_precision(x)) for x in data[:2])
        check_pair(small, large, self.D_HR if self.lambda_adversarial else None)
        d_loss, values, gradients = (self._in_parts if self.low_memory else self._at_once)(small, large)
        for name, own in gradients.items():
            getattr(self, name).apply(own, self.variables_of(name))
        zero = ops.zeros((), self.variable_dtype)
        return self.log(self._weighted(values), d_loss, *(values.get(name, zero) for name in self.logged_losses))

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
        fakes = [images[name] for name in part.fakes]
        with self._tape(part.critics) as d_tape, self._tape(part.generators, fakes) as g_tape:
            losses = part.losses_of(**images)
            d_scaled, g_scaled = self._scaled_sides(*losses)
        wanted = {name: [fake] for name, fake in zip(part.fakes, fakes)}
        gradients = g_tape.gradient(g_scaled, wanted | {name: self.variables_of(name) for name in part.generators})
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

    def _network(self, name: str) -> keras.Model:
        """The network as a step runs it: under XLA derivatives by hand save memory only where it is asked for."""
        plain = self.jit_compile and not self.low_memory
        return getattr(self, name) if plain else self._twins[name]

    def _up(self, small: Any) -> Any:
        return self.full_precision(self._network("G_HR")(small, training=True))

    def _down(self, large: Any) -> Any:
        return self.full_precision(self._network("G_LR")(large, training=True))

    def _large_scores(self, large: Any, fake_large: Any, **_: Any) -> tuple[Any, dict[str, Any]]:
        return self._scores(self._network("D_HR"), large, fake_large)

    def _small_scores(self, small: Any, fake_small: Any, **_: Any) -> tuple[Any, dict[str, Any]]:
        return self._scores(self._network("D_LR"), small, fake_small)

    def _scores(self, critic: keras.Model, real: Any, fake: Any) -> tuple[Any, dict[str, Any]]:
        """The critic's loss, and the generator's."""
        loss = self.loss_functions["adversarial"]
        real_logits, fake_logits = (self.full_precision(critic(images, training=True)) for images in (real, fake))
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
