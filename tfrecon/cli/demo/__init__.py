"""The whole way on made-up data, without a download: phantoms, training, reconstruction, judgement, report.

Exits with 1 if the network is not better than doing nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..options import acceleration, add_json, count, positive, print_json, say, seed
from ..runs import WEIGHTS
from ..tasks import Part, task_of
from .tasks import MaskedDemo, demo_of

HELP = "see everything work in a few minutes"
_MARKER = "demo.json"
_REPEATED = ("model", "epochs", "volumes", "slices", "size", "acceleration", "blur_length", "seed")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", default="tfrecon-demo", metavar="DIR", help="(tfrecon-demo)")
    parser.add_argument("--model", default="unet_gan", help="a name from `tfrecon models` (unet_gan)")
    parser.add_argument("--epochs", type=count, default=20, help="(20)")
    parser.add_argument("--volumes", type=count, default=12, help="phantom volumes, a quarter of the people held out (12)")
    parser.add_argument("--slices", type=count, default=8, help="per volume (8)")
    parser.add_argument("--size", type=count, default=128, help="side of the images, at least 64 (128)")
    parser.add_argument("--acceleration", type=acceleration, default=4, metavar="R", help="(4)")
    parser.add_argument("--blur-length", type=positive, default=12.0, metavar="N", help="of CT's motion, in pixels (12)")
    parser.add_argument("--seed", type=seed, default=0, help="(0)")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from ...data import split
    from ...files import write_json
    from ...zoo import check_trainable

    out = Path(arguments.out)
    began = time.monotonic()
    check_trainable(arguments.model, "small")
    _check_folder(out)
    demo = demo_of(arguments, out)
    write_json(out / _MARKER, {"tfrecon demo": arguments.argv})
    keep_only(demo.make(), out / "data")
    say(f"1/4 made {arguments.volumes} {demo.what} in {out / 'data'}")
    train, validation = map(Part, split(demo.index(), (3 / 4, 1 / 4), arguments.seed))
    say(f"2/4 training a small {arguments.model}")
    trained = _train(arguments, out, train, validation)
    say("3/4 reconstructing and judging the held-out volumes")
    judged = _reconstruct(demo, validation, trained)
    report = _report(demo, judged)
    return _finish(arguments, judged.evaluation, report, time.monotonic() - began)


def _check_folder(out: Path) -> None:
    """The demo replaces its own results but nobody else's files."""
    from ...data import check_folder
    from ...errors import UsageError

    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / _MARKER).exists())):
        raise UsageError(f"{out} exists and is not a demo of ours. Name another folder with --out.")
    check_folder(out)


def keep_only(made: Iterable[Path], folder: Path) -> None:
    """Remove what a demo with other numbers left."""
    names = {path.name for path in made}
    for stale in folder.glob("*.h5"):
        if stale.name not in names:
            stale.unlink()


def _train(arguments: argparse.Namespace, out: Path, train: Part, validation: Part) -> dict[str, Any]:
    from ..train import configure as train_arguments
    from ..train import train_model

    parser = argparse.ArgumentParser()
    train_arguments(parser)
    options = parser.parse_args([
        "--data", str(out / "data"), "--out", str(out / "train"), "--model", arguments.model, "--preset", "small",
        "--overwrite", "--blur-length", str(arguments.blur_length),
        "--epochs", str(arguments.epochs), "--decay", "0.85", "--seed", str(arguments.seed),
        "--acceleration", str(arguments.acceleration),
    ])
    options.argv = arguments.argv
    return train_model(task_of(options), out / "train", train, validation)


def _reconstruct(demo: MaskedDemo, validation: Part, trained: dict[str, Any]) -> Any:
    from ...zoo import create
    from ..process import write_record

    began = time.monotonic()
    model = create(demo.record.name, weights=demo.out / "train" / WEIGHTS)
    outcomes = list(demo.reconstruct(model.predict_on_batch, validation))
    keep_only([outcome.path for outcome in outcomes], demo.results)
    write_record(demo.results, demo.arguments.argv, model=demo.record.name, weights_sha256=trained["weights_sha256"],
                 reconstructed=[outcome.name for outcome in outcomes], failed={}, seconds=round(time.monotonic() - began, 2))
    return demo.judge(validation)


def _report(demo: MaskedDemo, judged: Any) -> Path:
    from ..report.page import known_volumes, subtitle_of, write_page
    from ..report.run_folders import read_runs
    from ..report.scores import Judgement

    arguments, record = demo.arguments, demo.record
    named = (f"--{name.replace('_', '-')} {getattr(arguments, name)}" for name in _REPEATED)
    training, made = read_runs([demo.out / "train", demo.results])
    judgement = Judgement(record.name, judged, made, known_volumes(made, [training]), [demo.out / "data", *made.places])
    return write_page(
        demo.out / "report.html", f"tfrecon demo: {record.name} on phantoms", f"{record.summary} {subtitle_of(None)}",
        [training, made], [judgement], [f"tfrecon demo {' '.join(named)}"],
    )


def _finish(arguments: argparse.Namespace, evaluation: Any, report: Path, seconds: float) -> int:
    from ...report import metrics_table

    below = evaluation.below_baseline()
    rows = evaluation.summary()
    rows[1]["name"] = arguments.model
    if arguments.json:
        print_json({"mean": rows, "below_baseline": below, "report": str(report.resolve()), "seconds": round(seconds, 1)})
    else:
        print(metrics_table(rows, baseline=rows[0]["name"]))
        print(f"report: {report.resolve()}")
    if below:
        say(f"the network is worse than doing nothing in {', '.join(below)}; train longer (--epochs)")
    return 1 if below else 0
