"""Multi-coil k-space as the commands use it: whole frames, measured k-space and coil maps in, complex images out."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..options import masking
from .base import Part, Task, visited


class CoilTask(Task):
    """Undersampled k-space of several coils (or one), for reconstructions that know the measurement."""

    baseline = "zero-filled"

    def find(self, path: str) -> Any:
        from ...data import index_volumes

        a = self.arguments
        return index_volumes(path, None, a.key, a.strict, a.complex_axis)

    def sizes(self, part: Part) -> Counter:
        sizes: Counter = Counter()
        for volume in part.volumes:
            sizes[volume.height, volume.width] += volume.slices
        return sizes

    def side(self, *parts: Part) -> None:
        """None: whole frames."""
        if self.arguments.crop:
            from ...errors import UsageError

            raise UsageError(f"{self.arguments.model} reconstructs whole frames, of which a part has no k-space; leave "
                             f"--crop {self.arguments.crop} out.")

    def dataset(self, part: Part, training: bool, side: int | None, **options: Any) -> Any:
        from ...data import StillClock, create_paired_dataset

        a, rule = self.arguments, masking(self.arguments)
        # Without images only the measured samples are looked at: data that are undersampled already will do.
        alone = training and self.options.get("supervised") is False
        how = {"shuffle": True, "mask_seed": None} if training else {"metadata": True, "mask_seed": rule.seed,
                                                                     "clock": StillClock()}
        return create_paired_dataset(
            part.index, "multicoil", self.batch_size if training else 1, a.target or ("none" if alone else None),
            samples=visited(part, a.visits if training else 1), accelerations=rule.accelerations,
            center_fractions=rule.center_fractions, mask_type=rule.mask_type, coil_maps=a.coil_maps,
            scaling=self.record.scaling, seed=a.seed, complex_axis=a.complex_axis, shift=a.shift, **{**how, **options},
        )

    def do_nothing(self, image: Any) -> Any:
        """A^H y."""
        from ...physics.operators import Sense

        return Sense(image["sens_maps"], image["mask"]).adjoint(image["kspace"])

    def picture(self, image: Any) -> Any:
        return self.do_nothing(image)

    def facts(self) -> dict[str, Any]:
        a = self.arguments
        return {"scaling": self.record.scaling, "acceleration": a.acceleration, "center_fraction": a.center_fraction,
                "mask_type": a.mask_type, "coil_maps": a.coil_maps}
