"""The part of the demo that depends on the model's task: its made-up data, its reconstruction, its pictures."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class MaskedDemo:
    """Phantom k-space, undersampled."""

    what = "phantom volumes"

    def __init__(self, arguments: argparse.Namespace, record: Any, out: Path):
        self.arguments, self.record, self.out = arguments, record, out

    def make(self) -> list[Path]:
        from ...data import write_demo_volumes

        a = self.arguments
        return write_demo_volumes(self.out / "data", a.volumes, a.slices, a.size, a.seed)

    def index(self) -> Any:
        from ...data import index_volumes

        return index_volumes(self.out / "data", "reconstruction_esc")

    def reconstruct(self, model: Any, part: Any) -> Iterable[Any]:
        from ...data import SliceReader
        from ...reconstruction import Settings, reconstruct_folder

        settings = Settings(self._masking(), None, self.record.scaling, self.record.channels, self.record.multiple,
                            attributes={"model": self.record.name})
        with SliceReader() as reader:
            yield from reconstruct_folder(part.index, self.results, model, settings, reader, overwrite=True, strict=True)

    def judge(self, part: Any) -> Any:
        """The `judging.Judged` results of a part."""
        from ..judging import Rules, judge

        return judge(self.results, self.targets(part), Rules(self._masking()))

    def targets(self, part: Any) -> list[str]:
        return [volume.path for volume in part.volumes]

    @property
    def results(self) -> Path:
        return self.out / "reconstructions"

    def _masking(self) -> Any:
        from ...data import Masking

        return Masking(self.arguments.acceleration)


class BlurDemo(MaskedDemo):
    """CT-like phantoms, blurred by a random motion."""

    what = "CT-like phantom volumes"

    def make(self) -> list[Path]:
        from ...data import write_demo_ct

        a = self.arguments
        return write_demo_ct(self.out / "data", a.volumes, a.slices, a.size, a.seed)

    def index(self) -> Any:
        from ...data.ct import index_images

        return index_images(self.out / "data", "soft_tissue")

    def reconstruct(self, model: Any, part: Any) -> Iterable[Any]:
        from ...data.ct import Blurring, ImageReader
        from ...reconstruction import ImageSettings, reconstruct_images

        multiple = self.record.multiple_for(self.record.presets["small"])
        settings = ImageSettings("soft_tissue", self.record.channels, multiple,
                                 blurring=Blurring(max_length=self.arguments.blur_length),
                                 attributes={"model": self.record.name})
        with ImageReader() as reader:
            yield from reconstruct_images(part.index, self.results, model, settings, reader, overwrite=True, strict=True)

    def targets(self, part: Any) -> list[str]:
        return [path for volume in part.volumes for path in volume.paths]


class SuperresDemo(MaskedDemo):
    """Phantom images, reduced by four."""

    def index(self) -> Any:
        from ...data import index_magnitudes

        return index_magnitudes(self.out / "data")

    def reconstruct(self, model: Any, part: Any) -> Iterable[Any]:
        from ...data import SliceReader
        from ...reconstruction import SuperresSettings, enlarge_folder

        settings = SuperresSettings(self.record.scaling, reduce=True, attributes={"model": self.record.name})
        with SliceReader() as reader:
            yield from enlarge_folder(part.index, self.results, model, settings, reader, overwrite=True, strict=True)


def demo_of(arguments: argparse.Namespace, out: Path) -> MaskedDemo:
    """The demo of the model's task."""
    from ...zoo import record_of

    record = record_of(arguments.model)
    return {"masked": MaskedDemo, "blur": BlurDemo, "superres": SuperresDemo}[record.task](arguments, record, out)
