"""What an export says about itself: units, signature, the inputs it is checked on, and the facts of its card."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_UNITS = {"zero_filled_max": "magnitude", "zero_filled_max_uncropped": "magnitude", "symmetric": "symmetric",
          "window": "window", "volume": "grey255", "slice": "grey255"}
_RANGES = {
    "network": "scaled as the network takes it ({scaling})",
    "magnitude": "magnitudes in any units; each image is divided by its largest value inside",
    "symmetric": "magnitudes in any units; each image is brought to [-1, 1] by its largest value inside",
    "window": "Hounsfield units, seen through the window centre {window[0]:g}, width {window[1]:g}",
    "grey255": "magnitudes in any units; each image's largest value is made 255 inside",
}
_COMPLEX = {"kspace": "(N, coils, H, W, 2) real and imaginary, measured samples, centred",
            "sens_maps": "(N, coils, H, W, 2) real and imaginary", "mask": "(N, H, W), 1 where measured"}
_SIDES = ((1, 48, 40), (2, 32, 64), (3, 44, 44))  # batch, height, width: what is open must be right at several


@dataclass(frozen=True)
class Facts:
    """Attributes: images: whether it maps images to images. units, window, multiple, factor: of `models.served.Served`.
    channels: of its images. record: for export.json. card: for the model card.
    """

    images: bool
    units: str
    window: tuple[float, float] | None
    multiple: int
    factor: int
    channels: int
    record: dict[str, Any]
    card: dict[str, Any]

    def options(self, format: str) -> dict[str, Any]:
        """Of `trainer.served`."""
        if not self.images:
            return {}
        return {"units": self.units, "window": self.window, "multiple": self.multiple, "factor": self.factor,
                "checked": format == "saved_model"}


def described(arguments: argparse.Namespace, card: dict[str, Any], sha256: str) -> Facts:
    """The facts, from the zoo's record and the weights' card; UsageError for what cannot be exported."""
    from ...errors import UsageError
    from ...zoo import record_of

    record = record_of(arguments.model)
    if record.make is None:
        raise UsageError(f"{record.name} has no weights; there is nothing to export.")
    images = record.task in ("masked", "blur", "superres")
    if not images and (arguments.format != ["saved_model"] or arguments.units != "network" or arguments.batch
                       or arguments.size != (None, None)):
        raise UsageError(f"{record.name} takes complex k-space or latents, which is exported as a SavedModel of open sizes "
                         "alone: leave --format, --units, --batch and --size out.")
    if arguments.merged and record.task == "pictures":
        raise UsageError("A flow has no merged form for other programs; leave --merged out.")
    scaling = card.get("scaling", record.scaling)
    units = _units(arguments, scaling)
    window = _window(card) if units == "window" else None
    multiple, factor = record.multiple_for(card.get("options", {})), 4 if record.task == "superres" else 1
    _check_size(arguments, record, 1 if factor > 1 else multiple)
    inputs, outputs = _signature(record, images, units, scaling, window, factor)
    common = {"model": record.name, "weights_sha256": sha256, "merged": arguments.merged, "options": card.get("options", {})}
    told = {"inputs": inputs, "outputs": outputs, **common}
    return Facts(images, units, window, multiple, factor, record.channels, {**told, "units": arguments.units},
                 card_facts(record, card, sha256, inputs=inputs, outputs=outputs))


def card_facts(record: Any, card: dict[str, Any], sha256: str, **more: Any) -> dict[str, Any]:
    """What `report.model_card` takes, of the zoo's record and the card inside a weight file."""
    scores = {name.removeprefix("val_"): value for name, value in card.get("scores", {}).items() if name.startswith("val_")}
    return {**record.describe(), **card, "scores": scores, "weights_sha256": sha256, **more}


def _window(card: dict[str, Any]) -> tuple[float, float]:
    from ...data.ct.window import DEFAULT, parse_window
    from ...errors import UsageError

    window = parse_window(card.get("window", DEFAULT))
    if window is None:
        raise UsageError("These weights take grey levels by each file's own range; leave --units file out.")
    return window.centre, window.width


def _units(arguments: argparse.Namespace, scaling: str) -> str:
    from ...errors import UsageError

    if arguments.units == "network":
        return "network"
    if scaling not in _UNITS:
        raise UsageError(f"These weights take images scaled by {scaling!r}, which cannot be found from an image alone; leave "
                         "--units file out.")
    return _UNITS[scaling]


