"""Judges reconstructions against targets, with the do-nothing row first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..data import Masking, SliceReader, Volume, choose_mask, index_volumes
from ..data.find import find_files
from ..data.layout import read_mask
from ..errors import DataError
from ..hdf5 import get_dataset, guard, open_hdf5
from ..metrics import NAMES, evaluate_volume, match_target
from ..physics import rss, zero_filled
from ..transforms import best_fit_scale, center_crop
from .superres import bicubic
from .volumes import own_masks

TARGET_KEYS = ("reconstruction_esc", "reconstruction_rss")
ENLARGED_KEYS = (*TARGET_KEYS[::-1], "reconstruction")
_SUSPICIOUS = 1.5
# (path of the prediction, path of the target, target images) -> what doing nothing gives; DataError where it has no meaning.
DoNothing = Callable[[str, str, np.ndarray], np.ndarray]


@dataclass
class Evaluation:
    """Scores by volume and what kept volumes out.

    Attributes:
        volumes: name -> {"prediction": scores, baseline: scores or None}.
        missing: targets without a prediction. failed: name -> reason; those in `unreadable` because of their files,
            the others because target and prediction do not go together. notes: name -> sentence.
        pairs: name -> (prediction, target) of every volume that was judged, as `load_pair` (paths) or `load_image_triple`
            (volumes of an index) take them.
        baseline: what doing nothing is called for the task, "zero_filled", "blurred" or "bicubic".
    """

    volumes: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    pairs: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    baseline: str = "zero_filled"

    @property
    def complete(self) -> bool:
        return not self.missing and not self.failed

    def summary(self) -> list[dict[str, Any]]:
        """One row per method, the baseline first: mean, sd (None for one volume) and n of each metric.

        Both rows are over the same volumes: those with a baseline, or all where none has one.
        """
        both = [v for v in self.volumes.values() if v[self.baseline]]
        return [self._row(self.baseline, both), self._row("prediction", both or list(self.volumes.values()))]

    @staticmethod
    def _row(method: str, volumes: list[dict[str, Any]]) -> dict[str, Any]:
        scores = [v[method] for v in volumes]
        judged = [s for s in scores if np.isfinite(s["nmse"])]  # NaN for an empty target: it says nothing
        row: dict[str, Any] = {"name": method, "n": len(judged)}
        for metric in NAMES:
            values = np.array([s[metric] for s in scores if np.isfinite(s[metric])])
            row[metric] = float(values.mean()) if values.size else None
            row[f"{metric}_sd"] = float(values.std(ddof=1)) if values.size > 1 else None
        return row

    def below_baseline(self) -> list[str]:
        """Metrics in which the prediction's mean is worse than doing nothing."""
        base, own = self.summary()
        worse = {"nmse": lambda a, b: a > b, "psnr": lambda a, b: a < b, "ssim": lambda a, b: a < b}
        judged = [m for m in NAMES if base[m] is not None and own[m] is not None and not np.isclose(own[m], base[m], rtol=1e-6)]
        return [m for m in judged if worse[m](own[m], base[m])]


def evaluate_folder(
    predictions: Any, targets: Any, masking: Masking, target: str | None = None, key: str = "reconstruction"
) -> Evaluation:
    """Compare every target volume with the prediction of the same relative name.

    Args:
        predictions: file or folder with dataset `reconstruction`.
        targets: file or folder with the target images, and k-space for the baseline.
        masking: the mask of the baseline where neither the prediction's nor the target's file holds one.
        target: key of the target images; None: reconstruction_esc, else reconstruction_rss.
        key: dataset of the predictions.

    Returns:
        An `Evaluation`; volumes that cannot be compared are listed, not raised.

    Raises:
        DataError: no target or no prediction at all.
    """
    def baseline(prediction_path: str, target_path: str, truth: np.ndarray) -> np.ndarray:
        return load_zero_filled(prediction_path, target_path, truth.shape[1:], masking)[0]

    return _compare("zero_filled", baseline, (predictions, targets), (target, TARGET_KEYS), key)


def evaluate_superres(predictions: Any, targets: Any, target: str | None = None, key: str = "reconstruction") -> Evaluation:
    """As `evaluate_folder` for enlarged images: the baseline is the target reduced by four and enlarged by bicubic
    interpolation; target None: reconstruction_rss, else reconstruction_esc, else reconstruction.
    """
    return _compare("bicubic", lambda *paths_and_truth: bicubic(paths_and_truth[2]), (predictions, targets),
                    (target, ENLARGED_KEYS), key, _same_size)


