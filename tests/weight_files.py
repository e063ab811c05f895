"""What the tests of weights share: models whose values can be compared, and the files made by older Keras."""

import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from legacy import networks

from tfrecon.errors import WeightsError, shown
from tfrecon.weights import load_weights

LEGACY = Path(__file__).parent / "golden" / "legacy"


def values(model):
    return [w.numpy() for w in model.weights]


def unchanged(model, before):
    return all(np.array_equal(a, b) for a, b in zip(values(model), before, strict=True))


def refused(model, source, *fragments, **options):
    """Loading must fail with one line that begins with the path and has every fragment, and change nothing."""
    before = values(model)
    with pytest.raises(WeightsError) as caught:
        load_weights(model, source, **options)
    message = str(caught.value)
    assert "\n" not in message
    if not isinstance(source, dict):
        path = shown(source)
        assert message.startswith(path) and f"{path}:" not in message[len(path) + 1 :]
    for fragment in fragments:
        assert fragment in message
    assert unchanged(model, before)
    return message


def network(seed=0):
    """Convolution, norm, convolution, dropout; names and numbers of its own."""
    inputs = keras.Input((8, 8, 2), name="image")
    x = keras.layers.Conv2D(3, 3, name="first_0")(inputs)
    x = keras.layers.BatchNormalization(name="first_1")(x)
    x = keras.layers.Dropout(0.5, name="drop")(x)
    model = keras.Model(inputs, keras.layers.Conv2D(1, 3, name="last")(x), name="small")
    networks.fill(model, seed)
    return model


def nested(prefixes=("", "")):
    """The generator and critic of the legacy files in one model."""
    generator = networks.generator(keras, prefixes[0])
    critic = networks.critic(keras, prefixes[1])
    return networks.combined(keras, generator, critic)


def addons():
    """tensorflow-addons' layers, as Keras 3 has them."""
    from tfrecon.layers import InstanceNormalization

    return networks.addons(keras, InstanceNormalization, keras.layers.SpectralNormalization)


def largest_difference(model, case):
    """Between a model's outputs on a recorded input and the recorded ones."""
    outputs = model(case["x"], training=False)
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    assert len(outputs) == sum(key.startswith("y") for key in case)
    return max(float(np.abs(np.asarray(y) - case[f"y{i}"]).max()) for i, y in enumerate(outputs))


def quietly(function, *arguments, **options):
    """Keras 3's own warnings about its old format are not what a test is about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **options)
