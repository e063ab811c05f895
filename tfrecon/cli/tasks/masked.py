"""Undersampled single-coil k-space as the commands use it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from ..options import masking
from .base import Part, Task, visited


class MaskedTask(Task):
    """Undersampled k-space."""

    baseline = "zero-filled"

    def find(self, path: str) -> Any:
        from ...data.kspace_shards import index_masked

        a = self.arguments
        return _fitting(index_masked(path, a.target, a.combine, a.key, a.strict, a.complex_axis))

    def sizes(self, part: Part) -> Counter:
        from ...data import check_single_coil, output_size

        sizes: Counter = Counter()
        for volume in part.volumes:
            if not self.arguments.combine:
                check_single_coil(volume)
            sizes[output_size(volume, self.arguments.crop)] += volume.slices
        return sizes

    def dataset(self, part: Part, training: bool, side: int | None, **options: Any) -> Any:
        from ...data import create_paired_dataset

        a, rule = self.arguments, masking(self.arguments)
        how = {"shuffle": True, "mask_seed": None} if training else {"metadata": True, "mask_seed": rule.seed}
        return create_paired_dataset(
            part.index,
            batch_size=self.batch_size,
            samples=visited(part, a.visits if training else 1),
            accelerations=rule.accelerations,
            center_fractions=rule.center_fractions,
            mask_type=rule.mask_type,
            combine=a.combine,
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
                "mask_type": a.mask_type, **({"combine": a.combine} if a.combine else {})}


def _fitting(index: Any) -> Any:
    """The index without the volumes that need more memory than there is."""
    from ...data import Skipped, memory_shortage
    from ...errors import DataError

    shortages = {v.name: memory_shortage(v) for v in index.volumes}
    large = tuple(Skipped(name, sentence) for name, sentence in shortages.items() if sentence)
    if len(large) == len(index.volumes):
        raise DataError(f"no volume fits into memory: {large[0].name}: {large[0].reason}")
    volumes = tuple(v for v in index.volumes if not shortages[v.name])
    return replace(index, volumes=volumes, skipped=(*index.skipped, *large))
