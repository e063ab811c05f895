"""How commands judge reconstructions: the rules as arguments, the task told by the files, scores and the images behind them."""

from __future__ import annotations

import argparse
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from .options import BLUR_LENGTH, add_blur, add_mask, mask_seed, masking

# (doing nothing or None, prediction, target), each (slices, H, W).
Triple = tuple[np.ndarray | None, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Rules:
    """How targets and predictions are read, and what doing nothing is where the files do not say it.

    Attributes:
        masking: of the zero-filled row. window, blurring: of CT; see `reconstruction.evaluate_images`.
        target_key, prediction_key: datasets in HDF5; target_key None: the task's usual ones.
    """

    masking: Any
    window: Any = None
    blurring: Any = None
    target_key: str | None = None
    prediction_key: str = "reconstruction"


def add_rules(parser: argparse.ArgumentParser) -> None:
    """The arguments of `rules_of`."""
    parser.add_argument("--target-key", metavar="KEY",
                        help="(reconstruction_esc, else reconstruction_rss; super-resolution: the other way round)")
    parser.add_argument("--prediction-key", default="reconstruction", metavar="KEY", help="(reconstruction)")
    add_mask(parser)
    add_blur(parser).add_argument(
        "--blur-seed", type=mask_seed, metavar="SEED", help="how results that do not say it were blurred (no blurred row)")


def rules_of(arguments: argparse.Namespace) -> Rules:
    """The rules the arguments describe, checked."""
    from ..data.ct import Blurring

    blurring = None
    if arguments.blur_seed is not None:
        blurring = Blurring(max_length=arguments.blur_length or BLUR_LENGTH, seed=arguments.blur_seed)
    return Rules(masking(arguments), arguments.window, blurring, arguments.target_key, arguments.prediction_key)


@dataclass(frozen=True)
class Judged:
    """Judged reconstructions of undersampled k-space.

    Attributes:
        evaluation: the scores. facts: what the first prediction says about how it was made.
    """

    evaluation: Any
    rules: Rules
    facts: dict[str, Any]

    def triple(self, name: str) -> Triple:
        """The images of a judged volume."""
        from ..errors import DataError
        from ..reconstruction import load_pair

        made, target = self.evaluation.pairs[name]
        truth, prediction = load_pair(made, target, self.rules.target_key, self.rules.prediction_key)
        try:
            return self._zero_filled(name, truth.shape[1:])[0], prediction, truth
        except DataError:  # a target without k-space
            return None, prediction, truth

    def panel(self, name: str) -> Any:
        """A figure of the way of the middle slice from k-space to error; None where there is no k-space."""
        from ..data import SliceReader, index_volumes
        from ..errors import DataError
        from ..physics import rss
        from ..report import reconstruction_panel

        baseline, prediction, truth = self.triple(name)
        if baseline is None:
            return None
        middle, target = len(truth) // 2, self.evaluation.pairs[name][1]
        try:
            mask = self._zero_filled(name, truth.shape[1:])[1]
            with SliceReader() as reader:
                volume = index_volumes(target, strict=True).volumes[0]
                kspace = reader.kspace(volume, middle)
        except DataError:
            return None
        shown = kspace if volume.coils is None else rss(kspace)
        return reconstruction_panel(shown, mask, baseline[middle], prediction[middle], truth[middle])

    def _zero_filled(self, name: str, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
        from ..reconstruction import load_zero_filled

        return load_zero_filled(*self.evaluation.pairs[name], size, self.rules.masking)


class JudgedEnlarged(Judged):
    """Images enlarged by four."""

    def triple(self, name: str) -> Triple:
        from ..reconstruction import ENLARGED_KEYS, bicubic, load_pair

        keys = self.rules.target_key, self.rules.prediction_key, ENLARGED_KEYS
        truth, made = load_pair(*self.evaluation.pairs[name], *keys)
        return bicubic(truth), made, truth

    def panel(self, name: str) -> None:
        """None: there is no k-space to show."""


class JudgedDeblurred(Judged):
    """CT whose motion blur was removed."""

    def triple(self, name: str) -> Triple:
        from ..data.ct import ImageReader
        from ..reconstruction import load_image_triple

        made, sharp = self.evaluation.pairs[name]
        with ImageReader() as reader:
            return load_image_triple(sharp, made, reader, self.rules.window, self.rules.blurring)

    def panel(self, name: str) -> None:
        """None: there is no k-space to show."""


def judge(predictions: Any, targets: Any, rules: Rules) -> Judged:
    """Compare a file or folder of predictions with its targets, by the rules of the task they were made for.

    Raises:
        DataError: no target or no prediction at all.
    """
    from ..reconstruction import evaluate_folder, evaluate_images, evaluate_superres

    facts = first_facts(predictions)
    task = "blur" if rules.window or facts is None else str(facts.get("task", "masked"))
    if task == "blur":
        result = evaluate_images(predictions, targets, rules.window, rules.blurring, rules.target_key)
        return JudgedDeblurred(result, rules, facts or {})
    if task == "superres":
        result = evaluate_superres(predictions, targets, rules.target_key, rules.prediction_key)
        return JudgedEnlarged(result, rules, facts or {})
    result = evaluate_folder(predictions, targets, rules.masking, rules.target_key, rules.prediction_key)
    return Judged(result, rules, facts or {})


def first_facts(path: Any) -> dict[str, Any] | None:
    """What the first readable HDF5 file says about how it was made; None where the files are no HDF5: those are CT."""
    from ..data.ct.find import find_images
    from ..errors import DataError
    from ..hdf5 import open_hdf5, read_attributes

    for first, _, kind in find_images(path)[0]:
        if kind != "hdf5":
            return None
        with suppress(DataError), open_hdf5(first) as file:  # the next one may be readable
            return dict(read_attributes(file))
    return {}
