"""The pictures of a report: slices, k-space to error panels, strips, loss curves and fold comparisons.

Every function takes arrays or numbers and returns a `matplotlib.figure.Figure` that belongs to nobody else: pyplot and
its global state are never touched. Complex images are shown as magnitudes. NaN, constant and all-zero images are shown
as they are, without a warning: a broken result must still reach the page that reports it.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from .images import figure_to_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ERROR_GAIN = 5.0  # errors are shown in a window this much narrower than the images
COLOURS = ("#2a6fbb", "#d1495b", "#3a8f5c", "#8a5fbf", "#c77f1a", "#4f6272")
MARKS = "os^Dv*"


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure._repr_png_ = partial(figure_to_png, figure)  # notebooks show figures of pyplot by themselves, others as a name
    return figure


def _magnitude(image: object, name: str) -> np.ndarray:
    """One picture as float64 (height, width)."""
    values = np.asarray(image)
    with np.errstate(invalid="ignore", over="ignore"):
        values = np.abs(values) if np.iscomplexobj(values) else values
    if values.ndim != 2:
        raise UsageError(f"{name}: expected one picture (height, width), received shape {values.shape}; choose a slice "
                         "and combine coils first.")
    return values.astype(np.float64)


def _literal(text: object) -> str:
    """A name as matplotlib prints it unchanged: $ starts a formula there, a leading _ hides a legend entry."""
    return str(text).lstrip("_").replace("$", r"\$")


def _maximum(*images: np.ndarray | None) -> float:
    """Largest finite value of the first image that has one above zero, else 1: the upper end of a window."""
    for image in images:
        if image is not None:
            finite = image[np.isfinite(image)]
            if finite.size and finite.max() > 0:
                return float(finite.max())
    return 1.0


def _picture(axes: "Axes", image: np.ndarray, title: str = "", high: float = 1.0, cmap: str = "gray") -> None:
    shown = np.ma.masked_invalid(image)
    axes.imshow(shown, cmap=cmap, vmin=0.0, vmax=high, interpolation="nearest")
    axes.set_facecolor("#7a2020")  # masked pixels (NaN) show through in dark red
    axes.set_xticks([])
    axes.set_yticks([])
    if title:
        axes.set_title(_literal(title), fontsize=9)


def _error(output: np.ndarray, target: np.ndarray) -> np.ndarray:
    if output.shape != target.shape:
        raise UsageError(f"output: expected the target's shape {target.shape}, received {output.shape}; crop both to "
                         "the same size first.")
    with np.errstate(invalid="ignore"):
        return np.abs(output - target)


def show_slices(volume: np.ndarray, indices: Sequence[int], cmap: str = "gray",
                titles: Sequence[str] | None = None) -> "Figure":
    """Some slices of a volume (slices, height, width) side by side, each in its own window, as in fastMRI's tutorial."""
    indices = list(indices)
    wrong = [i for i in indices if not -len(volume) <= i < len(volume)]
    if wrong or not indices:
        raise UsageError(f"indices: expected slices between 0 and {len(volume) - 1}, received {wrong or 'none'}; name "
                         "slices the volume has.")
    figure = _figure(2.6 * len(indices), 2.9)
    for n, (axes, index) in enumerate(zip(figure.subplots(1, len(indices), squeeze=False)[0], indices)):
        image = _magnitude(volume[index], f"slice {index}")
        _picture(axes, image, titles[n] if titles else f"slice {index}", _maximum(image), cmap)
    return figure


def _log_kspace(kspace: np.ndarray) -> np.ndarray:
    """Magnitude on a log scale: 0 is a hundred thousandth of the largest value or less, 1 the largest."""
    magnitude = _magnitude(kspace, "kspace")
    return 1 + np.log10(np.maximum(magnitude / _maximum(magnitude), 1e-5)) / 5


def _mask_picture(mask: np.ndarray, rows: int) -> np.ndarray:
    """A mask as a picture: a mask per column, in any broadcastable shape, is repeated over the rows."""
    values = np.asarray(mask, np.float64).squeeze()
    return _magnitude(np.tile(values, (rows, 1)) if values.ndim == 1 else values, "mask")


