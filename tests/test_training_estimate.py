"""The measured cost of a run: it changes nothing and is not paid twice."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrecon import models
from tfrecon.training import UNetGAN, measure_step


@pytest.fixture
def trainer():
    keras.utils.set_random_seed(0)
    networks = models.unet_gan
    trainer = UNetGAN(networks.generator_model((32, 32, 1), width=2), networks.discriminator_model((32, 32, 1)), "bce")
    trainer.compile("adam")
    return trainer


@pytest.fixture
def data():
    images = np.random.default_rng(0).random((4, 32, 32, 1)).astype(np.float32)
    return tf.data.Dataset.from_tensor_slices((images, images)).batch(2)


def test_everything_is_put_back(trainer, data):
    before = [variable.numpy() for variable in trainer.every_variable]
    cost = measure_step(trainer, data)
    assert len(before) > 3 * len(trainer.trainable_variables)  # the moments of both optimizers are among them
    for variable, value in zip(trainer.every_variable, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, variable.path)
    assert 0 < cost.seconds < cost.first_seconds and cost.memory > 2**26


def test_fit_takes_the_function_that_was_traced(trainer, data, monkeypatch):
    traced, step = [], UNetGAN.train_step
    monkeypatch.setattr(UNetGAN, "train_step", lambda self, batch: traced.append(1) or step(self, batch))
    measure_step(trainer, data)
    once = len(traced)
    trainer.fit(data, epochs=2, verbose=0)
    assert len(traced) == once


@pytest.mark.slow
def test_failing_step_puts_everything_back_too(trainer, data, monkeypatch):
    before = [variable.numpy() for variable in trainer.every_variable]
    broken = data.map(lambda x, y: (x, tf.debugging.check_numerics(y * np.nan, "broken")))
    with pytest.raises(tf.errors.InvalidArgumentError):
        measure_step(trainer, broken)
    for variable, value in zip(trainer.every_variable, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
