"""The metrics of the CT deblurring original, under their own names."""

import numpy as np
import pytest

from tfrecon import metrics
from tfrecon.errors import DataError


def test_equal_the_originals(golden):
    case = golden("kupyn_metrics")
    images = [np.moveaxis(case[key], -1, 0) for key in ("im_a", "im_b")]
    assert metrics.psnr_uint8(*images) == pytest.approx(case.meta["PSNR_uint8"], abs=1e-9)
    assert metrics.psnr_uint8(images[0], images[0]) == case.meta["PSNR_identical"] == 100
    name = next(key for key in case.meta if key.startswith("SSIM"))
    flat = [(case[key].reshape(-1, 40, 48) + 1) / 2 for key in ("a", "b")]
    assert metrics.ssim_gaussian(*flat) == pytest.approx(case.meta[name], abs=1e-6)


def test_gaussian_ssim_is_one_for_equal_images_only_and_differs_from_the_other_ssim():
    rng = np.random.default_rng(0)
    image = rng.random((2, 20, 24))
    noisy = np.clip(image + 0.1 * rng.normal(size=image.shape), 0, 1)
    assert metrics.ssim_gaussian(image, image) == pytest.approx(1)
    assert 0 < metrics.ssim_gaussian(image, noisy) < 1
    assert metrics.ssim_gaussian(image, noisy) != pytest.approx(metrics.ssim(image, noisy, 1.0), abs=1e-4)
    with pytest.raises(DataError):
        metrics.ssim_gaussian(image, noisy[:1])


def test_an_explicit_range_reaches_psnr_and_ssim():
    image = np.full((1, 16, 16), 0.5) + 0.1 * np.eye(16)
    other = image + 0.01
    found = metrics.evaluate_volume(image, other, 1.0)
    assert found["psnr"] == pytest.approx(40) and metrics.evaluate_volume(image, other)["psnr"] < 40
    assert found["ssim"] == metrics.ssim(image, other, 1.0)
