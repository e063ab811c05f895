"""Pictures as the commands use them: what the spline flow learns the probability of."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from .base import Part, Task, visited


class PicturesTask(Task):
    """Pictures alone, without inputs; judged by bits per dimension, for which knowing nothing costs the bits of a level."""

    baseline = "uniform"
    metric, lower_is_better = "bits_per_dim", True

    def find(self, path: str) -> Any:
        from ...data import index_magnitudes

        return index_magnitudes(path, self.arguments.target, self.arguments.strict)

    def sizes(self, part: Part) -> Counter:
        return Counter({tuple(self.options["image_shape"][:2]): part.slices})

    def side(self, *parts: Part) -> None:
        """None: the flow's own size."""
        if self.arguments.crop:
            from ...errors import UsageError

            raise UsageError(f"{self.arguments.model} takes pictures of its preset's size, {self.options['image_shape']}; leave "
                             f"--crop {self.arguments.crop} out.")

    def dataset(self, part: Part, training: bool, side: int | None, **options: Any) -> Any:
        from ...data import StillClock, picture_batches

        a = self.arguments
        samples = visited(part, a.visits if training else 1)
        slices = part.slices * (a.visits if training else 1)
        # Batches of one size: XLA compiles the step anew for a smaller one.
        how = {"shuffle": True, "drop_remainder": slices >= self.batch_size} if training else {"clock": StillClock()}
        return picture_batches(part.index, self.batch_size, samples=samples, size=self.options["image_shape"][:2], seed=a.seed,
                               **{**how, **options})

    def baseline_value(self, trainer: Any, validation: Any) -> float:
        return float(trainer.flow.num_bits)

    def strips(self, out: Path, trainer: Any, validation: Any, logs: Path | None) -> Any:
        from ..samples import Samples

        return Samples(out, self.arguments.seed)

    def facts(self) -> dict[str, Any]:
        return {"scaling": self.record.scaling}
