"""Adam, AdamW and Adagrad against PyTorch's written-out formulas, under a schedule, compiled, and after a round trip."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrecon.errors import UsageError
from tfrecon.training.optimizers import OPTIMIZERS, torch_optimizer


def torch_adam(w, gradients, rate, decay=0.0, b1=0.9, b2=0.999, epsilon=1e-8):
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(gradients, 1):
        w = w * (1 - rate * decay)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        w = w - rate / (1 - b1**t) * m / (np.sqrt(v) / np.sqrt(1 - b2**t) + epsilon)
    return w


def torch_adagrad(w, gradients, rate, epsilon=1e-10):
    total = np.zeros_like(w)
    for g in gradients:
        total = total + g * g
        w = w - rate * g / (np.sqrt(total) + epsilon)
    return w


EXPECTED = {"adam": torch_adam, "adamw": lambda w, g, r: torch_adam(w, g, r, decay=0.01), "adagrad": torch_adagrad}


@pytest.mark.parametrize("scale", [1.0, 1e-7])  # 1e-7: where the place of epsilon decides
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_equal_pytorchs_formula(name, scale):
    rng = np.random.default_rng(0)
    w = rng.normal(size=7)
    gradients = [scale * rng.normal(size=7) for _ in range(5)]
    variable = keras.Variable(w, dtype="float64")
    optimizer = torch_optimizer(name, 0.01)
    for g in gradients:
        optimizer.apply([tf.constant(g)], [variable])
    np.testing.assert_allclose(variable.numpy(), EXPECTED[name](w, gradients, 0.01), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_round_trip_compiled_and_with_schedule(name):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5, staircase=True)
    optimizer = torch_optimizer(name, schedule)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert copy.get_config() == optimizer.get_config()
    start = np.arange(3.0, dtype=np.float32)
    variables = [keras.Variable(start), keras.Variable(start)]
    for o, v in zip((optimizer, copy), variables):
        o.build([v])
        take_steps(o, v, 3, jit_compile=o is copy)
    np.testing.assert_allclose(variables[0].numpy(), variables[1].numpy(), rtol=1e-6)
    assert float(optimizer.learning_rate) == pytest.approx(0.1 * 0.5**3)


def take_steps(optimizer, variable, count, jit_compile):
    step = tf.function(lambda g: optimizer.apply([g], [variable]), jit_compile=jit_compile)
    for _ in range(count):
        step(tf.ones(3))


def test_unknown_optimizer_names_the_choices():
    with pytest.raises(UsageError, match="adamw"):
        torch_optimizer("sgd")
