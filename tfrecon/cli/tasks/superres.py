"""Super-resolution as the commands use it: images reduced by four, random patches to train on, whole images to judge by."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from ..options import say
from .base import Part, Task, check_side, visited

_SMALLEST_WITHOUT_CRITIC = 16
_SMALLEST_REDUCIBLE = 4


class SuperresTask(Task):
    """Images and the same images reduced by four."""

    baseline = "bicubic"

    def find(self, path: str) -> Any:
        from ...data.superres import index_superres

        return _large_enough(index_superres(path, self.arguments.target, self.arguments.strict))

    def sizes(self, part: Part) -> Counter:
        sizes: Counter = Counter()
        for volume in part.volumes:
            sizes[volume.target_shape] += volume.slices
        return sizes

    def side(self, *parts: Part) -> int | None:
        """As of every task with a critic of fixed size; without the adversarial loss it rests, and any size will do."""
        least = self.record.smallest if self.options.get("lambda_adversarial", 1.0) else _SMALLEST_WITHOUT_CRITIC
        smallest = min(min(size) for size in self.sizes(parts[0]))
        side = self.arguments.crop or min(self.record.patch, smallest // 4 * 4)
        if not self.arguments.crop and side < self.record.patch:
            say(f"note: training on {side}x{side}, the smallest images are no larger; --crop N pads those below N")
        return check_side(side, self.record.multiple, least)

    def dataset(self, part: Part, training: bool, side: int | None, **options: Any) -> Any:
        from ...data import StillClock, create_paired_dataset

        a = self.arguments
        samples = visited(part, a.visits if training else 1)
        slices = part.slices * (a.visits if training else 1)
        whole = {"metadata": True, "clock": StillClock()}
        # Batches of one size: XLA compiles the step anew for a smaller one.
        how = {"shuffle": True, "patch": side, "drop_remainder": slices >= self.batch_size} if training else whole
        return create_paired_dataset(part.index, "superres", self.batch_size if training else 1, samples=samples,
                                     value_range=self.value_range(), seed=a.seed, **{**how, **options})

    def guards(self, *parts: Part) -> list[Any]:
        """Before every epoch: whether the shards are still those that were indexed."""
        import keras

        from ...data.superres.shard_index import ShardIndex, check_unchanged

        shards = [part.index for part in parts if isinstance(part.index, ShardIndex)]
        return [keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs, index=index: check_unchanged(index))
                for index in shards]

    def value_range(self) -> str:
        return self.arguments.value_range or self.record.scaling

    def do_nothing(self, image: Any) -> Any:
        import numpy as np

        from ...transforms import resize_bicubic

        grey = np.asarray(image)[..., 0]
        return resize_bicubic(grey, [4 * n for n in grey.shape[1:]])[..., None]

    def facts(self) -> dict[str, Any]:
        return {"scaling": self.value_range()}


def _large_enough(index: Any) -> Any:
    """The index without the volumes that cannot be reduced by four."""
    from ...data import Skipped
    from ...errors import DataError

    small = [v for v in index.volumes if min(v.target_shape) < _SMALLEST_REDUCIBLE]
    skipped = [Skipped(v.name, f"its slices of {v.height} x {v.width} are too small to be reduced by 4") for v in small]
    if len(small) == len(index.volumes):
        raise DataError(f"no image is large enough: {skipped[0].name}: {skipped[0].reason}")
    return replace(index, volumes=tuple(v for v in index.volumes if v not in small), skipped=(*index.skipped, *skipped))
