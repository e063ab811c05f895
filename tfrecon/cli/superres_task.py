"""Super-resolution as the commands use it: images reduced by four, random patches to train on, whole images to judge by."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .tasks import Part, StillClock, Task, check_side, visited

_SMALLEST_WITHOUT_CRITIC = 16


class SuperresTask(Task):
    """Images and the same images reduced by four."""

    baseline = "bicubic"

    def find(self, path: str) -> Any:
        from ..data.superres import index_superres

        return index_superres(path, self.arguments.target, self.arguments.strict)

    def sizes(self, part: Part) -> Counter:
        sizes: Counter = Counter()
        for volume in part.volumes:
            sizes[volume.target_shape] += volume.slices
        return sizes

    def side(self, *parts: Part) -> int | None:
        """As of every task with a critic of fixed size; without the adversarial loss it rests, and any size will do."""
        least = self.record.smallest if self.options.get("lambda_adversarial", 1.0) else _SMALLEST_WITHOUT_CRITIC
        smallest = min(min(size) for part in parts for size in self.sizes(part))
        return check_side(self.arguments.crop or min(self.record.patch, smallest // 4 * 4), self.record.multiple, least)

    def dataset(self, part: Part, training: bool, side: int | None, **options: Any) -> Any:
        from ..data import create_paired_dataset

        a = self.arguments
        samples = visited(part, a.visits if training else 1)
        slices = part.slices * (a.visits if training else 1)
        whole = {"metadata": True, "clock": StillClock()}
        # Batches of one size: XLA compiles the step anew for a smaller one.
        how = {"shuffle": True, "patch": side, "drop_remainder": slices >= self.batch_size} if training else whole
        return create_paired_dataset(part.index, "superres", self.batch_size if training else 1, samples=samples,
                                     value_range=self.value_range(), seed=a.seed, **{**how, **options})

    def value_range(self) -> str:
        return self.arguments.value_range or self.record.scaling

    def do_nothing(self, image: Any) -> Any:
        import numpy as np

        from ..transforms import resize_bicubic

        grey = np.asarray(image)[..., 0]
        return resize_bicubic(grey, [4 * n for n in grey.shape[1:]])[..., None]

    def facts(self) -> dict[str, Any]:
        return {"scaling": self.value_range()}
