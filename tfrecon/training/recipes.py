"""Callbacks that repeat what the originals did around their training step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from ..files import write_whole


class SaveEveryEpoch(keras.callbacks.Callback):
    """Save both networks after every epoch under the names the original DeblurGAN gives them, and its `log.txt`.

    `weights/{month}{day}/generator_{epoch}_{loss}.h5` with the loss of the epoch as a whole number,
    `weights/{month}{day}/discriminator_{epoch}.h5`, and in `log.txt` a line "epoch - critic loss - generator loss".

    Args:
        folder: where `weights` and `log.txt` are put.
        save: writes a network: `save(network, path)`, as `weights.save_legacy_weights`.
        today: (month, day) of the folder's name; None: of the beginning of training.

    Reference: RaphaelMeudec/deblur-gan@8b4b15d scripts/train.py.
    Departures: the original's number is the mean over the total and both single losses together; here it is the total.
    """

    def __init__(self, folder: Any, save: Callable[[Any, Any], Any], today: tuple[int, int] | None = None):
        super().__init__()
        self.folder, self.save, self.today = Path(folder), save, today

    def on_train_begin(self, logs: Any = None) -> None:
        self.today = self.today or time.localtime()[1:3]

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        logs = logs or {}
        month, day = self.today
        dated = self.folder / "weights" / f"{month}{day}"
        self.save(self.model.generator, dated / f"generator_{epoch}_{int(logs['g_loss'])}.h5")
        self.save(self.model.discriminator, dated / f"discriminator_{epoch}.h5")
        path = self.folder / "log.txt"
        # Anew and without this epoch: a run that was killed after its line was written repeats the epoch.
        lines = path.read_text().splitlines(keepends=True)[:epoch] if path.exists() else []
        line = f"{epoch} - {logs['d_loss']} - {logs['g_loss']}\n"
        write_whole(path, "".join([*lines, line]).encode())


class GeneratorFirst(keras.callbacks.Callback):
    """Seed 003's other recipe: the generator alone for the first epochs, on its content loss, then with the critic.

    It looks at the epoch's number alone, so a resumed run is in the phase it should be in.

    Args:
        epochs: of the first phase.
    """

    def __init__(self, epochs: int):
        super().__init__()
        self.epochs = epochs

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        adversarial = epoch >= self.epochs
        if self.model.adversarial != adversarial:
            self.model.adversarial = adversarial
            self.model.make_train_function(force=True)  # the step is another graph
