"""Judge reconstructions against their targets, with the row of doing nothing first: zero-filled, blurred or bicubic.

Metrics are fastMRI's; those of CT are taken on the windowed images with the window as data range.
"""

from __future__ import annotations

import argparse
from contextlib import suppress
from typing import Any

from .options import BLUR_LENGTH, add_blur, add_json, add_mask, mask_seed, masking, print_json, say

HELP = "judge reconstructions against targets"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("predictions", metavar="PREDICTIONS", help="file or folder with dataset reconstruction")
    parser.add_argument("--target", required=True, metavar="TARGETS", help="file or folder with the target images")
    parser.add_argument("--target-key", metavar="KEY",
                        help="(reconstruction_esc, else reconstruction_rss; super-resolution: the other way round)")
    parser.add_argument("--prediction-key", default="reconstruction", metavar="KEY", help="(reconstruction)")
    add_mask(parser)
    add_blur(parser).add_argument(
        "--blur-seed", type=mask_seed, metavar="SEED", help="how results that do not say it were blurred (no blurred row)")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    result = judged(arguments)
    show(result, arguments.json)
    if result.unreadable:
        return 3
    return 0 if result.complete else 1


def judged(arguments: argparse.Namespace) -> Any:
    """The `reconstruction.Evaluation` of the predictions, by the metrics of the task they were made for."""
    from ..data.ct import Blurring
    from ..reconstruction import evaluate_folder, evaluate_images, evaluate_superres

    task = "blur" if arguments.window else _task(arguments.predictions)
    if task == "blur":
        rule = None
        if arguments.blur_seed is not None:
            rule = Blurring(max_length=arguments.blur_length or BLUR_LENGTH, seed=arguments.blur_seed)
        return evaluate_images(arguments.predictions, arguments.target, arguments.window, rule, arguments.target_key)
    if task == "superres":
        return evaluate_superres(arguments.predictions, arguments.target, arguments.target_key, arguments.prediction_key)
    return evaluate_folder(
        arguments.predictions, arguments.target, masking(arguments), arguments.target_key, arguments.prediction_key
    )


def _task(path: str) -> str:
    """What the predictions were made for: blur for all that is no HDF5, else what a file says, else masked."""
    from ..data.ct.find import find_images
    from ..errors import DataError
    from ..hdf5 import open_hdf5, read_attributes

    for first, _, kind in find_images(path)[0]:
        if kind != "hdf5":
            return "blur"
        with suppress(DataError), open_hdf5(first) as file:  # the next one may be readable
            return str(read_attributes(file).get("task", "masked"))
    return "masked"


def show(result: Any, as_json: bool) -> None:
    """Print the table (or JSON) on stdout and what went wrong on stderr."""
    from ..report import metrics_table

    rows = result.summary()
    if as_json:
        print_json({"volumes": result.volumes, "mean": rows, "missing": result.missing, "failed": result.failed,
                    "notes": result.notes, "below_baseline": result.below_baseline()})
    elif result.volumes:
        print(metrics_table(rows, baseline=rows[0]["name"]))
    total = len(result.volumes) + len(result.missing) + len(result.failed)
    if not result.complete:
        say(f"evaluated {len(result.volumes)} of {total} volumes")
    for name in result.missing:
        say(f"no prediction for {name}")
    for name, reason in (*result.failed.items(), *result.notes.items()):
        say(f"{name}: {reason}")
