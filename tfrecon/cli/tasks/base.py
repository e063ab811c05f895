"""What training needs to know of a model's task: how its data are found, split, streamed and described on the card."""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..memory import usual_batch
from ..options import report_skipped, say
from ..training_options import model_options


@dataclass(frozen=True)
class Part:
    """One side of a split: an index, and the slices of it that belong to this side where not all do."""

    index: Any
    samples: list | None = None

    @property
    def volumes(self) -> tuple:
        if self.samples is None:
            return self.index.volumes
        return tuple(self.index.volumes[number] for number in sorted({v for v, _ in self.samples}))

    @property
    def slices(self) -> int:
        return self.index.slices if self.samples is None else len(self.samples)


class Task(ABC):
    """A task as the commands use it; `arguments` are those of the command, `record` the model's."""

    baseline = ""  # what doing nothing is called
    metric, lower_is_better = "ssim", False  # by which the best epoch is chosen, called val_... in the logs

    def __init__(self, arguments: argparse.Namespace, record: Any):
        self.arguments, self.record = arguments, record

    def index(self, path: str) -> Any:
        """The volumes under a path, cut to --max-volumes, what is skipped said on stderr."""
        index = self.find(path)
        report_skipped(index)
        return replace(index, volumes=index.volumes[: self.arguments.max_volumes])

    @abstractmethod
    def find(self, path: str) -> Any:
        """The index of what is under a path, without a word about what is skipped."""

    @abstractmethod
    def sizes(self, part: Part) -> Counter:
        """(height, width) of the images -> how many slices have it."""

    @abstractmethod
    def dataset(self, part: Part, training: bool, side: int | None, **options: Any) -> Any:
        """Training data: shuffled, degraded afresh. Validation data: in order, degraded the same way every time."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """For the card: what the inputs were."""

    def guards(self, *parts: Part) -> list[Any]:
        """Callbacks that look after data which TensorFlow reads itself: before every epoch, whether the shards are unchanged."""
        import keras

        from ...data.shards import ShardIndex, check_unchanged

        shards = [part.index for part in parts if isinstance(part.index, ShardIndex)]
        return [keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs, index=index: check_unchanged(index))
                for index in shards]

    def is_better(self, score: float, other: float) -> bool:
        """Whether the first of two values of `metric` is the better one."""
        return score < other if self.lower_is_better else score > other

    def baseline_value(self, trainer: Any, validation: Any) -> float:
        """The metric of doing nothing on validation data."""
        from ..baseline import baseline_ssim

        return baseline_ssim(validation, trainer.magnitude_of, self.do_nothing)

    def strips(self, out: Path, trainer: Any, validation: Any, logs: Path | None) -> Any:
        """The callback that writes pictures after every epoch."""
        from ..strips import Strips

        return Strips(out, validation, logs, self.picture)

    def do_nothing(self, image: Any) -> Any:
        """What the baseline makes of a batch of inputs, in the size of the targets."""
        return image

    def picture(self, image: Any) -> Any:
        """A batch of inputs as pictures."""
        return image

    def side(self, *parts: Part) -> int | None:
        """Side of the training images: --crop, else the published one or what the smallest images allow."""
        if not self.record.patch:
            if self.record.smallest > 1:
                sides = [n for part in parts for size in self.sizes(part) for n in size]
                check_side(self.arguments.crop or min(sides), 1, self.record.smallest)
            return self.arguments.crop
        multiple = self.record.multiple_for(self.options)
        least = max(multiple, self.record.smallest)
        if self.arguments.crop:
            return check_side(self.arguments.crop, multiple, least)
        smallest = min(min(size) for part in parts for size in self.sizes(part))
        side = check_side(min(self.record.patch, smallest // multiple * multiple), multiple, least)
        if side < self.record.patch:
            say(f"note: training on {side}x{side}, the images are no larger")
        return side

    @property
    def batch_size(self) -> int:
        return self.arguments.batch_size or usual_batch(self.arguments)

    @property
    def options(self) -> dict[str, Any]:
        """What the model is built with, as far as the command line and the preset say."""
        return {**self.record.presets[self.arguments.preset], **model_options(self.arguments)}


def check_side(side: int, multiple: int, least: int) -> int:
    """The side, or UsageError where the networks cannot be trained on it."""
    from ...errors import UsageError

    if side % multiple or side < least:
        raise UsageError(f"Training images of this model must have a side that is a multiple of {multiple} and at least "
                         f"{least}, received {side}. Give --crop, or larger images.")
    return side


def visited(part: Part, visits: int) -> list | None:
    """The samples of an epoch that visits every slice so many times; None for every slice once."""
    from ...data.splits import all_samples

    if part.samples is None and visits == 1:
        return None
    return list(all_samples(part.index) if part.samples is None else part.samples) * visits