def reconstruction_panel(kspace: np.ndarray | None, mask: np.ndarray | None, zero_filled: np.ndarray | None,
                         output: np.ndarray | None, target: np.ndarray | None) -> "Figure":
    """One row from measurement to error: log k-space, mask, zero-filled, output, target, absolute error of the output.

    What is None is left out. The images share one window, 0 to the target's maximum; the errors have a window five
    times narrower, stated in the title. Without an output the error is that of the zero-filled image.
    """
    images = {name: _magnitude(image, name) for name, image in
              (("zero-filled", zero_filled), ("output", output), ("target", target)) if image is not None}
    high = _maximum(images.get("target"), images.get("output"), images.get("zero-filled"))
    panels: list[tuple[str, np.ndarray, float]] = []
    if kspace is not None:
        panels.append(("log |k-space|", _log_kspace(kspace), 1.0))
    if mask is not None:
        picture = _mask_picture(mask, np.shape(kspace)[-2] if kspace is not None else np.size(mask))
        panels.append((f"mask, {100 * float(picture.mean()):.0f} % sampled", picture, 1.0))
    panels += [(f"{name}\nwindow 0 to {high:.3g}", image, high) for name, image in images.items()]
    compared = images.get("output", images.get("zero-filled"))
    if compared is not None and "target" in images:
        window = high / ERROR_GAIN
        panels.append((f"error ×{ERROR_GAIN:.0f}\nwindow 0 to {window:.3g}", _error(compared, images["target"]), window))
    if not panels:
        raise UsageError("panel: expected at least one picture, received only None; pass k-space, a mask or an image.")
    widths = [min(max(image.shape[1] / max(image.shape[0], 1), 0.5), 2.0) for _, image, _ in panels]  # equal heights
    figure = _figure(2.5 * sum(widths), 3.0)
    grid = figure.subplots(1, len(panels), squeeze=False, width_ratios=widths)
    for axes, (title, image, top) in zip(grid[0], panels):
        _picture(axes, image, title, top)
    return figure


def strip(rows: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], titles: Sequence[str] | None = None) -> "Figure":
    """A grid with one row per slice: input, output, target, and the output's error.

    Args:
        rows: (input, output, target) pictures per slice.
        titles: one label per row, written at its left. Each row has one window, 0 to its target's maximum, and errors
            in a window five times narrower, both stated in the row.
    """
    if not rows or (titles is not None and len(titles) != len(rows)):
        raise UsageError(f"strip: expected rows and one title per row, received {len(rows)} rows and "
                         f"{len(titles or [])} titles; pass as many titles as rows, or none.")
    figure = _figure(10.0, 2.5 * len(rows) + 0.3)
    for n, (axes, row) in enumerate(zip(figure.subplots(len(rows), 4, squeeze=False), rows)):
        images = [_magnitude(image, name) for image, name in zip(row, ("input", "output", "target"))]
        high = _maximum(images[2], images[1], images[0])
        names = ("input", "output", f"target\n0 to {high:.3g}", f"error ×{ERROR_GAIN:.0f}\n0 to {high / ERROR_GAIN:.3g}")
        for k, image in enumerate([*images, _error(images[1], images[2])]):
            _picture(axes[k], image, names[k] if n == 0 or k > 1 else "", high if k < 3 else high / ERROR_GAIN)
        if titles:
            axes[0].set_ylabel(_literal(titles[n]), fontsize=9)
    return figure


def errors_below(images: Mapping[str, np.ndarray], target: np.ndarray) -> "Figure":
    """Methods and the target side by side in one window, 0 to the target's maximum, the error of each below it.

    Args:
        images: picture (height, width) by method, doing nothing first; all have the target's size.
        target: the truth. All errors share a window five times narrower.
    """
    truth = _magnitude(target, "target")
    shown = {name: _magnitude(image, name) for name, image in images.items()}
    high = _maximum(truth, *shown.values())
    columns, height = len(shown) + 1, min(max(truth.shape[0] / max(truth.shape[1], 1), 0.5), 2.0)
    figure = _figure(2.1 * columns, 2 * (2.0 * height + 0.35))
    axes = figure.subplots(2, columns, squeeze=False)
    for k, (name, image) in enumerate([*shown.items(), ("target", truth)]):
        _picture(axes[0, k], image, "\n".join(textwrap.wrap(name, 22)), high)
        axes[0, k].title.set_fontsize(11)
    for k, image in enumerate(shown.values()):
        _picture(axes[1, k], _error(image, truth), f"error ×{ERROR_GAIN:.0f}", high / ERROR_GAIN)
        axes[1, k].title.set_fontsize(11)
    axes[1, -1].set_axis_off()
    axes[1, -1].text(0.5, 0.5, f"images\n0 to {high:.3g}\n\nerrors\n0 to {high / ERROR_GAIN:.3g}", ha="center", va="center",
                     fontsize=11, transform=axes[1, -1].transAxes)
    return figure


