"""Repeat a comparison of one of the originals' articles on data at hand, with one table and one figure.

flow-vs-dbp: pictures of other people than the flow and the networks were trained on are measured by several coils and masks of
points; zero-filled, CG-SENSE, MoDL and deep basis pursuit (trained here, on the samples of the --train pictures alone), and the
flow prior with its three penalties solve the same problem on the same scale. With the knee set (`data.prepare_knees`) given as
--data its own coil maps and masks are taken.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from .options import add_json, count, positive, print_json, say, seed

HELP = "repeat an article's comparison"
COMPARISONS = ("flow-vs-dbp",)
_SHOWN = 3


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("comparison", choices=COMPARISONS, help="which")
    parser.add_argument("--data", required=True, metavar="DIR", help="volumes of images to judge by, or a file of the knee set")
    parser.add_argument("--train", required=True, metavar="DIR", help="volumes of other people, for the unrolled networks")
    parser.add_argument("--flow", required=True, metavar="FILE", help="weights of `tfrecon train --model spline_flow`")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for table.md, figure.png and run.json")
    parser.add_argument("--pictures", type=count, default=15, metavar="N", help="to judge by, at even distances (15)")
    parser.add_argument("--train-pictures", type=count, default=100, metavar="N", help="to train on, at even distances (100)")
    parser.add_argument("--acceleration", type=positive, default=5.0, metavar="R", help="of masks that are made up (5)")
    parser.add_argument("--epochs", type=count, default=10, help="of the unrolled networks (10)")
    parser.add_argument("--preset", default="small", help="of the unrolled networks (small)")
    parser.add_argument("--steps", type=count, default=100, help="of the search for latents (100, the seed's)")
    parser.add_argument("--flow-rate", type=positive, default=0.03, metavar="RATE",
                        help="of that search (0.03; the seed's, from random latents, is 1.33)")
    parser.add_argument("--starts", type=count, default=1, metavar="N", help="of that search, the best is kept (1)")
    parser.add_argument("--flow-start", choices=("zero_filled", "random"), default="zero_filled",
                        help="latents that search starts from: those of the zero-filled picture, or random as the seed's")
    parser.add_argument("--seed", type=seed, default=0, help="of masks, coils, networks and latents (0)")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..data import check_folder
    from .process import load_tensorflow, write_record
    from .runs import check_not_inside

    out = Path(arguments.out)
    check_folder(out)
    check_not_inside(out, arguments.data)
    began = time.monotonic()
    load_tensorflow()
    from ..zoo import create

    flow = create("spline_flow", weights=arguments.flow).flow
    problem = _problem(arguments, arguments.data, flow, arguments.pictures, 0)
    training = _problem(arguments, arguments.train, flow, arguments.train_pictures, 10_000)
    say(f"judged: {problem.source}")
    rows, images = _solve(arguments, flow, problem, training)
    _write(out, rows, images, problem)
    result = {"rows": rows, "data": problem.source, "seconds": round(time.monotonic() - began, 1)}
    write_record(out, arguments.argv, seed=arguments.seed, **result)
    if arguments.json:
        print_json(result)
    else:
        print((out / "table.md").read_text())
    return 0


def _problem(arguments: argparse.Namespace, path: str, flow: Any, wanted: int, offset: int) -> Any:
    """The pictures of a path, at even distances, and their measurement."""
    import numpy as np

    from ..data import index_magnitudes, knee_pictures, measured_pictures, picture_batches
    from ..data.prior import evenly
    from ..data.splits import all_samples

    if _is_knee_set(path):
        return knee_pictures(path, wanted)
    index = index_magnitudes(path)
    samples = list(all_samples(index))
    chosen = [samples[i] for i in evenly(len(samples), wanted)]
    batches = picture_batches(index, len(chosen), samples=chosen, size=flow.image_shape[:2])
    pictures = np.concatenate(list(batches.as_numpy_iterator()))[..., 0]
    return measured_pictures(pictures, flow.num_bits, arguments.acceleration, seed=arguments.seed + offset)


def _is_knee_set(path: str) -> bool:
    from ..hdf5 import open_hdf5

    if not Path(path).is_file():
        return False
    with open_hdf5(path) as file:
        return {"imgs", "maps", "masks"} <= set(file)


def _solve(arguments: argparse.Namespace, flow: Any, problem: Any, training: Any) -> tuple[list[dict], dict[str, Any]]:
    """(rows of the table, images by method)."""
    from .flow_vs_dbp import methods, scores

    rows, images = [], {}
    for name, method in methods(arguments, flow, training).items():
        began = time.monotonic()
        images[name] = method(problem.inputs)
        rows.append({"name": name, **scores(problem.truth, images[name]), "seconds": time.monotonic() - began})
        say(f"{name}: {rows[-1]['psnr']:.2f} dB")
    return rows, images


def _write(out: Path, rows: list[dict], images: dict[str, Any], problem: Any) -> None:
    from ..files import write_whole
    from ..report import grid, metrics_markdown, save_figure

    out.mkdir(parents=True, exist_ok=True)
    notes = ["Data range 1; the flow's values are cut to [0, 1]; the unrolled networks learned from samples alone."]
    if "knee" not in problem.source:
        notes.append("These are not the pictures of the article, whose knee set is not at hand.")
    table = metrics_markdown(rows, ("psnr", "nrmse", "seconds"), "zero_filled")
    write_whole(out / "table.md", "\n\n".join([problem.source, table, *notes, ""]).encode())
    shown = {name: image[:_SHOWN] for name, image in {"truth": problem.truth, **images}.items()}
    save_figure(grid(shown), out / "figure.png")
