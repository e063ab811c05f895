"""Cross-validate several losses and optimizers and draw SSIM per epoch, as seed 001's figures 15 and 16.

Folds are cut by patient, with fresh networks per fold. --leaking-folds repeats the seed's way: slices instead of patients
and one network through all folds; its scores are too high and it says so.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .options import add_json, count, print_json, say
from .runs import FREE, begin_run, check_run
from .tasks import Part, Task, task_of
from .training_options import add_losses, add_training, jit_compile, learning_rate, model_options

HELP = "compare losses and optimizers by cross-validation"
# What may differ between a run and its resumption; the epochs may not, for all curves are as long.
_FREE = tuple(name for name in FREE if name != "epochs")


def configure(parser: argparse.ArgumentParser) -> None:
    add_training(parser, preset="original", epochs=5)
    add_losses(parser, several=True)
    parser.add_argument("--folds", type=count, default=3, help="(3)")
    parser.add_argument("--leaking-folds", action="store_true", help="seed 001's folds, for its figures only")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    out = Path(arguments.out)
    check_run(out, arguments, _FREE)
    task = task_of(arguments)
    index = task.index(arguments.data)
    folds = _folds(task, index)  # wrong data or arguments are told before anything is written
    _create(task, arguments.losses[0], arguments.optimizers[0], int(folds[0][0].cardinality()))
    begin_run(out, arguments, _FREE)
    series, baseline = _train_all(task, index, folds, out)
    _write(out, arguments.argv, series, baseline)
    rows = _rows(series, baseline)
    if arguments.json:
        print_json({"series": {k: [list(map(float, f)) for f in v] for k, v in series.items()}, "rows": rows})
    else:
        from ..report import metrics_table

        print(metrics_table(rows, columns=("ssim",)))
        say(f"figure: {out / 'compare.png'}")
    return 3 if index.skipped else 0


def _folds(task: Task, index: Any) -> list[tuple[Any, Any]]:
    """(train, validation) datasets of every fold, at their first epoch."""
    from ..data import folds, slice_folds

    count, seed = task.arguments.folds, task.arguments.seed
    if task.arguments.leaking_folds:
        pairs = [tuple(Part(index, samples) for samples in pair) for pair in slice_folds(index, count, seed)]
    else:
        pairs = [tuple(map(Part, pair)) for pair in folds(index, count, seed)]
    side = task.side(Part(index))
    return [(task.dataset(train, True, side), task.dataset(validation, False, side)) for train, validation in pairs]


def _create(task: Task, loss: str, optimizer: str, steps: int) -> Any:
    """The model of one combination; UsageError for a model without a choice of losses."""
    from ..zoo import create

    arguments = task.arguments
    chosen = {**model_options(arguments), "loss": loss, "optimizer": optimizer, "jit_compile": jit_compile(arguments),
              "learning_rate": learning_rate(arguments, task.record, steps)}
    return create(arguments.model, preset=arguments.preset, **chosen)


def _train_all(task: Task, index: Any, folds: list, out: Path) -> tuple[dict[str, Any], float]:
    """SSIM (folds, epochs) of every combination; finished ones are kept on disk and not repeated with --resume."""
    from .process import load_tensorflow

    load_tensorflow()
    import keras
    import numpy as np

    from ..files import write_json
    from ..training import cross_validate
    from .baseline import baseline_ssim

    arguments, done = task.arguments, out / "series.json"
    series = json.loads(done.read_text()) if arguments.resume and done.exists() else {}
    steps = int(folds[0][0].cardinality())
    for loss in arguments.losses:
        for optimizer in arguments.optimizers:
            label = f"{loss}, {optimizer}"
            if label in series:
                continue
            say(f"{label}: {len(folds)} folds x {arguments.epochs} epochs")
            keras.utils.set_random_seed(arguments.seed)
            scores = cross_validate(
                lambda: _create(task, loss, optimizer, steps),  # noqa: B023 called at once
                _folds(task, index),  # anew: every combination sees the same order and the same masks
                arguments.epochs,
                leaking=arguments.leaking_folds,
            )
            series[label] = scores.tolist()
            write_json(done, series)
    baseline = float(np.mean([baseline_ssim(validation) for _, validation in folds]))
    return {label: np.array(scores) for label, scores in series.items()}, baseline


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
