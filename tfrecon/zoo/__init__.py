"""The index of models: the only place where a name meets a builder, a training class, a scaling and weights."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

from ..errors import UsageError, WeightsError, did_you_mean
from . import coils, ct, flow, mri, superres
from .option_types import check_names, check_types
from .record import Record

RECORDS = {record.name: record for record in (*mri.RECORDS, *coils.RECORDS, *superres.RECORDS, *ct.RECORDS,
                                            *flow.RECORDS)}


def list_models() -> list[str]:
    """The names `create` knows."""
    return list(RECORDS)


def record_of(name: str) -> Record:
    """The record of that name; UsageError with the choices if there is none."""
    if not isinstance(name, str) or name not in RECORDS:
        raise UsageError(f"The model must be one of {', '.join(RECORDS)}; received {name!r}{did_you_mean(name, RECORDS)}")
    return RECORDS[name]


def create(name: str, weights: Any = None, preset: str | None = None, **options: Any) -> Any:
    """Build a model by name, compiled with its preset and ready to fit.

    Args:
        name: one of `list_models()`.
        weights: for the network that reconstructs: a file, the name of a record (`weights.weight_records`), a pinned address
            (`weights.local_file`) or a mapping. Records and files written by tfrecon also bring the options it is built with.
        preset: option set of the record; None: its first.
        options: single options over the preset's (`width`, `loss`, `learning_rate`, `jit_compile`, ...).

    Returns:
        A training model; for the models without weights, a callable.

    Raises:
        UsageError: unknown name, preset or option, or an address that is not pinned.
        WeightsError: the weights do not fit, are of another model, or cannot be had (offline within a second).
    """
    record = record_of(name)
    if record.make is None:
        return _fixed(record, weights, preset, options)
    stored = _options_of(weights, name)
    _check_options(record, options)
    # Where there is a card, a preset is followed only if it was asked for, and never in what changes the network.
    given = _preset(record, preset) if preset is not None or not stored else {}
    _check_agreement(record, weights, preset, given, stored)
    try:
        model = record.make(**{**stored, **given, **options})
    except (TypeError, ValueError) as error:
        if stored and not options:
            raise WeightsError(f"{weights}: {name} cannot be built with the options in its card ({error}).") from error
        choices = "" if isinstance(error, UsageError) else f" Presets: {', '.join(record.presets)}."
        raise UsageError(f"{name}: {str(error).rstrip('.')}.{choices}") from error
    if weights is not None:
        from ..weights import load_weights

        try:
            load_weights(model.generator, weights)
        except WeightsError as error:
            other = _differing(stored, options)
            if not other:
                raise
            told, asked = (", ".join(f"{key}={of[key]!r}" for key in other) for of in (stored, options))
            raise WeightsError(f"{error} They were made with {told}, as their card says; you asked for {asked}.") from error
    return model


def _check_agreement(
    record: Record, weights: Any, preset: str | None, given: Mapping[str, Any], stored: Mapping[str, Any]
) -> None:
    """UsageError where a preset that was asked for means another network, or range of its images, than the weights' card."""
    builders = [_named(path) for path in (record.builder, *record.takes) if path.startswith("models.")] if stored else []
    networks = {"symmetric", *(name for builder in builders for name in inspect.signature(builder).parameters)}
    if differing := [f"{key} {stored[key]!r} / {given[key]!r}" for key in _differing(stored, given) if key in networks]:
        raise UsageError(f"{weights}: its card and the preset {preset} differ: {', '.join(differing)}. Leave the preset out, and "
                         "give what should be otherwise as single options.")


def _differing(stored: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """The names in both whose values differ; a card's JSON makes lists of tuples."""
    plain = [{key: list(value) if isinstance(value, tuple) else value for key, value in of.items()} for of in (stored, given)]
    return [key for key in plain[1] if key in plain[0] and plain[0][key] != plain[1][key]]


def _fixed(record: Record, weights: Any, preset: str | None, options: Mapping[str, Any]) -> Any:
    if weights is not None or preset:
        raise UsageError(f"{record.name} has no weights and no presets.")
    try:
        return record.fixed(**options)
    except TypeError as error:
        raise UsageError(f"{record.name}: {str(error).rstrip('.')}.") from error


def _named(path: str) -> Any:
    """The class or function of that path in this package."""
    room, *names = path.split(".")
    found = import_module(f"..{room}", __name__)
    for name in names:
        found = getattr(found, name)
    return found


def _check_options(record: Record, options: Mapping[str, Any]) -> None:
    functions = [record.make, *map(_named, record.takes)]
    check_names(record.name, functions, options)
    check_types(functions, options)


def check_trainable(name: str, preset: str | None, options: Mapping[str, Any] = MappingProxyType({})) -> None:
    """UsageError unless there is such a model, with weights to train, such a preset, and such options with such values."""
    record = record_of(name)
    if record.make is None:
        raise UsageError(f"{name} has no weights, so there is nothing to train. Choose another model.")
    _preset(record, preset)
    if options:  # to see which there are takes TensorFlow
        _check_options(record, options)


def _preset(record: Record, preset: str | None) -> Mapping[str, Any]:
    name = next(iter(record.presets)) if preset is None else preset
    if not isinstance(name, str) or name not in record.presets:
        raise UsageError(f"The preset of {record.name} must be one of {', '.join(record.presets)}; received {name!r}"
                         f"{did_you_mean(name, record.presets)}")
    return record.presets[name]


def _options_of(weights: Any, name: str) -> Mapping[str, Any]:
    """The builder options in the card of a weight file of ours or in the record of a known one; none for all others."""
    if weights is None or isinstance(weights, Mapping):
        return {}
    from ..weights import read_card

    card = read_card(weights)
    if not isinstance(card.get("options", {}), dict):
        raise WeightsError(f"{weights}: the options in its card are damaged ({card['options']!r}).")
    if card.get("model", name) != name:
        raise WeightsError(f"{weights} holds weights of {card['model']}, not of {name}. Use --model {card['model']}.")
    return card.get("options", {})
