"""The laws every linear operator obeys, and the originals' numbers."""

import numpy as np
import pytest
import tensorflow as tf
from helpers import check_adjoint, check_linear, complex_normal

from tfrecon.errors import UsageError
from tfrecon.physics.operators import CoilMaps, Convolve, Fourier, Mask, Sense

RNG = np.random.default_rng(5)
DTYPES = [np.complex64, np.complex128]


def maps(*shape):
    return complex_normal(np.random.default_rng(1), shape, np.complex128)


def columns(*shape):
    return (np.random.default_rng(2).uniform(size=shape) < 0.4).astype(float)


OPERATORS = {
    "fourier": lambda t: Fourier((2, 6, 5)),
    "fourier_uncentred": lambda t: Fourier((2, 3, 6, 5), centered=False),
    "mask": lambda t: Mask(columns(2, 1, 6, 5), (2, 3, 6, 5)),
    "weights": lambda t: Mask(maps(6, 5).astype(t), (2, 6, 5)),
    "coils": lambda t: CoilMaps(maps(2, 3, 6, 5).astype(t)),
    "sets": lambda t: CoilMaps(maps(2, 4, 3, 6, 5).astype(t)),
    "sense": lambda t: Sense(maps(2, 3, 6, 5).astype(t), columns(2, 6, 5)),
    "sense_odd": lambda t: Sense(maps(2, 3, 7, 5).astype(t), columns(2, 7, 5)),
    "sense_uncentred": lambda t: Sense(maps(2, 3, 6, 5).astype(t), columns(2, 6, 5), centered=False),
    "soft_sense": lambda t: Sense(maps(2, 2, 3, 6, 5).astype(t), columns(2, 6, 5)),
    "sense_full": lambda t: Sense(maps(1, 3, 6, 5).astype(t)),
    "convolve": lambda t: Convolve(maps(3, 4).astype(t), (2, 6, 5)),
    "convolve_wide": lambda t: Convolve(maps(9, 1).astype(t), (6, 5)),
    "composed": lambda t: Mask(columns(2, 6, 5), (2, 6, 5)) @ Fourier((2, 6, 5)) @ Convolve(maps(3, 3).astype(t), (2, 6, 5)),
}
EVERY = pytest.mark.parametrize("name", OPERATORS)
PRECISIONS = pytest.mark.parametrize("dtype", DTYPES, ids=lambda t: t.__name__)


@EVERY
@PRECISIONS
def test_laws(name, dtype):
    a = OPERATORS[name](dtype)
    check_linear(a.forward, a.domain, dtype)
    check_linear(a.adjoint, a.codomain, dtype)
    check_adjoint(a.forward, a.adjoint, a.domain, a.codomain, dtype)


@EVERY
@PRECISIONS
def test_normal_is_adjoint_of_forward(name, dtype):
    a = OPERATORS[name](dtype)
    x = complex_normal(RNG, a.domain, dtype)
    expected = np.asarray(a.adjoint(a.forward(x)))
    tolerance = (2e-5 if dtype == np.complex64 else 1e-12) * np.abs(expected).max()
    np.testing.assert_allclose(a.normal(x), expected, rtol=0, atol=tolerance)


