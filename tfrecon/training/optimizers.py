"""Adam, AdamW and Adagrad as PyTorch computes them.

Keras places epsilon elsewhere (inside the bias correction in Adam, under the root in Adagrad) and starts Adagrad's sum
at 0.1: with the small gradients of these networks the first steps differ visibly. Equality with the originals' training
steps needs PyTorch's form.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from ..errors import UsageError


@keras.saving.register_keras_serializable(package="tfrecon")
class TorchAdam(keras.optimizers.Optimizer):
    """Adam, and AdamW with `weight_decay`, in PyTorch's form: lr * m_hat / (sqrt(v_hat) + epsilon).

    Args:
        learning_rate: number or Keras schedule.
        beta_1, beta_2: decay rates of the moments.
        epsilon: added to the root of the corrected second moment.
        weight_decay: decoupled: each step first multiplies the weights by 1 - lr * weight_decay.

    Reference: torch.optim.Adam, torch.optim.AdamW.
    """

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float | None = None,
        name: str = "torch_adam",
        **kwargs: Any,
    ):
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay, name=name, **kwargs)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        self._first = [self.add_variable_from_reference(v, name="momentum") for v in variables]
        self._second = [self.add_variable_from_reference(v, name="velocity") for v in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        step = ops.cast(self.iterations + 1, variable.dtype)
        index = self._get_variable_index(variable)
        first, second = self._first[index], self._second[index]
        self.assign_add(first, (gradient - first) * (1 - self.beta_1))
        self.assign_add(second, (ops.square(gradient) - second) * (1 - self.beta_2))
        # 1 - beta ** step: beta itself, rounded to float32, would cost four digits at the first steps.
        correction_1, correction_2 = (-ops.expm1(step * math.log(beta)) for beta in (self.beta_1, self.beta_2))
        root = ops.sqrt(second) / ops.sqrt(correction_2) + self.epsilon
        self.assign_sub(variable, rate / correction_1 * first / root)

    def get_config(self) -> dict[str, Any]:
        own = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="tfrecon")
class TorchAdagrad(keras.optimizers.Optimizer):
    """Adagrad in PyTorch's form: lr * g / (sqrt(sum of g^2) + epsilon), the sum from 0, epsilon 1e-10.

    Reference: torch.optim.Adagrad.
    """

    def __init__(
        self, learning_rate: Any = 1e-2, epsilon: float = 1e-10, name: str = "torch_adagrad", **kwargs: Any
    ):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.epsilon = epsilon

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        self._sums = [self.add_variable_from_reference(v, name="accumulator") for v in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        total = self._sums[self._get_variable_index(variable)]
        self.assign_add(total, ops.square(gradient))
        self.assign_sub(variable, rate * gradient / (ops.sqrt(total) + self.epsilon))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}


OPTIMIZERS = ("adam", "adamw", "adagrad")


def torch_optimizer(name: str, learning_rate: Any = 2e-4) -> keras.optimizers.Optimizer:
    """An optimizer of PyTorch's form and defaults by name: adam, adamw (decay 0.01) or adagrad."""
    if name == "adam":
        return TorchAdam(learning_rate)
    if name == "adamw":
        return TorchAdam(learning_rate, weight_decay=0.01, name="torch_adamw")
    if name == "adagrad":
        return TorchAdagrad(learning_rate)
    raise UsageError(f"The optimizer must be one of {', '.join(OPTIMIZERS)}, received {name!r}.")
