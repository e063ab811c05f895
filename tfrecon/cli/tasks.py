"""What training needs to know of a model's task: how its data are found, split, streamed and described on the card."""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from ..data import EpochClock
from .options import BLUR_LENGTH, masking, report_skipped, say
from .training_options import model_options


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


class StillClock(EpochClock):
    """Validation data are cut the same way in every epoch."""

    def start_pass(self) -> int:
        return self.epoch

    def start_pass_in_graph(self) -> Any:
        import tensorflow as tf

        return tf.constant(self.epoch, tf.int64)


class Task(ABC):
    """A task as the commands use it; `arguments` are those of the command, `record` the model's."""

    baseline = ""  # what doing nothing is called

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

    def do_nothing(self, image: Any) -> Any:
        """What the baseline makes of a batch of inputs, in the size of the targets."""
        return image

    def picture(self, image: Any) -> Any:
        """A batch of inputs as pictures."""
        return image

    def side(self, *parts: Part) -> int | None:
        """Side of the training images: --crop, else the published one or what the smallest images allow."""
        if not self.record.patch:
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
        return self.arguments.batch_size or self.record.batch_size

    @property
    def options(self) -> dict[str, Any]:
        """What the model is built with, as far as the command line and the preset say."""
        return {**self.record.presets[self.arguments.preset], **model_options(self.arguments)}


class MaskedTask(Task):
    """Undersampled k-space."""

    baseline = "zero-filled"

    def find(self, path: str) -> Any:
        from ..data import index_volumes

        a = self.arguments
        return _fitting(index_volumes(path, a.target or "reconstruction_esc", a.key, a.strict, a.complex_axis))

    def sizes(self, part: Part) -> Counter:
        from ..data import check_single_coil, output_size

        sizes: Counter = Counter()
        for volume in part.volumes:
            check_single_coil(volume)
            sizes[output_size(volume, self.arguments.crop)] += volume.slices
        return sizes

    def dataset(self, part: Part, training: bool, side: int | None, **options: Any) -> Any:
        from ..data import create_paired_dataset

        a, rule = self.arguments, masking(self.arguments)
        how = {"shuffle": True, "mask_seed": None} if training else {"metadata": True, "mask_seed": rule.seed}
        return create_paired_dataset(
            part.index,
            batch_size=self.batch_size,
            samples=visited(part, a.visits if training else 1),
            accelerations=rule.accelerations,
            center_fractions=rule.center_fractions,
            mask_type=rule.mask_type,
            crop=side,
            channels=self.record.channels,
            scaling=self.scaling(),
            seed=a.seed,
            complex_axis=a.complex_axis,
            shift=a.shift,
            **{**how, **options},
        )

    def scaling(self) -> str:
        preset = self.record.presets[self.arguments.preset]
        raw = self.record.scaling == "symmetric" and preset.get("symmetric") is False
        return "none" if raw else self.record.scaling

    def facts(self) -> dict[str, Any]:
        a = self.arguments
        return {"scaling": self.scaling(), "acceleration": a.acceleration, "center_fraction": a.center_fraction,
                "mask_type": a.mask_type}


class BlurTask(Task):
    """Motion-blurred CT."""

    baseline = "blurred"

    def find(self, path: str) -> Any:
        from ..data.ct import index_images

        return index_images(path, self.window(), self.arguments.strict, self.arguments.target)

    def window(self) -> Any:
        from ..data.ct.window import DEFAULT

        return self.arguments.window or DEFAULT

    def sizes(self, part: Part) -> Counter:
        return Counter({(v.height, v.width): v.slices for v in part.volumes})

    def dataset(self, part: Part, training: bool, side: int | None, **options: Any) -> Any:
        from ..data import create_paired_dataset

        a = self.arguments
        how = {"shuffle": True} if training else {"metadata": True, "flip": False, "clock": StillClock()}
        return create_paired_dataset(
            part.index,
            "blur",
            self.batch_size if training else 1,
            samples=visited(part, a.visits if training else 1),
            window=self.window(),
            patch=side if training else self.whole_or_patch(part),
            channels=self.record.channels,
            blurring=self.blurring(None if training else "file"),
            seed=a.seed,
            **{**how, **options},
        )

    def whole_or_patch(self, part: Part) -> int | None:
        """Validation sees whole slices; where they are no multiples of what the network needs, the largest patch that is."""
        multiple = self.record.multiple_for(self.options)
        sizes = [n for size in self.sizes(part) for n in size]
        return max(min(sizes) // multiple * multiple, multiple) if any(n % multiple for n in sizes) else None

    def blurring(self, seed: Any) -> Any:
        from ..data.ct import Blurring

        return Blurring(max_length=self.blur_length(), seed=seed)

    def blur_length(self) -> float:
        return self.arguments.blur_length or BLUR_LENGTH

    def facts(self) -> dict[str, Any]:
        return {"window": self.window(), "blur_length": self.blur_length()}


def check_side(side: int, multiple: int, least: int) -> int:
    """The side, or UsageError where the networks cannot be trained on it."""
    from ..errors import UsageError

    if side % multiple or side < least:
        raise UsageError(f"Training images of this model must have a side that is a multiple of {multiple} and at least "
                         f"{least}, received {side}. Give --crop, or larger images.")
    return side


def task_of(arguments: argparse.Namespace) -> Task:
    """The task of the model the arguments name."""
    from ..zoo import record_of

    record = record_of(arguments.model)
    if record.task == "superres":
        from .superres_task import SuperresTask

        return SuperresTask(arguments, record)
    if record.task == "multicoil":
        from .coil_task import CoilTask

        return CoilTask(arguments, record)
    return {"masked": MaskedTask, "blur": BlurTask}[record.task](arguments, record)


def visited(part: Part, visits: int) -> list | None:
    """The samples of an epoch that visits every slice so many times; None for every slice once."""
    from ..data.splits import all_samples

    if part.samples is None and visits == 1:
        return None
    return list(all_samples(part.index) if part.samples is None else part.samples) * visits


def _fitting(index: Any) -> Any:
    """The index without the volumes that need more memory than there is."""
    from ..data import Skipped, memory_shortage
    from ..errors import DataError

    shortages = {v.name: memory_shortage(v) for v in index.volumes}
    large = tuple(Skipped(name, sentence) for name, sentence in shortages.items() if sentence)
    if len(large) == len(index.volumes):
        raise DataError(f"no volume fits into memory: {large[0].name}: {large[0].reason}")
    volumes = tuple(v for v in index.volumes if not shortages[v.name])
    return replace(index, volumes=volumes, skipped=(*index.skipped, *large))
