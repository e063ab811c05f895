"""Fits a trained unrolled reconstruction to one scan, from the samples that were measured alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from ..errors import DataError, UsageError
from ..models.sizes import check_counts
from .optimizers import TorchAdam
from .unrolled_recon import UnrolledRecon


class ScanAdaptation:
    """Zero-shot self-supervised adaptation: in every step the model reconstructs from a part of the measured samples and is
    judged by the others, so that a network trained on other scanners, contrasts or organs comes to fit this scan.

    Every call begins anew with the weights the model had when this was made. The model's batch norms are frozen for good
    (`trainable` is off): one slice's statistics would replace those of the training.

    Args:
        model: a MoDL or DeepBasisPursuit of `models.unrolled`; its weights are changed in place.
        steps: at least 1; few enough not to fit the noise: the held-back samples are drawn anew but are seen again and again.
        learning_rate: of Adam.
        held_back: share of the measured samples that judges, above 0 and below 1.
        seed: of the draws.

    Raises:
        UsageError: a value is out of range, or the model has no denoiser to adapt.

    Value range: k-space so scaled that the image is about [0, 1], as `data.problem_of` gives it.
    Departures: the share that Yaman holds out of everything, to stop by it, is used too; the number of steps is fixed.
    Reference: Yaman, Hosseini, Akcakaya, Zero-shot self-supervised learning for MRI reconstruction (2022).
    """

    def __init__(self, model: Any, steps: int = 100, learning_rate: float = 1e-4, held_back: float = 0.4, seed: int = 0):
        check_counts(steps=steps)
        self.steps = steps
        if not hasattr(model, "denoiser"):
            raise UsageError("Only a model with a denoiser can adapt, a MoDL or DeepBasisPursuit; received "
                             f"{type(model).__name__}.")
        if not held_back:
            raise UsageError("held_back must be above 0: samples that the model sees do not judge it.")
        for layer in model.denoiser._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
        self.trainer = UnrolledRecon(model, supervised=False, held_back=held_back, seed=seed)
        self.trainer.compile(TorchAdam(learning_rate))
        self._start = [np.array(v) for v in self.trainer.every_variable]

    def __call__(self, scans: Sequence[dict[str, np.ndarray]]) -> list[float]:
        """Adapt the model to a scan.

        Args:
            scans: {"kspace" (coils, H, W), "sens_maps", "mask" (H, W)} of some of its slices, taken in turn.

        Returns:
            The loss in every step, 0 in those in which there was nothing to hold back.

        Raises:
            UsageError: no slice was given.
            DataError: the loss is not finite.
        """
        if not scans:
            raise UsageError("An adaptation needs at least one slice of the scan.")
        for variable, value in zip(self.trainer.every_variable, self._start, strict=True):
            variable.assign(value)
        batches = [{name: array[None] for name, array in scan.items()} for scan in scans]
        logs = []
        for step in range(self.steps):
            self.trainer.reset_metrics()
            logs.append(float(self.trainer.train_on_batch(batches[step % len(batches)], return_dict=True)["loss"]))
            if not math.isfinite(logs[-1]):
                raise DataError(f"the loss of step {step + 1} of the adaptation is not finite: the k-space or the coil maps hold "
                                "values that are not, or the learning rate is too large")
        return logs
