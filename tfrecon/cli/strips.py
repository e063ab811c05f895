"""Pictures of the validation images after every epoch, on disk and for TensorBoard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..report import save_figure, strip

FOLDER, _ROWS = "strips", 3


class Strips(keras.callbacks.Callback):
    """After every epoch: input, output, target and error of a few validation images, as `strips/epoch-00001.png`.

    Args:
        out: folder of the run.
        validation: dataset of (input, target, ...) batches, made the same in every pass.
        logs: folder of TensorBoard's logs, which then get the pictures too; None: none are written there.
        seen: the picture of an input, where that is no image itself.
    """

    def __init__(self, out: Path, validation: Any, logs: Path | None = None, seen: Callable[[Any], Any] = lambda x: x):
        super().__init__()
        self.seen = seen
        self.out, self.logs = Path(out) / FOLDER, logs
        # One image of every batch that stands at an even distance, so that they show different volumes.
        step = max(1, int(validation.cardinality()) // _ROWS)
        shown = validation.shard(step, 0).take(_ROWS)
        self.pairs = [(tf.nest.map_structure(lambda a: a[:1], x), y[:1]) for x, y, *_ in shown]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        grey = self.model.magnitude_of
        rows = [[np.asarray(grey(x))[0, ..., 0] for x in (self.seen(image), self.model(image, training=False), target)]
                for image, target in self.pairs]
        self.out.mkdir(exist_ok=True)
        figure = strip([tuple(np.maximum(image, 0) for image in row) for row in rows])
        path = save_figure(figure, self.out / f"epoch-{epoch + 1:05d}.png")
        if self.logs is not None:
            self._show(path, epoch)

    def _show(self, path: Path, epoch: int) -> None:
        with tf.summary.create_file_writer(str(self.logs / "strips")).as_default():
            tf.summary.image("input, output, target, error", tf.image.decode_png(path.read_bytes())[None], epoch)
