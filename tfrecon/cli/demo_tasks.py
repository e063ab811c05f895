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
        from ..data import write_demo_volumes

        a = self.arguments
        return write_demo_volumes(self.out / "data", a.volumes, a.slices, a.size, a.seed)

    def index(self) -> Any:
        from ..data import index_volumes

        return index_volumes(self.out / "data", "reconstruction_esc")

    def reconstruct(self, model: Any, part: Any) -> Iterable[Any]:
        from ..data import SliceReader
        from ..reconstruction import Settings, reconstruct_folder

        settings = Settings(self._masking(), None, self.record.scaling, self.record.channels, self.record.multiple,
                            attributes={"model": self.record.name})
        with SliceReader() as reader:
            yield from reconstruct_folder(part.index, self.results, model, settings, reader, overwrite=True, strict=True)

    def evaluate(self, part: Any) -> Any:
        from ..reconstruction import evaluate_folder

        return evaluate_folder(self.results, [v.path for v in part.volumes], self._masking())

    def triples(self, part: Any) -> Any:
        paths = {v.name: v.path for v in part.volumes}
        return lambda name: self._load(paths[name], name)[:3]

    def panel(self, part: Any, name: str) -> Any:
        """The way of the middle slice from k-space to error."""
        from ..data import SliceReader
        from ..report import reconstruction_panel

        volume = next(v for v in part.volumes if v.name == name)
        baseline, prediction, truth, mask = self._load(volume.path, name)
        middle = len(truth) // 2
        with SliceReader() as reader:
            kspace = reader.kspace(volume, middle)
        return reconstruction_panel(kspace, mask, baseline[middle], prediction[middle], truth[middle])

    @property
    def results(self) -> Path:
        return self.out / "reconstructions"

    def _masking(self) -> Any:
        from ..data import Masking

        return Masking(self.arguments.acceleration)

    def _load(self, target: str, name: str) -> tuple[Any, Any, Any, Any]:
        """(zero-filled, prediction, target, mask) of a volume."""
        from ..reconstruction import load_pair, load_zero_filled

        made = str(self.results / name)
        truth, prediction = load_pair(made, target, None, "reconstruction")
        baseline, mask = load_zero_filled(made, target, truth.shape[1:], self._masking())
        return baseline, prediction, truth, mask


class BlurDemo(MaskedDemo):
    """CT-like phantoms, blurred by a random motion."""

    what = "CT-like phantom volumes"

    def make(self) -> list[Path]:
        from ..data import write_demo_ct

        a = self.arguments
        return write_demo_ct(self.out / "data", a.volumes, a.slices, a.size, a.seed)

    def index(self) -> Any:
        from ..data.ct import index_images

        return index_images(self.out / "data", "soft_tissue")

    def reconstruct(self, model: Any, part: Any) -> Iterable[Any]:
        from ..data.ct import Blurring, ImageReader
        from ..reconstruction import ImageSettings, reconstruct_images

        multiple = self.record.multiple_for(self.record.presets["small"])
        settings = ImageSettings("soft_tissue", self.record.channels, multiple,
                                 blurring=Blurring(max_length=self.arguments.blur_length),
                                 attributes={"model": self.record.name})
        with ImageReader() as reader:
            yield from reconstruct_images(part.index, self.results, model, settings, reader, overwrite=True, strict=True)

    def evaluate(self, part: Any) -> Any:
        from ..reconstruction import evaluate_images

        return evaluate_images(self.results, [p for v in part.volumes for p in v.paths])

    def triples(self, part: Any) -> Any:
        from ..data.ct import ImageReader, index_images
        from ..reconstruction import load_image_triple

        made = {v.name: v for v in index_images(self.results).volumes}
        sharp = {v.name: v for v in part.volumes}

        def load(name: str) -> tuple[Any, Any, Any]:
            with ImageReader() as reader:
                return load_image_triple(sharp[name], made[name], reader)

        return load

    def panel(self, part: Any, name: str) -> Any:
        return None  # there is no k-space to show


class SuperresDemo(MaskedDemo):
    """Phantom images, reduced by four."""

    def index(self) -> Any:
        from ..data import index_magnitudes

        return index_magnitudes(self.out / "data")

    def reconstruct(self, model: Any, part: Any) -> Iterable[Any]:
        from ..data import SliceReader
        from ..reconstruction import SuperresSettings, enlarge_folder

        settings = SuperresSettings(self.record.scaling, reduce=True, attributes={"model": self.record.name})
        with SliceReader() as reader:
            yield from enlarge_folder(part.index, self.results, model, settings, reader, overwrite=True, strict=True)

    def evaluate(self, part: Any) -> Any:
        from ..reconstruction import evaluate_superres

        return evaluate_superres(self.results, [v.path for v in part.volumes])

    def triples(self, part: Any) -> Any:
        from ..reconstruction import bicubic, load_pair

        paths = {v.name: v for v in part.volumes}

        def load(name: str) -> tuple[Any, Any, Any]:
            truth, made = load_pair(self.results / name, paths[name].path, paths[name].target_key, "reconstruction")
            return bicubic(truth), made, truth

        return load

    def panel(self, part: Any, name: str) -> Any:
        return None  # there is no k-space to show


def demo_of(arguments: argparse.Namespace, out: Path) -> MaskedDemo:
    """The demo of the model's task."""
    from ..zoo import record_of

    record = record_of(arguments.model)
    return {"masked": MaskedDemo, "blur": BlurDemo, "superres": SuperresDemo}[record.task](arguments, record, out)
