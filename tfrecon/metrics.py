"""Image quality of magnitude volumes, in fastMRI's definitions; other definitions carry other names.

Every function takes `(target, prediction)`, volumes (slices, H, W), real, any scale. Where the target is smaller than the
prediction, the prediction is cropped to it (`match_target`), never the other way round.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import DataError
from .transforms import center_crop

NAMES = ("nmse", "psnr", "ssim")
SSIM_WINDOW = 7
_IDENTICAL = 100.0
_GAUSSIAN_WINDOW, _GAUSSIAN_SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def nmse(target: Any, prediction: Any) -> float:
    """||target - prediction||^2 / ||target||^2 over the volume; 0 is perfect, NaN for an all-zero target."""
    target, prediction = _pair(target, prediction)
    energy = float(np.linalg.norm(target) ** 2)
    return float(np.linalg.norm(target - prediction) ** 2) / energy if energy else float("nan")


def psnr(target: Any, prediction: Any, data_range: float | None = None) -> float:
    """Peak signal to noise ratio in dB over the volume; `data_range` defaults to the target volume's maximum."""
    target, prediction = _pair(target, prediction)
    data_range = _range(target, data_range)
    mse = float(np.mean((target - prediction) ** 2))
    if not data_range > 0:
        return float("nan")
    return float("inf") if mse == 0 else float(10 * np.log10(data_range**2 / mse))


def ssim(target: Any, prediction: Any, data_range: float | None = None) -> float:
    """Structural similarity, the mean over slices; `data_range` defaults to the target VOLUME's maximum.

    7x7 uniform window, sample covariance, K1 = 0.01, K2 = 0.03, a border of 3 pixels left out.
    Reference: facebookresearch/fastMRI@a55a1b1 common/evaluate.py `ssim`.
    """
    target, prediction = _pair(target, prediction)
    data_range = _range(target, data_range)
    if not data_range > 0:
        return float("nan")
    return float(np.mean([_ssim_image(t, p, data_range) for t, p in zip(target, prediction)]))


def ssim_slice(target: Any, prediction: Any) -> float:
    """As `ssim`, but each slice has its own maximum as data range: lower than fastMRI's number, not comparable."""
    target, prediction = _pair(target, prediction)
    return float(np.mean([ssim(t[None], p[None]) for t, p in zip(target, prediction)]))


def ssim_prediction_range(target: Any, prediction: Any) -> float:
    """As `ssim_slice`, but the PREDICTION's maximum is the data range: seed 001's swapped call.

    Kept to reproduce its tables only: a network can raise this number with one bright pixel.
    """
    return ssim_slice(prediction, target)


def psnr_uint8(target: Any, prediction: Any) -> float:
    """Peak signal to noise ratio in dB of grey levels 0 to 255 over the whole volume, 100 where they are equal.

    Reference: KupynOrest/DeblurGAN@2499a87 util/metrics.py `PSNR` on the output of `tensor2im`, uint8 cut from
    (x + 1) / 2 * 255.
    """
    target, prediction = _pair(target, prediction)
    mse = float(np.mean((target / 255 - prediction / 255) ** 2))
    return _IDENTICAL if mse == 0 else float(20 * np.log10(1 / np.sqrt(mse)))


def ssim_gaussian(target: Any, prediction: Any) -> float:
    """Structural similarity of images in [0, 1], the mean over all pixels and slices (channels as slices of their own).

    11x11 Gaussian window with sigma 1.5, variance divided by n, C1 = 1e-4, C2 = 9e-4, zeros beyond the image: the border
    counts, and counts as darker than it is.

    Reference: KupynOrest/DeblurGAN@2499a87 util/metrics.py `SSIM`, its padding window_size // 2 as under Python 2.
    """
    target, prediction = _pair(target, prediction)
    mean_t, mean_p = _gaussian(target), _gaussian(prediction)
    variance_t, variance_p = _gaussian(target**2) - mean_t**2, _gaussian(prediction**2) - mean_p**2
    covariance = _gaussian(target * prediction) - mean_t * mean_p
    luminance = (2 * mean_t * mean_p + _C1) / (mean_t**2 + mean_p**2 + _C1)
    return float(np.mean(luminance * (2 * covariance + _C2) / (variance_t + variance_p + _C2)))


def evaluate_volume(target: Any, prediction: Any, data_range: float | None = None) -> dict[str, float]:
    """nmse, psnr and ssim of one volume; `data_range` as in `psnr` and `ssim`."""
    return {
        "nmse": nmse(target, prediction),
        "psnr": psnr(target, prediction, data_range),
        "ssim": ssim(target, prediction, data_range),
    }


def match_target(target: Any, prediction: Any) -> np.ndarray:
    """Centre-crop the prediction to the target's size; DataError if it is smaller or has other slices."""
    target, prediction = np.asarray(target), np.asarray(prediction)
    if target.ndim != 3 or prediction.ndim != 3 or target.shape[0] != prediction.shape[0]:
        raise DataError(
            f"Expected a prediction (slices, H, W) with the target's slices: target {target.shape}, "
            f"prediction {prediction.shape}."
        )
    if any(p < t for t, p in zip(target.shape[1:], prediction.shape[1:])):
        raise DataError(
            f"The prediction {prediction.shape} is smaller than its target {target.shape}; reconstruct at the "
            "target's size (the target is never cropped)."
        )
    return center_crop(prediction, target.shape[1:])


def _pair(target: Any, prediction: Any) -> tuple[np.ndarray, np.ndarray]:
    target, prediction = np.asarray(target), match_target(target, prediction)
    if np.iscomplexobj(target) or np.iscomplexobj(prediction):
        raise DataError("Metrics compare magnitudes; received complex values. Take the absolute value first.")
    return target.astype(np.float64), prediction.astype(np.float64)


def _range(target: np.ndarray, data_range: float | None) -> float:
    return float(target.max()) if data_range is None else float(data_range)


def _ssim_image(target: np.ndarray, prediction: np.ndarray, data_range: float) -> float:
    if min(target.shape) < SSIM_WINDOW:
        raise DataError(f"SSIM needs images of at least {SSIM_WINDOW}x{SSIM_WINDOW}, received {target.shape}.")
    from skimage.metrics import structural_similarity

    return float(structural_similarity(target, prediction, win_size=SSIM_WINDOW, data_range=data_range))


def _gaussian(images: np.ndarray) -> np.ndarray:
    """Gaussian mean around every pixel of (slices, H, W), zeros outside, one axis after the other."""
    reach = _GAUSSIAN_WINDOW // 2
    weights = np.exp(-((np.arange(_GAUSSIAN_WINDOW) - reach) ** 2) / (2 * _GAUSSIAN_SIGMA**2))
    weights /= weights.sum()
    for axis in (1, 2):
        padded = np.pad(images, [(reach, reach) if a == axis else (0, 0) for a in range(3)])
        images = np.lib.stride_tricks.sliding_window_view(padded, _GAUSSIAN_WINDOW, axis) @ weights
    return images
