"""CT as the commands use it: sharp slices, blurred on the way."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..options import BLUR_LENGTH
from .base import Part, Task, visited


class BlurTask(Task):
    """Motion-blurred CT."""

    baseline = "blurred"

    def find(self, path: str) -> Any:
        from ...data.ct import index_images

        return index_images(path, self.window(), self.arguments.strict, self.arguments.target)

    def window(self) -> Any:
        from ...data.ct.window import DEFAULT

        return self.arguments.window or DEFAULT

    def sizes(self, part: Part) -> Counter:
        return Counter({(v.height, v.width): v.slices for v in part.volumes})

    def dataset(self, part: Part, training: bool, side: int | None, **options: Any) -> Any:
        from ...data import StillClock, create_paired_dataset

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
        from ...data.ct import Blurring

        return Blurring(max_length=self.blur_length(), seed=seed)

    def blur_length(self) -> float:
        return self.arguments.blur_length or BLUR_LENGTH

    def facts(self) -> dict[str, Any]:
        return {"window": self.window(), "blur_length": self.blur_length()}