def _check_size(arguments: argparse.Namespace, record: Any, multiple: int) -> None:
    from ...errors import UsageError

    if any(n is not None and n <= multiple // 2 for n in arguments.size):
        raise UsageError(f"{record.name} continues images to multiples of {multiple} by mirroring, so they must be larger than "
                         f"{multiple // 2}; received --size {arguments.size[0]}x{arguments.size[1]}.")


def _signature(record: Any, images: bool, units: str, scaling: str, window: Any, factor: int) -> tuple[dict, dict]:
    if not images:
        if record.task == "multicoil":
            return ({name: f"float32 {text}" for name, text in _COMPLEX.items()},
                    {"reconstruction": "float32 (N, H, W, 2) real and imaginary, in the units of the k-space"})
        return {"latents": "float32 (N, H*W*C), standard normal"}, {"reconstruction": "float32 (N, H, W) in [0, 1]"}
    shape, larger = ("(N, H, W, C)" if units == "network" else "(N, H, W)"), "4" if factor == 4 else ""
    text = _RANGES[units].format(scaling=scaling, window=window)
    return ({"image": f"float32 {shape}, {text}"},
            {"reconstruction": f"float32 {shape.replace('H', larger + 'H').replace('W', larger + 'W')}, the same units"})


def golden_cases(trainer: Any, arguments: argparse.Namespace, facts: Facts) -> list[Any]:
    """Inputs of several sizes and their answers, from the network as Keras runs it: not its merged form, no graph."""
    from ...exporting import Case

    served, rng = trainer.served(**facts.options("saved_model")), np.random.default_rng(0)
    cases = []
    for sides in _SIDES:
        inputs = _inputs(rng, arguments, facts, trainer, sides)
        if cases and [x.shape for x in inputs.values()] == [x.shape for x in cases[-1].inputs.values()]:
            break
        given = next(iter(inputs.values())) if len(inputs) == 1 else inputs
        cases.append(Case(inputs, np.asarray(served(given)["reconstruction"])))
    return cases


def _inputs(rng: Any, arguments: argparse.Namespace, facts: Facts, trainer: Any, sides: tuple) -> dict[str, np.ndarray]:
    if not facts.images:
        return _measurement(rng, sides) if "kspace" in facts.record["inputs"] else _latents(rng, trainer, sides)
    more = facts.multiple // 2 if facts.multiple > min(sides[1:]) else 0  # the least that can be mirrored to a multiple
    sides = (sides[0], sides[1] + more, sides[2] + more)
    batch, height, width = (fixed or n for fixed, n in zip((arguments.batch, *arguments.size), sides))
    if facts.units != "network":
        low, high = (-1000, 1500) if facts.units == "window" else (0, 5e-4)
        return {"image": rng.uniform(low, high, (batch, height, width)).astype(np.float32)}
    ranges = {"symmetric": (-1, 1), "window": (-1, 1), "volume": (0, 255), "slice": (0, 255)}
    low, high = ranges.get(facts.card["scaling"], (0, 1))
    return {"image": rng.uniform(low, high, (batch, height, width, facts.channels)).astype(np.float32)}


def _measurement(rng: Any, sides: tuple) -> dict[str, np.ndarray]:
    batch, height, width = sides
    maps = rng.normal(size=(batch, 4, height, width, 2))
    maps /= np.sqrt((maps**2).sum((1, 4), keepdims=True))
    mask = np.broadcast_to(rng.uniform(size=width) < 0.5, (batch, height, width))
    kspace = rng.normal(size=maps.shape) * mask[:, None, ..., None]
    return {name: np.ascontiguousarray(x, np.float32) for name, x in (("kspace", kspace), ("sens_maps", maps), ("mask", mask))}


def _latents(rng: Any, trainer: Any, sides: tuple) -> dict[str, np.ndarray]:
    return {"latents": 0.7 * rng.normal(size=(sides[0], trainer.flow.latent_size)).astype(np.float32)}


def hashes(out: Path, names: list[str]) -> dict[str, str]:
    """SHA-256 of every file written, by its path below the folder."""
    from ...weights import sha256_of

    files = [path for name in [*names, "golden.npz"] for path in sorted([out / name, *(out / name).rglob("*")]) if path.is_file()]
    return {str(path.relative_to(out)): sha256_of(path) for path in files}
