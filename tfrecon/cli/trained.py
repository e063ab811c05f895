"""A trained model as commands use it: its weights looked at first, the network built when the first image comes."""

from __future__ import annotations

import argparse
from typing import Any

from .options import say


def check_weights(arguments: argparse.Namespace) -> dict[str, Any]:
    """The card of the weights, looked at before anything heavy happens; refuses weights of another model.

    Adds `sha256`; fills `arguments.acceleration` in and warns where it differs from the card's.
    """
    from ..data import SCALINGS
    from ..data.multicoil.problem import SCALINGS as COIL_SCALINGS
    from ..data.superres import VALUE_RANGES
    from ..errors import UsageError, WeightsError
    from ..weights import read_card, sha256_of
    from ..zoo import record_of

    record = record_of(arguments.model)
    if record.make is None or not arguments.weights:
        if record.make is not None:
            raise UsageError(f"{arguments.model} needs --weights FILE; a network without them shows noise. `tfrecon "
                             "train` makes some, and --model zero_filled needs none.")
        arguments.acceleration = arguments.acceleration or 4
        return {"scaling": record.scaling}
    card, digest = read_card(arguments.weights), sha256_of(arguments.weights)
    if card.get("model", arguments.model) != arguments.model:
        raise WeightsError(f"{arguments.weights} holds weights of {card['model']}. Use --model {card['model']}.")
    scaling = card.get("scaling", record.scaling)
    known = {"masked": SCALINGS, "superres": VALUE_RANGES, "multicoil": COIL_SCALINGS}.get(record.task)
    if known and scaling not in known:
        raise WeightsError(f"{arguments.weights}: its card asks for a scaling that does not exist ({scaling!r}).")
    trained = card.get("acceleration")
    if trained and arguments.acceleration and trained != arguments.acceleration:
        say(f"warning: the weights were trained at {trained}x and the data are taken at {arguments.acceleration}x")
    arguments.acceleration = arguments.acceleration or trained or 4
    return {**card, "scaling": scaling, "sha256": digest}


class Lazy:
    """The model, built when the first batch comes: wrong paths and existing results are told before TensorFlow loads."""

    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.model: Any = None

    def __call__(self, images: Any) -> Any:
        return self.built()(images)

    def built(self) -> Any:
        """The model, built by the first call."""
        if self.model is None:
            from ..zoo import create, record_of
            from .process import load_tensorflow

            if self.arguments.weights or record_of(self.arguments.model).task != "masked":
                load_tensorflow()
            self.model = self.build(create(self.arguments.model, self.arguments.weights, self.arguments.preset))
        return self.model

    def build(self, model: Any) -> Any:
        """What images go through."""
        return getattr(model, "predict_on_batch", model)


class LazyConsistent(Lazy):
    """The model's network with data consistency behind it: takes the measurement, not an image."""

    def __init__(self, arguments: argparse.Namespace, scaling: str, multiple: int):
        super().__init__(arguments)
        self.scaling, self.multiple = scaling, multiple

    def build(self, model: Any) -> Any:
        from ..models import with_data_consistency

        return with_data_consistency(model.generator, scaling=self.scaling, multiple=self.multiple)

    def without(self, inputs: Any) -> Any:
        """The network's own answer, before data consistency."""
        return self.built().without(inputs)

    def consistent(self, image: Any, inputs: Any) -> Any:
        """That answer with the measured samples put back."""
        return self.model.consistent(image, inputs)


class LazyAdapted(Lazy):
    """A model that is fitted to every volume before it reconstructs it."""

    def __init__(self, arguments: argparse.Namespace):
        super().__init__(arguments)
        self.adaptation: Any = None

    def build(self, model: Any) -> Any:
        from ..training import ScanAdaptation

        self.adaptation = ScanAdaptation(model.model, self.arguments.adapt)
        return super().build(model)

    def adapt(self, scans: list[dict[str, Any]]) -> str:
        """Fit the model to slices of a volume; a note."""
        self.built()
        losses = self.adaptation(scans)
        losses = [loss for loss in losses if loss]  # 0: a draw that held nothing back
        if not losses:
            return "not adapted: outside the centre there is no sample to hold back"
        few = max(1, len(losses) // 10)
        first, last = (sum(part) / few for part in (losses[:few], losses[-few:]))
        return f"adapted in {self.arguments.adapt} steps, loss {first:.3g} to {last:.3g}"
