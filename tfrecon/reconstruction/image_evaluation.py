"""Judges deblurred CT images against sharp ones, with the blurred row first."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..data.ct import Blurring, ImageReader, ImageVolume, Window, blur_slice, choose_window, index_images, parse_window, stem
from ..errors import DataError, UsageError, shown
from ..metrics import evaluate_volume
from .evaluation import Evaluation

BASELINE = "blurred"


def evaluate_images(
    predictions: Any,
    targets: Any,
    window: Any = None,
    blurring: Blurring | None = None,
    key: str | None = None,
    nan: str = "refuse",
) -> Evaluation:
    """Compare every sharp volume with the prediction of the same relative name, whatever the formats.

    Images are windowed and mapped to [0, 1]; the metrics are those of the package over volumes, with 1 as data range.

    Args:
        predictions: DICOM, NIfTI, PNG or HDF5 files, or a folder of them.
        targets: the sharp images, which the blurred row is made of.
        window: see `data.ct.choose_window`; None: the one a prediction's attributes name, else the default.
        blurring: the blur of the baseline where a prediction's attributes hold none; None: no blurred row there.
        key: dataset of HDF5 targets.
        nan: see `data.ct.ImageReader`.

    Returns:
        An `Evaluation` whose baseline is "blurred"; volumes that cannot be compared are listed, not raised.

    Raises:
        DataError: no target or no prediction at all. UsageError: no such window, or a blur that differs at every call.
    """
    if blurring is not None and blurring.seed is None:
        raise UsageError('A blur to be judged must be drawn the same again: give its seed as "file" or a number.')
    if window is not None:
        parse_window(window)
    wanted, made = index_images(targets, key=key), index_images(predictions)
    result = Evaluation(baseline=BASELINE)
    for skipped in wanted.skipped:
        result.failed[skipped.name] = skipped.reason
        result.unreadable.append(skipped.name)
    found = {stem(volume.name): volume for volume in made.volumes}
    if len(made.volumes) == len(wanted.volumes) == 1:  # two single volumes are meant for each other whatever their names
        found = {stem(wanted.volumes[0].name): made.volumes[0]}
    with ImageReader(nan) as reader:
        for volume in wanted.volumes:
            prediction = found.get(stem(volume.name))
            if prediction is None:
                result.missing.append(volume.name)
            else:
                _judge(result, volume, prediction, reader, window, blurring)
    return result


def load_image_triple(
    volume: ImageVolume, prediction: ImageVolume, reader: ImageReader, window: Any = None, blurring: Blurring | None = None
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """(blurred or None, prediction, target) of one volume, float32 (slices, H, W) in [0, 1] through the window.

    Raises:
        DataError: the two do not go together, or cannot be read.
    """
    _check_alike(volume, prediction)
    chosen = _window(volume, prediction, window)
    rule = Blurring.from_attributes(prediction.attributes) or blurring
    sharp = [reader.slice(volume, i) for i in range(volume.slices)]
    output = [reader.slice(prediction, i) for i in range(volume.slices)]
    blurred = None if rule is None else _unit(chosen, [_blurred(volume, reader, rule, i) for i in range(volume.slices)])
    return blurred, _unit(chosen, output), _unit(chosen, sharp)


def _blurred(volume: ImageVolume, reader: ImageReader, rule: Blurring, i: int) -> np.ndarray:
    """What doing nothing leaves; air in the padding as in every result, or the network would be paid for restoring it."""
    stored, air = reader.stored(volume, i), np.float32(volume.air)
    return np.where(stored.padding, air, blur_slice(stored.values, rule.draw(volume.name, (i,)), air))


def _judge(
    result: Evaluation, volume: ImageVolume, prediction: ImageVolume, reader: ImageReader, window: Any,
    blurring: Blurring | None,
) -> None:
    try:
        blurred, output, truth = load_image_triple(volume, prediction, reader, window, blurring)
        scores = {"prediction": evaluate_volume(truth, output, 1.0)}
        scores[BASELINE] = None if blurred is None else evaluate_volume(truth, blurred, 1.0)
    except DataError as error:
        result.failed[volume.name] = str(error)
        return
    result.volumes[volume.name], result.pairs[volume.name] = scores, (prediction, volume)
    notes = [] if blurred is not None else ["no blurred row: the prediction does not say how its input was blurred"]
    if window is None and not _says_window(prediction):
        notes.append(f"judged in the window {_window(volume, prediction, None).name}; the prediction does not say which")
    if not truth.any():
        notes.append("the target is black everywhere in this window: its metrics are n/a and it is left out of the mean")
    if notes:
        result.notes[volume.name] = "; ".join(notes)


def _check_alike(volume: ImageVolume, prediction: ImageVolume) -> None:
    sizes = [(v.slices, v.height, v.width) for v in (volume, prediction)]
    if sizes[0] != sizes[1]:
        raise DataError(f"{shown(volume.name)}: the target has {sizes[0]} slices, rows and columns, the prediction "
                        f"{sizes[1]}; the two must agree")
    if volume.kind != prediction.kind:
        raise DataError(f"{shown(volume.name)}: the target holds {_unit_name(volume)}, the prediction "
                        f"{_unit_name(prediction)}; reconstruct the target's own file")


def _unit_name(volume: ImageVolume) -> str:
    return "Hounsfield units" if volume.kind == "hu" else "grey levels"


def _window(volume: ImageVolume, prediction: ImageVolume, window: Any) -> Window:
    """The one asked for, else the one the prediction was made with, else the default."""
    facts = prediction.attributes
    if window is None and _says_window(prediction):
        return parse_window((facts["window_center"], facts["window_width"]))
    return choose_window(window, volume)


def _says_window(prediction: ImageVolume) -> bool:
    return {"window_center", "window_width"} <= set(prediction.attributes)


def _unit(window: Window, slices: list[np.ndarray]) -> np.ndarray:
    return (window.to_network(np.stack(slices)) + 1) / 2
