"""The index of models: the only place where a name meets a builder, a training class, a scaling and weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .errors import UsageError, WeightsError


@dataclass(frozen=True)
class Record:
    """What is known about a model before it is built.

    Attributes:
        name, task, summary: what it is.
        make: builds it from its options; None for the models without weights.
        presets: option sets by name; the first is the default.
        scaling: the `data.create_paired_dataset` scaling it was made for.
        source, licence: the original repository at its commit, and its licence.
        parity: what was proven equal to the original.
    """

    name: str
    task: str
    summary: str
    make: Callable[..., Any] | None = None
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    scaling: str = "zero_filled_max"
    source: str = ""
    licence: str = ""
    parity: str = ""

    def describe(self) -> dict[str, Any]:
        """Plain values for printing."""
        return {key: value for key, value in asdict(self).items() if key != "make"}


def zero_filled(images: Any) -> Any:
    """The do-nothing baseline: the zero-filled image is the reconstruction. Any shape, any scale."""
    return images


def _unet_gan(
    image_shape: tuple = (None, None, 1),
    width: int = 64,
    bilinear: bool = True,
    revision: str = "2019",
    loss: str = "bce",
    optimizer: str = "adam",
    learning_rate: float = 2e-4,
    reconstruction_weight: float = 0.0,
    reconstruction_loss: str = "l1",
    jit_compile: Any = "auto",
) -> Any:
    from . import models, training

    trainer = training.UNetGAN(
        models.unet_gan.generator_model(tuple(image_shape), bilinear=bilinear, width=width, revision=revision),
        models.unet_gan.discriminator_model(tuple(image_shape)),
        loss=loss,
        reconstruction_weight=reconstruction_weight,
        reconstruction_loss=reconstruction_loss,
    )
    trainer.compile(optimizer, learning_rate=learning_rate, jit_compile=jit_compile)
    return trainer


_RECOMMENDED = {"loss": "bce", "optimizer": "adam", "learning_rate": 2e-4, "reconstruction_weight": 100.0}

RECORDS = {
    record.name: record
    for record in (
        Record("zero_filled", "masked", "The baseline that does nothing: inverse FFT of the measured samples."),
        Record(
            "unet_gan",
            "masked",
            "U-Net judged by a small discriminator (seed 001).",
            _unet_gan,
            presets={
                "recommended": _RECOMMENDED,
                "small": {**_RECOMMENDED, "width": 16, "learning_rate": 1e-3},
                "original": {"loss": "kldiv", "optimizer": "adamw", "learning_rate": 2e-4, "reconstruction_weight": 0.0},
            },
            source="milesial/Pytorch-UNet@9fd386f (GPL-3.0; re-implemented from its description), seed 001",
            licence="Apache-2.0 (this implementation)",
            parity="forward passes, running statistics and one optimiser step: tests/golden/ganno_*.npz",
        ),
    )
}


def list_models() -> list[str]:
    """The names `create` knows."""
    return list(RECORDS)


def record_of(name: str) -> Record:
    """The record of that name; UsageError with the choices if there is none."""
    if name not in RECORDS:
        raise UsageError(f"The model must be one of {', '.join(RECORDS)}; received {name!r}.")
    return RECORDS[name]


def create(name: str, weights: Any = None, preset: str | None = None, **options: Any) -> Any:
    """Build a model by name, compiled with its preset and ready to fit.

    Args:
        name: one of `list_models()`.
        weights: file or mapping for the network that reconstructs (`weights.load_weights`); a file written by tfrecon
            also brings the options it was built with.
        preset: option set of the record; None: its first.
        options: single options over the preset's (`width`, `loss`, `learning_rate`, `jit_compile`, ...).

    Returns:
        A training model; for the models without weights, a callable.

    Raises:
        UsageError: unknown name, preset or option. WeightsError: the weights do not fit.
    """
    record = record_of(name)
    if record.make is None:
        if weights is not None or options or preset:
            raise UsageError(f"{name} has no weights, presets or options.")
        return zero_filled
    stored = _options_of(weights, name)
    try:
        model = record.make(**{**_preset(record, preset), **stored, **options})
    except (TypeError, ValueError) as error:
        if stored and not options:
            raise WeightsError(f"{weights}: {name} cannot be built with the options in its card ({error}).") from error
        raise UsageError(f"{name}: {error}. Presets: {', '.join(record.presets)}.") from error
    if weights is not None:
        from .weights import load_weights

        load_weights(model.generator, weights)
    return model


def check_trainable(name: str, preset: str | None) -> None:
    """UsageError unless there is such a model, with weights to train, and such a preset."""
    record = record_of(name)
    if record.make is None:
        raise UsageError(f"{name} has no weights, so there is nothing to train. Choose another model.")
    _preset(record, preset)


def _preset(record: Record, preset: str | None) -> Mapping[str, Any]:
    name = preset or next(iter(record.presets))
    if name not in record.presets:
        raise UsageError(f"The preset of {record.name} must be one of {', '.join(record.presets)}; received {name!r}.")
    return record.presets[name]


def _options_of(weights: Any, name: str) -> Mapping[str, Any]:
    """The builder options in the card of a weight file of ours; none for mappings and foreign files."""
    if weights is None or isinstance(weights, Mapping):
        return {}
    from .weights import read_card

    card = read_card(weights)
    if not isinstance(card.get("options", {}), dict):
        raise WeightsError(f"{weights}: the options in its card are damaged ({card['options']!r}).")
    if card.get("model", name) != name:
        raise WeightsError(f"{weights} holds weights of {card['model']}, not of {name}. Use --model {card['model']}.")
    return card.get("options", {})
