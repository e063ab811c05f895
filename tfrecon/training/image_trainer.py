"""What the training classes from images to images share: validation scores, prepared losses, logs, saving."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from .. import losses
from ..models.inference_form import inference_form
from ..models.served import Served
from .base import Trainer


class ImageTrainer(Trainer):
    """Base of the training classes whose `call` gives an image for an image.

    Subclasses fill `train_metrics`, in the order `log` takes their values, and name in `losses_in_use` the losses of a step.
    """

    finish: Any = None  # what makes the reconstruction of the network's answer, where that is not it

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.test_metrics = [keras.metrics.Mean(name=name) for name in ("ssim", "psnr", "l1")]

    def full_precision(self, x: Any) -> Any:
        """What losses see: float32 also under a mixed policy."""
        return ops.cast(x, self.variable_dtype)

    def losses_in_use(self) -> Iterable[Any]:
        """The losses that may own a network."""
        return ()

    def prepare_losses(self) -> None:
        """Build what a loss owns now, so that missing weights are told before the first step, and outside its graph."""
        for loss in self.losses_in_use():
            if isinstance(loss, losses.PerceptualLoss):
                with self.distribute_strategy.scope():
                    loss.features  # noqa: B018 built at the first use

    def make_train_function(self, force: bool = False) -> Any:
        self.prepare_losses()
        return super().make_train_function(force)

    def log(self, *values: Any) -> dict[str, Any]:
        """Update the training metrics in their order and return all of them."""
        for metric, value in zip(self.train_metrics, values, strict=True):
            metric.update_state(value)
        return {m.name: m.result() for m in self.train_metrics}

    def magnitude_of(self, images: Any) -> Any:
        """Images as scores are taken on: (N, H, W, 1), the channels averaged."""
        return ops.mean(self.full_precision(images), axis=-1, keepdims=True)

    def served(self, merged: bool = False, **options: Any) -> Any:
        """The network that reconstructs as other programs run it: a `models.served.Served` with these options.

        Args:
            merged: take `models.inference_form` of the network.
        """
        return Served(inference_form(self.generator) if merged else self.generator, self.finish, **options)

    def export(self, filepath: Any, format: str = "tf_saved_model", **kwargs: Any) -> None:
        """Keras' `export` of `served`: `image` (N, H, W, C) to `reconstruction`, any size; critics and optimizers stay here."""
        self.served().export(filepath, format, **kwargs)

    def test_step(self, data: Any) -> dict[str, Any]:
        """val_ssim, val_psnr, val_l1, means over slices, in inference mode.

        With the facts of `create_paired_dataset(..., metadata=True)` the data range is theirs: the volume's maximum for
        MRI (fastMRI's), the window for CT. Without them each target slice's own maximum has to serve, which gives lower
        numbers; `tfrecon evaluate` is the judge.
        """
        image, target = data[0], data[1]
        facts = data[2] if len(data) > 2 and isinstance(data[2], dict) else {}
        values, judged = self.scores(self(image, training=False), target, facts.get("data_range"))
        for metric, value in zip(self.test_metrics, values):
            metric.update_state(value, sample_weight=judged)
        return {m.name: m.result() for m in self.test_metrics}

    def scores(self, output: Any, target: Any, data_range: Any = None) -> tuple[tuple[Any, Any, Any], Any]:
        """`slice_scores` of what `magnitude_of` makes of the images."""
        return slice_scores(self.magnitude_of(output), self.magnitude_of(target), data_range)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ImageTrainer:
        nested = {k: keras.saving.deserialize_keras_object(v) for k, v in config.items()
                  if isinstance(v, dict) and "class_name" in v}
        return cls(**{**config, **nested})


def slice_scores(output: Any, target: Any, data_range: Any = None) -> tuple[tuple[Any, Any, Any], Any]:
    """((SSIM, PSNR, L1), weight), each (N,), of grey images (N, H, W, 1).

    `data_range` (N,) is the volumes'; None takes each target's own maximum. The weight is 0 for black ones, which have none.
    """
    data_range = ops.max(target, axis=(1, 2, 3)) if data_range is None else data_range
    judged = ops.cast(data_range > 0, "float32")
    data_range = ops.where(data_range > 0, data_range, ops.ones_like(data_range))
    error = ops.mean(ops.square(output - target), axis=(1, 2, 3))
    psnr = 10.0 * ops.log10(ops.square(data_range) / ops.maximum(error, 1e-20))
    l1 = ops.mean(ops.abs(target - output), axis=(1, 2, 3))
    return (losses.ssim_per_image(target, output, data_range), psnr, l1), judged
