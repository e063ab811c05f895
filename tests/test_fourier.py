"""Fourier transforms, crops and undersampling: equal to fastMRI's, adjoint, and the shared work equal to the plain."""

import numpy as np
import pytest
import tensorflow as tf
from helpers import check_adjoint, check_linear, complex_normal

from tfrecon.errors import DataError
from tfrecon.physics import columns_of, fft2c, ifft2c, masked_and_full, rss, zero_filled
from tfrecon.transforms import center_crop, crop_size

KINDS = {"numpy": np.asarray, "tensorflow": tf.constant}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("i", [0, 1])  # even and odd sizes
def test_fft_equals_fastmri(golden, kind, i):
    case = golden("fastmri_fft")
    kspace = KINDS[kind](case[f"k{i}"])
    image = ifft2c(kspace)
    assert isinstance(image, tf.Tensor if kind == "tensorflow" else np.ndarray)
    image = np.asarray(image)
    np.testing.assert_allclose(np.stack([image.real, image.imag], -1), case[f"ifft2_{i}"], atol=1e-6)
    np.testing.assert_allclose(np.abs(image), case[f"abs{i}"], atol=1e-6)
    np.testing.assert_allclose(center_crop(np.abs(image), case.meta[f"crop{i}_shape"]), case[f"crop{i}"], atol=1e-6)
    again = np.asarray(fft2c(ifft2c(kspace)))
    np.testing.assert_allclose(np.stack([again.real, again.imag], -1), case[f"fft2_of_ifft2_{i}"], atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("shape", [(2, 8, 6), (3, 7, 5), (16, 9)])
def test_fft_is_linear_unitary_and_its_own_adjoints_inverse(kind, dtype, shape):
    to = KINDS[kind]
    check_linear(lambda x: fft2c(to(x)), shape, dtype)
    check_adjoint(lambda x: fft2c(to(x)), lambda y: ifft2c(to(y)), shape, shape, dtype)
    x = complex_normal(np.random.default_rng(1), shape, dtype)
    np.testing.assert_allclose(np.linalg.norm(fft2c(to(x))), np.linalg.norm(x), rtol=1e-6)
    np.testing.assert_allclose(ifft2c(to(fft2c(to(x)))), x, atol=1e-6)


def test_fft_compiles_under_xla():
    x = tf.constant(complex_normal(np.random.default_rng(0), (2, 15, 12), np.complex64))
    np.testing.assert_allclose(tf.function(fft2c, jit_compile=True)(x), fft2c(x), atol=1e-5)


def test_fft_takes_real_images():
    image = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    assert fft2c(image).dtype == np.complex64
    np.testing.assert_allclose(np.asarray(fft2c(tf.constant(image))), fft2c(image), atol=1e-6)


def test_zero_filled_ignores_nan_where_nothing_was_measured():
    kspace = complex_normal(np.random.default_rng(0), (6, 8), np.complex64)
    mask = np.arange(8) % 2 == 0
    spoiled = np.where(mask, kspace, np.nan + 0j)
    np.testing.assert_array_equal(zero_filled(spoiled, mask), zero_filled(kspace, mask))
    assert np.isfinite(zero_filled(spoiled, mask)).all()


@pytest.mark.parametrize("size", [(12, 10), (11, 9), (640, 368), (13, 8)])
@pytest.mark.parametrize("crop", ["full", "odd", "even", "one"])
def test_shared_readout_equals_two_plain_transforms(size, crop):
    wanted = {"full": size, "odd": (7, 5), "even": (6, 8), "one": (1, 1)}[crop]
    rng = np.random.default_rng(0)
    kspace, mask = complex_normal(rng, size, np.complex64), rng.random(size[1]) < 0.5
    masked, full = masked_and_full(columns_of(kspace), mask, wanted)
    limit = 2e-6 * np.abs(ifft2c(kspace)).max()
    np.testing.assert_allclose(masked, center_crop(zero_filled(kspace, mask), wanted), atol=limit)
    np.testing.assert_allclose(full, center_crop(zero_filled(kspace), wanted), atol=limit)
    alone, nothing = masked_and_full(columns_of(kspace, mask), mask, wanted, full=False)
    assert nothing is None
    np.testing.assert_allclose(alone, masked, atol=limit)


@pytest.mark.parametrize("unit", [1e-30, 1e-19, 2e-12, 1e17, 1e30])
def test_magnitudes_keep_units_whose_squares_leave_float32(unit):
    kspace = (complex_normal(np.random.default_rng(0), (12, 10), complex) * unit).astype(np.complex64)
    masked, full = masked_and_full(columns_of(kspace), np.arange(10) % 3 > 0, (12, 10))
    np.testing.assert_allclose(full, zero_filled(kspace), rtol=1e-4)
    np.testing.assert_allclose(masked, zero_filled(kspace, np.arange(10) % 3 > 0), rtol=1e-4)


@pytest.mark.parametrize("full", [True, False])
def test_what_was_not_measured_has_no_part_in_the_zero_filled_image(full):
    kspace, mask = complex_normal(np.random.default_rng(0), (6, 8), np.complex64), np.arange(8) % 2 == 0
    spoiled = np.where(mask, kspace, np.nan + 0j)
    masked, _ = masked_and_full(columns_of(spoiled, None if full else mask), mask, (6, 8), full)
    np.testing.assert_allclose(masked, zero_filled(kspace, mask), atol=1e-6)


@pytest.mark.parametrize("full", [True, False])
def test_a_mask_that_leaves_nothing_gives_an_empty_image(full):
    mask = np.zeros(8, bool)
    masked, _ = masked_and_full(columns_of(np.ones((6, 8), np.complex64), None if full else mask), mask, (6, 8), full)
    np.testing.assert_array_equal(masked, np.zeros((6, 8)))


def test_center_crop_refuses_what_does_not_fit():
    with pytest.raises(DataError, match="expected 1..4 x 1..6"):
        center_crop(np.zeros((4, 6)), (5, 6))
    with pytest.raises(DataError):
        center_crop(np.zeros((4, 6)), (0, 3))


def test_crop_size_follows_fastmris_rule():
    assert crop_size(640, 372) == (320, 320)
    assert crop_size(640, 300) == (300, 300)
    assert crop_size(200, 368) == (200, 200)


def test_rss_over_coils():
    coils = np.stack([np.full((4, 3), 3j), np.full((4, 3), -4.0)])
    np.testing.assert_allclose(rss(coils), np.full((4, 3), 5.0))
