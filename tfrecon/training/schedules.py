"""Learning-rate schedules of the originals, and one optimizer following another's."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import keras
from keras import ops

from ..errors import UsageError


@keras.saving.register_keras_serializable(package="tfrecon")
class ConstantThenLinear(keras.optimizers.schedules.LearningRateSchedule):
    """Constant, then falling by the same amount after every epoch, as KupynOrest/DeblurGAN and Pix2Pix train.

    Epochs 1 to `constant_epochs` + 1 run at `learning_rate` (the original lowers it at the END of each later epoch), the
    last of `decay_epochs` at `learning_rate / decay_epochs`; it stays there.

    Args:
        learning_rate: the first.
        steps_per_epoch: generator steps in an epoch.
        constant_epochs, decay_epochs: 150 each in the original.
    """

    def __init__(self, learning_rate: float, steps_per_epoch: int, constant_epochs: int = 150, decay_epochs: int = 150):
        if steps_per_epoch < 1 or decay_epochs < 1 or constant_epochs < 0:
            raise UsageError("Expected at least one step per epoch and one epoch of decay, received "
                             f"steps_per_epoch={steps_per_epoch}, decay_epochs={decay_epochs}, "
                             f"constant_epochs={constant_epochs}.")
        self.learning_rate, self.steps_per_epoch = learning_rate, steps_per_epoch
        self.constant_epochs, self.decay_epochs = constant_epochs, decay_epochs

    def __call__(self, step: Any) -> Any:
        epoch = ops.cast(step, "int32") // self.steps_per_epoch  # from 0
        lowered = ops.clip(epoch - self.constant_epochs, 0, self.decay_epochs - 1)
        return self.learning_rate * (1.0 - ops.cast(lowered, "float32") / self.decay_epochs)

    def get_config(self) -> dict[str, Any]:
        names = ("learning_rate", "steps_per_epoch", "constant_epochs", "decay_epochs")
        return {name: getattr(self, name) for name in names}


@keras.saving.register_keras_serializable(package="tfrecon")
class CosineToZero(keras.optimizers.schedules.LearningRateSchedule):
    """A half cosine from `learning_rate` to 0 over `steps`, 0 afterwards; as the flows train.

    Args:
        learning_rate: the highest.
        steps: of the whole run.
        every: the rate changes with every so many steps only, as in the seed's training script (7); 1: the seed's other cell.
        warmup: share of the steps in which the rate rises from 0 first (bayesiains/nsf: 0.1).

    Reference: SamiKhandker/ImprovingMRIQuality@9f53d9e cells 10 and 11; bayesiains/nsf@eaa9377 optim/.
    """

    def __init__(self, learning_rate: float, steps: int, every: int = 1, warmup: float = 0.0):
        counts = all(isinstance(n, Integral) and not isinstance(n, bool) and n >= 1 for n in (steps, every))
        if not counts or not isinstance(warmup, Real) or not 0 <= warmup < 1:
            raise UsageError("Expected at least one step, every at least 1 and a warmup of at least 0 and below 1, received "
                             f"steps={steps!r}, every={every!r}, warmup={warmup!r}.")
        if not isinstance(learning_rate, Real) or not 0 < learning_rate < math.inf:
            raise UsageError(f"Expected a finite learning rate above 0, received {learning_rate!r}.")
        self.learning_rate, self.steps, self.every, self.warmup = learning_rate, steps, every, warmup

    def __call__(self, step: Any) -> Any:
        rising = self.warmup * self.steps
        number = ops.cast((ops.cast(step, "int32") + (self.every - 1)) // self.every, "float32")
        done = ops.clip((number * self.every - rising) / (self.steps - rising), 0.0, 1.0)
        rate = 0.5 * self.learning_rate * (1.0 + ops.cos(math.pi * done))
        return rate * ops.minimum(ops.cast(step, "float32") / rising, 1.0) if rising else rate

    def get_config(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("learning_rate", "steps", "every", "warmup")}


@keras.saving.register_keras_serializable(package="tfrecon")
class PerUpdate(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule, for an optimizer that takes `updates` steps where that one counts a single one."""

    def __init__(self, schedule: Any, updates: int):
        self.schedule, self.updates = schedule, updates

    def __call__(self, step: Any) -> Any:
        return self.schedule(step // self.updates)

    def get_config(self) -> dict[str, Any]:
        return {"schedule": keras.saving.serialize_keras_object(self.schedule), "updates": self.updates}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PerUpdate:
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["updates"])


def per_update(learning_rate: Any, updates: int) -> Any:
    """The rate for an optimizer with `updates` steps per batch: numbers stay, schedules are slowed down to match."""
    is_schedule = isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule)
    return PerUpdate(learning_rate, updates) if is_schedule and updates > 1 else learning_rate
