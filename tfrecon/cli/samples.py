"""Pictures drawn from a flow after every epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..files import write_whole
from ..training.spline_flow import to_pictures
from .strips import FOLDER

TEMPERATURES = (0.5, 0.75, 1.0)  # the seed's; a row each
_COLUMNS = 6


class Samples(keras.callbacks.Callback):
    """After every epoch: pictures of the same random latents at three temperatures, as `strips/epoch-00001.png`.

    Args:
        out: folder of the run.
        seed: of the latents.
    """

    def __init__(self, out: Path, seed: int):
        super().__init__()
        self.out, self.seed = Path(out) / FOLDER, seed

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        flow = self.model.flow
        values = [flow.sample(_COLUMNS, temperature, self.seed) for temperature in TEMPERATURES]
        rows = [np.concatenate(to_pictures(np.asarray(row), flow.num_bits), axis=1) for row in values]
        self.out.mkdir(exist_ok=True)
        image = tf.io.encode_png(np.uint8(np.rint(255 * np.nan_to_num(np.concatenate(rows)))))
        write_whole(self.out / f"epoch-{epoch + 1:05d}.png", image.numpy())
