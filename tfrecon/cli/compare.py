"""Cross-validate several losses and optimizers and draw SSIM per epoch, as seed 001's figures 15 and 16.

Folds are cut by patient, with fresh networks per fold. --leaking-folds repeats the seed's way: slices instead of patients
and one network through all folds; its scores are too high and it says so.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .options import add_json, count, print_json, say
from .runs import FREE_BUT_EPOCHS, begin_run, check_run
from .tasks import Part, Task, task_of
from .training_options import add_losses, add_training, jit_compile, learning_rate, model_options

HELP = "compare losses and optimizers by cross-validation"
Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Combination:
    """A loss and an optimizer, trained.

    Attributes:
        models: one of each fold; of leaking folds one alone. datasets: (train, validation) of each fold.
        scores: SSIM (folds, epochs). baselines: SSIM of doing nothing, of each fold.
    """

    loss: str
    optimizer: str
    models: list[Any]
    datasets: list[tuple[Any, Any]]
    scores: Any
    baselines: list[float]


def configure(parser: argparse.ArgumentParser) -> None:
    add_training(parser, preset="original", epochs=5)
    add_losses(parser, several=True)
    parser.add_argument("--folds", type=count, default=3, help="(3)")
    parser.add_argument("--leaking-folds", action="store_true", help="seed 001's folds, for its figures only")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    out = Path(arguments.out)
    check_run(out, arguments, FREE_BUT_EPOCHS)
    task = task_of(arguments)
    index = task.index(arguments.data)
    pairs = [(loss, optimizer) for loss in arguments.losses for optimizer in arguments.optimizers]
    parts = check_comparison(task, index, pairs)
    begin_run(out, arguments, FREE_BUT_EPOCHS)
    series, baseline = train_all(task, parts, pairs, out)
    _write(out, arguments.argv, series, baseline)
    rows = _rows(series, baseline)
    if arguments.json:
        print_json({"series": {k: [list(map(float, f)) for f in v] for k, v in series.items()}, "rows": rows})
    else:
        from ..report import metrics_table

        print(metrics_table(rows, columns=("ssim",), counted="folds"))
        say(f"figure: {out / 'compare.png'}")
    return 3 if index.skipped else 0


def check_comparison(task: Task, index: Any, pairs: Pairs) -> list[tuple[Part, Part]]:
    """(train, validation) of every fold, once it is sure that data and arguments go together: before anything is written."""
    parts = _parts(task, index)
    datasets = datasets_of(task, parts[:1])
    _create(task, *pairs[0], int(datasets[0][0].cardinality()))
    return parts


def _parts(task: Task, index: Any) -> list[tuple[Part, Part]]:
    from ..data import folds, slice_folds

    count, seed = task.arguments.folds, task.arguments.seed
    if task.arguments.leaking_folds:
        return [(Part(index, train), Part(index, validation)) for train, validation in slice_folds(index, count, seed)]
    return [(Part(train), Part(validation)) for train, validation in folds(index, count, seed)]


def datasets_of(task: Task, parts: list[tuple[Part, Part]]) -> list[tuple[Any, Any]]:
    """(train, validation) datasets of every fold, at their first epoch."""
    side = task.side(*parts[0])  # of all data: every fold has them all
    return [(task.dataset(train, True, side), task.dataset(validation, False, side)) for train, validation in parts]


def _create(task: Task, loss: str, optimizer: str, steps: int) -> Any:
    """The model of one combination; UsageError for a model without a choice of losses."""
    from ..zoo import create

    arguments = task.arguments
    chosen = {**model_options(arguments), "loss": loss, "optimizer": optimizer, "jit_compile": jit_compile(arguments),
              "learning_rate": learning_rate(arguments, task.record, steps)}
    return create(arguments.model, preset=arguments.preset, **chosen)


def train_all(task: Task, parts: list[tuple[Part, Part]], pairs: Pairs, out: Path,
              keep: Callable[[Combination], None] | None = None) -> tuple[dict[str, Any], float]:
    """SSIM (folds, epochs) of every combination, and of doing nothing; finished ones stand on disk and are not repeated with
    --resume.

    Args:
        pairs: (loss, optimizer) of each combination.
        keep: called with each combination before it counts as finished.
    """
    from .process import load_tensorflow

    load_tensorflow()
    import keras
    import numpy as np

    from ..files import write_json
    from ..training import cross_validate
    from .baseline import baseline_ssim

    arguments, done = task.arguments, out / "series.json"
    series = _former_series(done, len(parts), arguments.epochs) if arguments.resume and done.exists() else {}
    datasets = datasets_of(task, parts)
    steps, baselines = int(datasets[0][0].cardinality()), [baseline_ssim(validation) for _, validation in datasets]
    for loss, optimizer in pairs:
        label = f"{loss}, {optimizer}"
        if label in series:
            continue
        say(f"{label}: {len(parts)} folds x {arguments.epochs} epochs")
        keras.utils.set_random_seed(arguments.seed)
        models: list[Any] = []

        def build() -> Any:
            models.append(_create(task, loss, optimizer, steps))  # noqa: B023 called at once
            return models[-1]  # noqa: B023

        # Data anew: every combination sees the same order and the same masks.
        scores = cross_validate(build, datasets_of(task, parts), arguments.epochs, leaking=arguments.leaking_folds)
        if keep:
            keep(Combination(loss, optimizer, models, datasets, scores, baselines))
        series[label] = scores.tolist()
        write_json(done, series)
    return {label: np.array(series[label]) for label in map(", ".join, pairs)}, float(np.mean(baselines))


def _former_series(path: Path, folds: int, epochs: int) -> dict[str, Any]:
    """What the combinations scored that are finished; DataError where that cannot be (folds, epochs) of numbers."""
    from ..errors import DataError, shown
    from ..files import read_json

    series = read_json(path, dict)
    for label, scores in series.items():
        rows = scores if isinstance(scores, list) and all(isinstance(row, list) for row in scores) else []
        numbers = all(isinstance(score, (int, float)) for row in rows for score in row)
        if not numbers or [len(row) for row in rows] != [epochs] * folds:
            raise DataError(f"{shown(path)} is damaged: expected {folds} rows of {epochs} numbers for {shown(label)}; bring it "
                            "back, or begin anew with --overwrite.")
    return series


def _rows(series: dict[str, Any], baseline: float) -> list[dict[str, Any]]:
    """Table rows of the last epoch, the baseline first."""
    rows = [{"name": "zero_filled", "ssim": baseline}]
    for label, scores in series.items():
        last = scores[:, -1]
        spread = float(last.std(ddof=1)) if len(last) > 1 else None
        rows.append({"name": label, "ssim": float(last.mean()), "ssim_sd": spread, "n": len(last)})
    return rows


def _write(out: Path, argv: list[str], series: dict[str, Any], baseline: float) -> None:
    from ..report import comparison, save_figure
    from .process import write_record

    save_figure(comparison(series, ylabel="SSIM", baseline=baseline), out / "compare.png")
    write_record(out, argv, rows=_rows(series, baseline))
