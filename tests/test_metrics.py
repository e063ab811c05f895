"""Metrics: fastMRI's numbers, the other definitions under other names, and refusals."""

import numpy as np
import pytest

from tfrecon import metrics, transforms
from tfrecon.errors import DataError


def test_equal_fastmris_evaluate(golden):
    case = golden("fastmri_metrics")
    gt, pred, meta = case["gt"], case["pred"], case.meta
    assert metrics.nmse(gt, pred) == pytest.approx(meta["NMSE"], rel=1e-6)
    assert metrics.psnr(gt, pred) == pytest.approx(meta["PSNR"], rel=1e-7)
    assert metrics.ssim(gt, pred) == pytest.approx(meta["SSIM"], abs=1e-8)
    assert metrics.ssim(gt, pred) == pytest.approx(meta["today_ssim"], abs=1e-8)
    assert metrics.nmse(pred, gt) == pytest.approx(meta["NMSE_swapped(pred as gt)"], rel=1e-6)
    assert metrics.psnr(pred, gt) == pytest.approx(meta["PSNR_swapped(pred as gt)"], rel=1e-7)
    assert metrics.ssim(pred, gt) == pytest.approx(meta["SSIM_swapped(pred as gt)"], abs=1e-8)


def test_seed_001s_swapped_ssim_has_its_own_name(golden):
    case = golden("fastmri_metrics")
    expected = case.meta["seed001_ssim_slice0 = ssim(gt=pred[0], pred=gt[0])"]
    assert metrics.ssim_prediction_range(case["gt"][:1], case["pred"][:1]) == pytest.approx(expected, abs=1e-8)


def test_slice_range_differs_from_volume_range():
    rng = np.random.default_rng(0)
    gt = rng.random((2, 16, 16)) * np.array([1.0, 0.1])[:, None, None]
    pred = gt + 0.02 * rng.normal(size=gt.shape)
    assert metrics.ssim_slice(gt, pred) < metrics.ssim(gt, pred)


def test_one_hot_pixel_cannot_buy_a_score():
    gt = np.random.default_rng(0).random((1, 32, 32))
    cheat = np.full_like(gt, 0.5)
    cheat[0, 0, 0] = 100.0
    assert metrics.ssim_prediction_range(gt, cheat) > 0.9 > 0.5 > metrics.ssim(gt, cheat)


def test_perfect_and_empty():
    gt = np.random.default_rng(0).random((1, 16, 16))
    assert metrics.evaluate_volume(gt, gt) == {"nmse": 0.0, "psnr": float("inf"), "ssim": pytest.approx(1.0)}
    assert np.isnan(list(metrics.evaluate_volume(np.zeros((1, 16, 16)), gt).values())).all()


def test_prediction_is_cropped_never_the_target():
    gt = np.random.default_rng(0).random((2, 16, 14))
    larger = np.pad(gt, ((0, 0), (2, 2), (3, 3)), constant_values=9.0)
    assert metrics.evaluate_volume(gt, larger)["nmse"] == 0.0
    with pytest.raises(DataError, match="smaller than its target"):
        metrics.evaluate_volume(larger, gt)


@pytest.mark.parametrize("function", [metrics.nmse, metrics.psnr, metrics.ssim])
def test_larger_prediction_is_cropped_everywhere(function):
    gt = np.random.default_rng(0).random((2, 16, 16))
    larger = np.pad(gt, ((0, 0), (2, 2), (2, 2)), constant_values=9.0)
    assert function(gt, larger) == function(gt, gt)


@pytest.mark.parametrize("function", [metrics.nmse, metrics.psnr, metrics.ssim])
def test_shapes_and_complex_are_refused(function):
    with pytest.raises(DataError, match="with the target's slices"):
        function(np.zeros((2, 16, 16)), np.zeros((3, 16, 16)))
    with pytest.raises(DataError, match="complex"):
        function(np.ones((1, 16, 16)), np.ones((1, 16, 16), complex))


def test_best_fit_scale_finds_a_unit_error():  # row 78
    gt = np.random.default_rng(0).random((1, 8, 8))
    assert transforms.best_fit_scale(gt, 20 * gt) == pytest.approx(1 / 20)
    assert transforms.best_fit_scale(gt, 0 * gt) == 1.0