def grid(images: Mapping[str, np.ndarray]) -> "Figure":
    """A row for every picture, a column for every method: arrays (pictures, H, W) by name, all in the window 0 to 1."""
    counts = {len(stack) for stack in images.values()}
    if len(counts) != 1 or not counts.pop():
        raise UsageError(f"images: expected as many pictures of every method, at least one, received "
                         f"{ {name: len(stack) for name, stack in images.items()} }.")
    rows, shape = len(next(iter(images.values()))), next(iter(images.values())).shape[1:]
    figure = _figure(1.6 * len(images), 1.6 * rows * shape[0] / shape[1] + 0.4)
    axes = figure.subplots(rows, len(images), squeeze=False)
    for column, (name, stack) in enumerate(images.items()):
        for row, image in enumerate(stack):
            _picture(axes[row, column], _magnitude(image, name), "" if row else name)
    return figure


def _style(axes: "Axes", title: str, ylabel: str = "") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(_literal(title), fontsize=10)
    axes.set_xlabel("epoch", fontsize=9)
    axes.set_ylabel(_literal(ylabel), fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _wide_range(values: np.ndarray) -> bool:
    values = values[np.isfinite(values)]
    return bool(values.size) and values.min() > 0 and values.max() / values.min() > 100


def curves(history: Mapping[str, Sequence[float]], columns: int = 3) -> "Figure":
    """Loss curves, one panel per quantity, at most so many beside each other; `val_loss` is drawn beside `loss`. A range above
    100 gets a log axis.
    """
    names = list(dict.fromkeys(name.removeprefix("val_") for name in history))
    if not names:
        raise UsageError("history: expected at least one curve, received none; train for one epoch first.")
    columns = min(columns, len(names))
    figure = _figure(3.8 * columns, 2.8 * math.ceil(len(names) / columns))
    panels = figure.subplots(math.ceil(len(names) / columns), columns, squeeze=False).ravel()
    for axes in panels[len(names):]:
        axes.set_axis_off()
    for axes, name in zip(panels, names):
        drawn = [(key, label, colour) for key, label, colour in
                 ((name, "training", COLOURS[0]), (f"val_{name}", "validation", COLOURS[1])) if key in history]
        for key, label, colour in drawn:
            values = np.asarray(history[key], np.float64)
            axes.plot(np.arange(1, len(values) + 1), values, marker=".", color=colour, label=label)
        if _wide_range(np.concatenate([np.asarray(history[key], np.float64) for key, _, _ in drawn])):
            axes.set_yscale("log")
        _style(axes, name)
        axes.legend(fontsize=8, frameon=False)
    return figure


def _fold_mean(folds: np.ndarray) -> np.ndarray:
    """Mean over the folds that have a finite value; NaN where none has."""
    finite = np.isfinite(folds)
    total = np.where(finite, folds, 0.0).sum(0)
    return np.where(finite.any(0), total / np.maximum(finite.sum(0), 1), np.nan)


def comparison(series: Mapping[str, np.ndarray], ylabel: str = "SSIM", baseline: float | None = None,
               baseline_name: str = "zero-filled") -> "Figure":
    """Methods against epochs: the mean over folds as a line, one mark per fold, the baseline dashed.

    Args:
        series: label -> array (folds, epochs); one fold may be given as (epochs,). NaN where a fold has no value.
        ylabel: the quantity.
        baseline: what doing nothing reaches in the same quantity, and `baseline_name` what it is called.
    """
    if not series:
        raise UsageError("series: expected at least one method, received none; pass label -> array (folds, epochs).")
    figure = _figure(6.4, 4.0)
    axes = figure.subplots()
    for n, (label, values) in enumerate(series.items()):
        folds = np.atleast_2d(np.asarray(values, np.float64))
        if folds.ndim != 2:
            raise UsageError(f"{label}: expected an array (folds, epochs), received shape {folds.shape}; average over "
                             "the other axes first.")
        epochs, colour = np.arange(1, folds.shape[1] + 1), COLOURS[n % len(COLOURS)]
        legend = _literal(label) + (f", mean of {len(folds)}" if len(folds) > 1 else "")
        axes.plot(epochs, _fold_mean(folds), color=colour, label=legend)
        for fold in folds:
            axes.plot(epochs, fold, MARKS[n % len(MARKS)], color=colour, markersize=4, alpha=0.45, linestyle="none")
    if baseline is not None and np.isfinite(baseline):
        axes.axhline(baseline, color="#444444", linestyle="--", linewidth=1.2, label=f"{_literal(baseline_name)}, {baseline:.3f}")
    several = any(np.ndim(values) > 1 and len(values) > 1 for values in series.values())
    _style(axes, f"{ylabel} per epoch" + ("; one mark per fold" if several else ""), ylabel)
    axes.legend(fontsize=8, frameon=False)
    return figure
