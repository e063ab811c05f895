"""A flow prior against reconstructions that unroll (seed 004), on pictures of other people than any of them learned from.

Pictures are measured by several coils and masks of points; zero-filled, CG-SENSE, MoDL and deep basis pursuit (trained here, on
the samples of the training pictures alone), and the flow prior with its three penalties solve the same problem on the same scale.
Full form: --data, --train and --flow; with the knee set (`data.prepare_knees`) given as --data its own coil maps and masks are
taken. Small form, without the three: phantoms, and a small flow of 40x32 trained on the spot.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from ..options import add_existing, add_json, count, positive, say, seed
from ..runs import WEIGHTS
from ..training_options import jit_choices, option
from .forms import NETWORKS, add_phantoms, begin, check_place, note, parts_of

HELP = "a flow prior against unrolled networks"
MODEL = "spline_flow"
_SMALL_FLOW = [("image_shape", (40, 32, 1)), ("levels", 3)]
_SHOWN = 3
_SOURCE = {"DBP": "NRMSE 0.18 (U-Net), 0.16 (ResNet)"}
_WHY = (
    "The source is the article of seed 004: NRMSE 0.18 of deep basis pursuit with a U-Net, at 4 and at 8 bits, and with a "
    "ResNet 0.16 at 4 bits and 0.13 at 8. Its PSNR of the flow, with each penalty, stands in a picture that was not available.",
    "Its two sides do not solve one problem: other operators (the flow's mask meets k-space that is not centred, and so misses "
    "its middle), another scaling of the pictures, and other sizes (80x64 for the flow).",
    "Nothing there is held out: the 15 pictures judged lie among those the flow was trained and validated on, and the unrolled "
    "networks were judged on their own training pictures.",
    "It searched 100 steps from random latents at a rate of 1.33 (`--flow-start random --flow-rate 1.33`); here the search "
    "begins with the latents of the zero-filled picture. The article says 500 and 1000 epochs for its networks, the "
    "configuration file 5.",
)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="DIR", help="volumes of images to judge by, or a file of the knee set")
    parser.add_argument("--train", metavar="DIR", help="volumes of other people, for the unrolled networks")
    parser.add_argument("--flow", metavar="FILE", help="weights of `tfrecon train --model spline_flow`")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for table.md, figure.png, run.json and networks/")
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
    parser.add_argument("--jit", choices=jit_choices(), default="auto",
                        help="XLA for that search; auto: where it is long enough to repay the compilation (auto)")
    parser.add_argument("--seed", type=seed, default=0, help="of masks, coils, networks and latents (0)")
    add_existing(parser, "replace an existing comparison", "go on with an interrupted one: trained networks are kept")
    add_phantoms(parser, size=96, smallest=64, volumes=10, slices=6)
    parser.add_argument("--flow-epochs", type=count, default=40, metavar="N", help="of the small form's flow (40)")
    parser.add_argument("--flow-set", type=option, action="append", default=[], metavar="NAME=VALUE",
                        help="option of the small form's flow, as hidden_channels=64; may be repeated")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from ...errors import UsageError
    from ..process import load_tensorflow
    from .sheet import SMALL, finish

    given = [name for name in ("data", "train", "flow") if getattr(arguments, name)]
    if given and len(given) < 3:
        missing = " and ".join(f"--{name}" for name in ("data", "train", "flow") if name not in given)
        raise UsageError(f"The full form takes --data, --train and --flow; {missing} missing. The small form takes none of them.")
    load_tensorflow()
    flow, problem, training, split = (_full if given else _small)(arguments)
    say(f"judged: {problem.source}")
    rows, images = _solve(arguments, flow, problem, training)
    return finish(arguments, _sheet(arguments, rows, problem, training, split, [*([] if given else [SMALL]), *_WHY]),
                  {"figure.png": _figure(problem, images)}, rows=rows, data=problem.source)


def _full(arguments: argparse.Namespace) -> tuple[Any, Any, Any, str]:
    """(flow, judged problem, training problem, who is where)."""
    from ...data import index_magnitudes
    from ...errors import DataError
    from ...zoo import create

    out = check_place(arguments)
    # None: the knee set, which does not say who is who.
    judged, learned = (None if _is_knee_set(path) else index_magnitudes(path) for path in (arguments.data, arguments.train))
    both = {v.patient for v in judged.volumes} & {v.patient for v in learned.volumes} if judged and learned else ()
    if both:
        raise DataError(f"{len(both)} people are in both --data and --train, which inflates every score. Give --train volumes of "
                        "other people.")
    flow = create(MODEL, weights=arguments.flow).flow
    told = _what_the_flow_learned_from(arguments.flow, judged)
    problem = _problem(arguments, arguments.data, judged, flow, arguments.pictures, 0)
    training = _problem(arguments, arguments.train, learned, flow, arguments.train_pictures, 10_000)
    same = len({x.tobytes() for x in problem.truth} & {x.tobytes() for x in training.truth})
    if same:
        raise DataError(f"{same} of the judged pictures are among those of --train, which inflates every score. Give --train "
                        "other pictures (the knee set: other slices in `data.prepare_knees`).")
    note(out, arguments)
    return flow, problem, training, f"--data is judged, --train trained on; {told}"


def _what_the_flow_learned_from(weights: str, judged: Any) -> str:
    """A sentence, from the record beside its weights; DataError where volumes are judged that it was trained on.

    Args:
        judged: index of the judged volumes; None: the knee set.
    """
    from ...errors import DataError, shown
    from ...files import sha256_of
    from ...weights import local_file
    from ..report.run_folders import Training, read_runs

    path = Path(local_file(weights))
    try:
        run = read_runs([str(path.parent)])[0]
    except DataError:
        run = None
    if not isinstance(run, Training) or run.weights and run.weights != sha256_of(path):
        return "who the flow learned from is not known: there is no record of its training beside its weights"
    if judged is None:
        return f"the flow learned from {len(run.side('train'))} volumes; the knee set does not say who is who"
    names = {volume.name for volume in judged.volumes}
    seen = sorted(names & set(run.side("train")))
    if seen:
        raise DataError(f"the flow was trained on {', '.join(map(shown, seen[:5]))}, by name ({len(seen)} of {len(names)} "
                        "volumes of --data), which inflates its scores. Judge by volumes it has not seen.")
    chose = len(names & set(run.side("validation")))
    return (f"the flow learned from {len(run.side('train'))} other volumes; {chose} of the {len(names)} judged ones were those "
            "its epoch was chosen by")


def _small(arguments: argparse.Namespace) -> tuple[Any, Any, Any, str]:
    """As `_full`, all made here."""
    from ...zoo import create
    from ..tasks import task_of
    from .networks import train_arguments, trained

    folder = Path(arguments.out) / NETWORKS / "flow"
    # The acceleration and the preset given here are those of other networks.
    options = train_arguments(arguments, folder, model=MODEL, preset="small", epochs=arguments.flow_epochs, acceleration=4,
                              set=[*_SMALL_FLOW, *arguments.flow_set], jit="auto")
    task = task_of(options)
    parts = begin(arguments, task, lambda index: parts_of(arguments, task, index))
    trained(options, folder, parts, "flow")
    flow = create(MODEL, weights=folder / WEIGHTS).flow
    judged = _pictures(arguments, parts.test.index, flow, arguments.pictures, 0)
    return flow, judged, _pictures(arguments, parts.train.index, flow, arguments.train_pictures, 10_000), parts.sentence()


def _problem(arguments: argparse.Namespace, path: str, index: Any, flow: Any, wanted: int, offset: int) -> Any:
    """The pictures of an index, or of the knee set where there is none, at even distances, and their measurement."""
    from ...data import knee_pictures

    if index is None:
        return knee_pictures(path, wanted, flow.num_bits, flow.image_shape[:2])
    return _pictures(arguments, index, flow, wanted, offset)


def _pictures(arguments: argparse.Namespace, index: Any, flow: Any, wanted: int, offset: int) -> Any:
    import numpy as np

    from ...data import measured_pictures, picture_batches
    from ...data.prior import evenly
    from ...data.splits import all_samples

    samples = list(all_samples(index))
    chosen = [samples[i] for i in evenly(len(samples), wanted)]
    batches = picture_batches(index, len(chosen), samples=chosen, size=flow.image_shape[:2])
    pictures = np.concatenate(list(batches.as_numpy_iterator()))[..., 0]
    return measured_pictures(pictures, flow.num_bits, arguments.acceleration, seed=arguments.seed + offset)


def _is_knee_set(path: str) -> bool:
    from ...hdf5 import open_hdf5

    if not Path(path).is_file():
        return False
    with open_hdf5(path) as file:
        return {"imgs", "maps", "masks"} <= set(file)


def _solve(arguments: argparse.Namespace, flow: Any, problem: Any, training: Any) -> tuple[list[dict], dict[str, Any]]:
    """(rows of the table, images by method)."""
    from .flow_methods import methods, scores

    rows, images = [], {}
    for name, method in methods(arguments, flow, training).items():
        began = time.monotonic()
        images[name] = method(problem.inputs)
        rows.append({"name": name, **scores(problem.truth, images[name]), "seconds": time.monotonic() - began})
        say(f"{name}: {rows[-1]['psnr']:.2f} dB, {rows[-1]['seconds']:.1f} s")
    return rows, images


def _sheet(arguments: argparse.Namespace, rows: list[dict], problem: Any, training: Any, split: str, source: list[str]) -> Any:
    from .sheet import Sheet

    if "knee" not in problem.source:
        source = ["These are not the pictures of the article, whose knee set is not at hand.", *source]
    return Sheet(
        "A flow prior against reconstructions that unroll (seed 004)",
        {"One inverse problem": [{**row, "source": _SOURCE.get(row["name"])} for row in rows]}, ("psnr", "nrmse"), "zero_filled",
        {"metric": "PSNR with data range 1 and NRMSE |x - truth| / |truth|, means over the pictures; the flow's values are cut "
         "to [0, 1]",
         "split": split,
         "measurement": f"{problem.source}, seed {arguments.seed}; trained on: {training.source}, seed {arguments.seed + 10_000}",
         "scaling": "pictures on the flow's scale, [0, 1] by the middle of their grey level",
         "unrolled networks": f"preset {arguments.preset}, {arguments.epochs} epochs on the samples alone, without images, seed "
         f"{arguments.seed}",
         "search": f"{arguments.steps} steps at a rate of {arguments.flow_rate:g}, {arguments.starts} starts, the first "
         f"{arguments.flow_start.replace('_', '-')}, seed {arguments.seed}; seconds of every method: run.json"},
        source, "pictures",
    )


def _figure(problem: Any, images: dict[str, Any]) -> Any:
    from ...report import grid

    return grid({name: image[:_SHOWN] for name, image in {"truth": problem.truth, **images}.items()})