@EVERY
@PRECISIONS
def test_gradient_is_the_adjoint(name, dtype):
    a = OPERATORS[name](dtype)
    x, y = tf.constant(complex_normal(RNG, a.domain, dtype)), complex_normal(RNG, a.codomain, dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.reduce_sum(tf.math.real(tf.math.conj(y) * a.forward(x)))
    expected = np.asarray(a.adjoint(y))
    tolerance = (2e-5 if dtype == np.complex64 else 1e-12) * np.abs(expected).max()
    np.testing.assert_allclose(tape.gradient(value, x), expected, rtol=0, atol=tolerance)


@EVERY
def test_under_xla(name):
    a = OPERATORS[name](np.complex64)
    x = complex_normal(RNG, a.domain, np.complex64)
    expected = np.asarray(a.normal(x))
    np.testing.assert_allclose(tf.function(a.normal, jit_compile=True)(x), expected, atol=1e-5 * np.abs(expected).max())


def test_convolution_is_numpys_same():
    from numpy import convolve

    x, kernel = maps(1, 9)[0], maps(1, 4)[0]
    own = Convolve(kernel[None], (1, 9)).forward(x[None])
    np.testing.assert_allclose(own[0], convolve(x, kernel)[2 : 2 + 9], atol=1e-12)


def test_sense_is_its_plain_composition():
    s, m = maps(2, 3, 7, 6), columns(2, 7, 6)
    plain = Mask(m[:, None], (2, 3, 7, 6)) @ Fourier((2, 3, 7, 6)) @ CoilMaps(s)
    x = maps(2, 7, 6)
    np.testing.assert_allclose(Sense(s, m).forward(x), plain.forward(x), atol=1e-12)


def test_deepinpy_sense(flow):
    case = flow("sense")
    a = Sense(case["in_maps"], case["in_mask"], centered=False)
    np.testing.assert_allclose(a.forward(case["in_x"]), case["out_forward"], atol=1e-5)
    np.testing.assert_allclose(a.adjoint(case["in_y"]), case["out_adjoint"], atol=1e-5)
    np.testing.assert_allclose(a.normal(case["in_x"]), case["out_normal"], atol=1e-5)
    both = a.normal(case["in_x"]) + case.meta["l2lam"] * case["in_x"]
    np.testing.assert_allclose(both, case["out_normal_l2"], atol=1e-5)


def test_deepinpy_fourier(flow):
    case = flow("fft")
    x = case["in_x"]
    for key, centered in (("fft2uc", True), ("nb_fft", True), ("torch_fft", False)):
        np.testing.assert_allclose(Fourier(x.shape, centered).forward(x), case[f"out_{key}"], atol=2e-6, err_msg=key)
    for key, centered in (("ifft2uc", True), ("nb_ifft", True), ("torch_ifft", False)):
        np.testing.assert_allclose(Fourier(x.shape, centered).adjoint(x), case[f"out_{key}"], atol=2e-6, err_msg=key)


def test_the_notebooks_operator_is_uncentred_sense(flow):
    case = flow("nb_sense")
    s = (case["in_maps_ri"] @ np.array([1, 1j]))[None].astype(np.complex64)
    a = Sense(s, case["in_mask"], centered=False)
    y = np.asarray(a.forward(case["in_x"].astype(np.complex64)))[0]
    np.testing.assert_allclose(np.stack([y.real, y.imag], -1), case["out_ksp_ri"], atol=1e-5)
    # Its adjoint leaves the mask out.
    x = np.asarray(Sense(s, centered=False).adjoint(y[None]))[0]
    np.testing.assert_allclose(np.stack([x.real, x.imag], -1), case["out_adj_ri"], atol=1e-5)


@pytest.mark.parametrize("call, message", [
    (lambda: Fourier((2, 6, 5)).forward(np.ones((2, 6, 5), np.float32)), "takes complex"),
    (lambda: Fourier((2, 6, 5)).forward(np.ones((1, 2, 6, 5), np.complex64)), "received (1, 2, 6, 5)"),
    (lambda: Fourier((2, 6, 5)).adjoint(np.ones((2, 5, 6), np.complex64)), "received (2, 5, 6)"),
    (lambda: Mask(np.ones((2, 6, 4)), (2, 6, 5)), "does not broadcast"),
    (lambda: Mask(np.ones((1, 2, 6, 5)), (2, 6, 5)), "does not broadcast"),
    (lambda: CoilMaps(np.ones((3, 6, 5), np.complex64)), "received complex64 (3, 6, 5)"),
    (lambda: CoilMaps(np.ones((1, 3, 6, 5), np.float32)), "must be complex"),
    (lambda: Sense(maps(2, 3, 6, 5), np.ones((2, 6, 4))), "received (2, 6, 4)"),
    (lambda: Sense(maps(2, 3, 6, 5), np.ones((2, 1, 6, 5))), "received (2, 1, 6, 5)"),
    (lambda: Fourier((2, 6, 5)) @ Fourier((2, 6, 4)), "cannot follow"),
    (lambda: Convolve(np.ones(3), (6, 5)), "takes a kernel"),
])
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(UsageError) as caught:
        call()
    assert message in str(caught.value)
