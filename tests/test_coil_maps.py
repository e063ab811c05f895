"""Coil maps from the sampled centre: they explain the coil images, and a too small or empty centre is told."""

import numpy as np
import pytest
from helpers import complex_normal

from tfrecon.errors import DataError, UsageError
from tfrecon.physics import estimate_maps, fft2c, ifft2c, rss
from tfrecon.physics.coil_maps import calibration_area


def phantom(coils=4, height=48, width=40):
    """A textured disc seen by coils with smooth maps: (k-space, maps normalised, disc)."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    disc = (x**2 + y**2) < 0.7
    image = disc * (1 + 0.3 * np.cos(7 * x) * np.sin(5 * y)) * np.exp(0.5j * x * y)
    angles = 2 * np.pi * np.arange(coils) / coils
    maps = np.stack([np.exp(-((x - np.cos(a)) ** 2 + (y - np.sin(a)) ** 2) / 2 + 1j * (np.cos(a) * x + a)) for a in angles])
    maps /= rss(maps)
    return fft2c(maps * image), maps, disc


@pytest.mark.parametrize("method, limit", [("espirit", 0.01), ("low_resolution", 0.06)])
@pytest.mark.parametrize("shape", [(48, 40), (47, 41)])
def test_maps_explain_the_coil_images(method, limit, shape):
    """The part of the coil images that is no multiple of the maps, inside the object."""
    kspace, maps, disc = phantom(4, *shape)
    found = estimate_maps(kspace, method=method)
    assert found.dtype == np.complex64 and found.shape == maps.shape
    np.testing.assert_allclose(rss(found), 1, atol=1e-5)
    np.testing.assert_allclose(np.angle(found[0]), 0, atol=1e-5)
    images = ifft2c(kspace)
    explained = found * (found.conj() * images).sum(0)
    assert np.linalg.norm((images - explained)[:, disc]) / np.linalg.norm(images[:, disc]) < limit
    alike = np.abs((found.conj() * maps).sum(0))[disc]
    assert alike.mean() > 1 - limit


def test_only_the_sampled_centre_is_looked_at():
    kspace, _, _ = phantom()
    mask = np.zeros(40, bool)
    mask[14:26] = mask[3] = True
    other = np.where(mask, kspace, np.nan)
    np.testing.assert_array_equal(estimate_maps(np.nan_to_num(other), mask), estimate_maps(kspace, mask))


def test_crop_empties_what_eigenvalues_do_not_explain():
    kspace, _, disc = phantom()
    noisy = kspace + 0.02 * complex_normal(np.random.default_rng(0), kspace.shape, np.complex128)
    found = estimate_maps(noisy, crop=0.9)
    empty = ~found.any(axis=0)
    assert empty[~disc].mean() > 0.3 and empty[disc].mean() < 0.05


@pytest.mark.parametrize("mask, area", [
    (np.ones(12, bool), (10, 12)),
    (np.isin(np.arange(12), [4, 5, 6, 7, 8]), (10, 5)),
    (np.isin(np.arange(12), [5, 6, 7, 8]), (10, 3)),  # the middle is column 6
    (np.zeros(12, bool), (0, 0)),
    (np.outer(np.isin(np.arange(10), [4, 5, 6]), np.isin(np.arange(12), [5, 6, 7])), (3, 3)),
])
def test_calibration_area(mask, area):
    assert calibration_area(mask, (10, 12)) == area


@pytest.mark.parametrize("call, error, message", [
    (lambda k: estimate_maps(k, np.arange(40) == 20), DataError, "24 x 1; estimating"),
    (lambda k: estimate_maps(0 * k), DataError, "zero everywhere"),
    (lambda k: estimate_maps(k, method="walsh"), UsageError, "espirit, low_resolution"),
])
def test_what_cannot_be_estimated(call, error, message):
    with pytest.raises(error, match=message):
        call(phantom()[0])


def test_sigpy_agrees():
    """Against sigpy's EspiritCalib, where it is installed (the benchmark extra)."""
    mri = pytest.importorskip("sigpy.mri.app", reason="sigpy comes with the benchmark extra")
    kspace, _, disc = phantom(4, 48, 48)
    theirs = mri.EspiritCalib(kspace.astype(np.complex64), calib_width=24, thresh=0.02, kernel_width=6, crop=0,
                              show_pbar=False).run()
    alike = np.abs((estimate_maps(kspace).conj() * theirs).sum(0))
    assert alike[disc].min() > 0.999
