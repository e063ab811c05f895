"""Laws written once and called for everything they hold for."""

from __future__ import annotations

import numpy as np


def complex_normal(rng, shape, dtype):
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)


def check_adjoint(forward, adjoint, domain, range_, dtype, seed=0):
    """<A x, y> = <x, A^H y>, shapes asserted too: a flattened product would forgive them."""
    rng = np.random.default_rng(seed)
    x, y = complex_normal(rng, domain, dtype), complex_normal(rng, range_, dtype)
    ax, ahy = np.asarray(forward(x)), np.asarray(adjoint(y))
    assert ax.shape == tuple(range_) and ahy.shape == tuple(domain)
    assert ax.dtype == ahy.dtype == dtype
    tolerance = 1e-5 if dtype == np.complex64 else 1e-12
    np.testing.assert_allclose(np.vdot(y, ax), np.vdot(ahy, x), rtol=tolerance, atol=tolerance * x.size)


def check_linear(operator, domain, dtype, seed=0):
    """A(a x + y) = a A x + A y."""
    rng = np.random.default_rng(seed)
    x, y = complex_normal(rng, domain, dtype), complex_normal(rng, domain, dtype)
    a = dtype(0.3 - 1.7j)
    tolerance = 1e-5 if dtype == np.complex64 else 1e-12
    together = np.asarray(operator(a * x + y))
    np.testing.assert_allclose(together, a * np.asarray(operator(x)) + operator(y), rtol=tolerance, atol=tolerance)


def check_config_round_trip(layer, *inputs):
    """A layer rebuilt from its config, with its weights, gives the same output; every constructor argument survives."""
    import keras

    expected = layer(*inputs)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()
    copy(*inputs)
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(np.asarray(copy(*inputs)), np.asarray(expected))