def _same_size(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """The prediction; DataError for another size, whose middle would be another part of the picture."""
    if truth.shape != prediction.shape:
        raise DataError(f"the target is {truth.shape}, the prediction {prediction.shape}; enlarge the small images that belong "
                        "to the target, or the target itself reduced first (--reduce)")
    return prediction


def _compare(
    baseline: str, do_nothing: DoNothing, folders: tuple[Any, Any], target: tuple[str | None, Sequence[str]], key: str,
    match: Callable[[np.ndarray, np.ndarray], np.ndarray] = match_target,
) -> Evaluation:
    """Every target volume against the prediction of the same relative name; target: the key, or those to look for; match
    takes target and prediction and returns the prediction in the target's size.
    """
    predictions, targets = folders
    found = {name: path for path, name in find_files(predictions)[0]}
    wanted, skipped = find_files(targets)
    if len(found) == len(wanted) == 1:  # two single files are meant for each other whatever their names
        found = {wanted[0][1]: next(iter(found.values()))}
    failed = {s.name: s.reason for s in skipped}
    result = Evaluation(failed=failed, unreadable=list(failed), baseline=baseline)
    for path, name in wanted:
        if name not in found:
            result.missing.append(name)
            continue
        try:
            truth, prediction = _read_images(path, *target), _read_images(found[name], key)
        except DataError as error:
            result.failed[name] = str(error)
            result.unreadable.append(name)
            continue
        try:
            _evaluate_one(result, name, truth, match(truth, prediction), (found[name], path), do_nothing)
        except DataError as error:
            result.failed[name] = str(error)
    return result


def load_pair(
    prediction_path: Any, target_path: Any, target: str | None, key: str, keys: Sequence[str] = TARGET_KEYS
) -> tuple[np.ndarray, np.ndarray]:
    """(target, prediction) volumes, float32, the prediction cropped to the target's size.

    Args:
        target: key of the target images; None: the first there is of `keys`. key: dataset of the prediction.
    """
    truth = _read_images(target_path, target, keys)
    return truth, match_target(truth, _read_images(prediction_path, key))


def load_zero_filled(
    prediction_path: Any, target_path: Any, size: tuple[int, int], masking: Masking
) -> tuple[np.ndarray, np.ndarray | None]:
    """(zero-filled volume cropped to `size`, mask or None), from the target file's k-space.

    Raises:
        DataError: there is no usable k-space of at least that size.
    """
    volume = index_volumes(target_path, strict=True).volumes[0]
    with SliceReader() as reader:
        slices = [reader.kspace(volume, i) for i in range(volume.slices)]
        own = own_masks(volume, reader)
        mask = None if own else _baseline_mask(prediction_path, volume, slices, masking)
        masks = own or [mask] * volume.slices
    images = [zero_filled(k, own) for k, own in zip(slices, masks)]
    combined = images if volume.coils is None else [rss(image) for image in images]
    return np.stack([center_crop(image, size) for image in combined]), mask


def _explains(scale: float, truth: np.ndarray, prediction: np.ndarray) -> bool:
    """Whether the scale is what is wrong: it takes away most of the error, which it does not for a poor image."""
    rest, error = (np.sum(np.square(truth - factor * prediction), dtype=np.float64) for factor in (scale, 1.0))
    return bool(rest < 0.25 * error)


def _evaluate_one(
    result: Evaluation, name: str, truth: np.ndarray, prediction: np.ndarray, paths: tuple[str, str], do_nothing: DoNothing
) -> None:
    notes = _target_notes(truth)
    scores: dict[str, Any] = {"prediction": evaluate_volume(truth, prediction), result.baseline: None}
    try:
        scores[result.baseline] = evaluate_volume(truth, do_nothing(*paths, truth))
    except DataError as error:
        notes.append(f"no {result.baseline.replace('_', '-')} row: {error}")
    result.volumes[name], result.pairs[name] = scores, paths
    scale = best_fit_scale(truth, prediction)
    if not 1 / _SUSPICIOUS < scale < _SUSPICIOUS and prediction.any() and truth.any() and _explains(scale, truth, prediction):
        notes.append(f"best-fit scale {scale:.3g}: the prediction looks {_wrong_by(scale)}; units mixed up?")
    if notes:
        result.notes[name] = "; ".join(notes)


def _wrong_by(scale: float) -> str:
    if scale <= 0:
        return "inverted"
    return f"×{1 / scale:.3g} too large" if scale < 1 else f"×{scale:.3g} too small"


def _target_notes(truth: np.ndarray) -> list[str]:
    if not truth.any():
        return ["the target is zero everywhere: its metrics are n/a and it is left out of the mean"]
    notes = []
    empty = [i for i, image in enumerate(truth) if not image.any()]
    if empty:
        notes.append(f"the target is zero everywhere in slices {empty[:10]}")
    if truth.min() < 0:
        notes.append("the target has negative values though it should be a magnitude; they are kept")
    return notes


def _read_images(path: Any, key: str | None, keys: Sequence[str] = TARGET_KEYS) -> np.ndarray:
    with open_hdf5(path) as file, guard(path, "reading the images"):
        if key is None:
            names = list(file)  # `k in file` would follow links into other files
            key = next((k for k in keys if k in names), keys[0])
        images = np.asarray(get_dataset(file, key, "real images (slices, H, W)")[()])
    if images.ndim == 2:
        images = images[None]
    if images.ndim != 3 or images.dtype.kind not in "fiu":
        raise DataError(f"{path}: {key} must be real images (slices, H, W), found {images.dtype} {images.shape}")
    images = images.astype(np.float32)
    if not np.isfinite(images).all():
        bad = sorted(set(np.argwhere(~np.isfinite(images))[:, 0].tolist()))
        raise DataError(f"{path}: {key} holds NaN or infinity in slices {bad[:10]}; make the file anew")
    return images


def _baseline_mask(
    prediction_path: Any, volume: Volume, slices: list[np.ndarray], masking: Masking
) -> np.ndarray | None:
    """The mask the prediction was made with, else the target file's, else drawn; None for undersampled k-space."""
    with open_hdf5(prediction_path) as file, guard(prediction_path, "reading the mask"):
        if "mask" in list(file):
            return read_mask(get_dataset(file, "mask", "a mask"), f"{prediction_path}: mask", volume.height, volume.width)[0]
    return choose_mask(volume, slices, masking)[0]
