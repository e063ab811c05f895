"""The whole way on made-up data, without a download: phantoms, training, reconstruction, judgement, report.

Exits with 1 if the network is not better than zero-filling.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .options import acceleration, add_json, count, print_json, say, seed

HELP = "see everything work in about two minutes"
_MARKER = "demo.json"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", default="tfrecon-demo", metavar="DIR", help="(tfrecon-demo)")
    parser.add_argument("--epochs", type=count, default=20, help="(20)")
    parser.add_argument("--volumes", type=count, default=12, help="phantom volumes, a quarter of the people held out (12)")
    parser.add_argument("--slices", type=count, default=8, help="per volume (8)")
    parser.add_argument("--size", type=count, default=128, help="side of the images, at least 64 (128)")
    parser.add_argument("--acceleration", type=acceleration, default=4, metavar="R", help="(4)")
    parser.add_argument("--seed", type=seed, default=0, help="(0)")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..data import index_volumes, split, write_demo_volumes
    from ..files import write_json

    out = Path(arguments.out)
    began = time.monotonic()
    _check_folder(out)
    write_json(out / _MARKER, {"tfrecon demo": arguments.argv})
    made = write_demo_volumes(out / "data", arguments.volumes, arguments.slices, arguments.size, arguments.seed)
    _keep_only(made, out / "data")
    say(f"1/4 made {arguments.volumes} phantom volumes in {out / 'data'}")
    index = index_volumes(out / "data", "reconstruction_esc")
    train, validation = split(index, (3 / 4, 1 / 4), arguments.seed)
    say("2/4 training a small U-Net GAN")
    trained = _train(arguments, out, train, validation)
    say("3/4 reconstructing and judging the held-out volumes")
    evaluation = _reconstruct(arguments, out, validation)
    seconds = time.monotonic() - began
    report = _report(arguments, out, validation, evaluation, trained, seconds)
    return _finish(arguments, evaluation, report, seconds)


def _check_folder(out: Path) -> None:
    """The demo replaces its own results but nobody else's files."""
    from ..data import check_folder
    from ..errors import UsageError

    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / _MARKER).exists())):
        raise UsageError(f"{out} exists and is not a demo of ours. Name another folder with --out.")
    check_folder(out)


def _keep_only(made: Iterable[Path], folder: Path) -> None:
    """Remove what a demo with other numbers left."""
    names = {path.name for path in made}
    for stale in folder.glob("*.h5"):
        if stale.name not in names:
            stale.unlink()


def _train(arguments: argparse.Namespace, out: Path, train: Any, validation: Any) -> dict[str, Any]:
    from .train import configure as train_arguments
    from .train import train_model

    parser = argparse.ArgumentParser()
    train_arguments(parser)
    options = parser.parse_args([
        "--data", str(out / "data"), "--out", str(out / "train"), "--preset", "small", "--overwrite",
        "--epochs", str(arguments.epochs), "--decay", "0.85", "--seed", str(arguments.seed),
        "--acceleration", str(arguments.acceleration),
    ])
    options.argv = arguments.argv
    return train_model(options, out / "train", train, validation)


def _reconstruct(arguments: argparse.Namespace, out: Path, validation: Any) -> Any:
    from ..data import Masking, SliceReader
    from ..reconstruction import Settings, evaluate_folder, reconstruct_folder
    from ..zoo import create

    model = create("unet_gan", weights=out / "train" / "generator.weights.h5")
    masking = Masking(arguments.acceleration)
    settings = Settings(masking, attributes={"model": "unet_gan"})
    with SliceReader() as reader:
        outcomes = reconstruct_folder(
            validation, out / "reconstructions", model.predict_on_batch, settings, reader, overwrite=True, strict=True
        )
        _keep_only([outcome.path for outcome in outcomes], out / "reconstructions")
    return evaluate_folder(out / "reconstructions", [v.path for v in validation.volumes], masking)


def _report(
    arguments: argparse.Namespace, out: Path, validation: Any, evaluation: Any, trained: dict[str, Any], seconds: float
) -> Path:
    from ..data import Masking
    from .report_page import write_report

    return write_report(
        out / "report.html",
        title="tfrecon demo",
        subtitle=f"U-Net GAN on phantoms, {arguments.acceleration}x undersampled, seed {arguments.seed}",
        evaluation=evaluation,
        pairs={v.name: (str(out / "reconstructions" / v.name), v.path) for v in validation.volumes},
        masking=Masking(arguments.acceleration),
        facts={**trained, "total seconds": round(seconds, 1)},
        curves=out / "train" / "curves.png",
        command=f"tfrecon demo --epochs {arguments.epochs} --volumes {arguments.volumes} --slices {arguments.slices} "
                f"--size {arguments.size} --acceleration {arguments.acceleration} --seed {arguments.seed}",
    )


def _finish(arguments: argparse.Namespace, evaluation: Any, report: Path, seconds: float) -> int:
    from ..report import metrics_table

    below = evaluation.below_baseline()
    rows = evaluation.summary()
    rows[1]["name"] = "unet_gan"
    if arguments.json:
        print_json({"mean": rows, "below_baseline": below, "report": str(report.resolve()), "seconds": round(seconds, 1)})
    else:
        print(metrics_table(rows))
        print(f"report: {report.resolve()}")
    if below:
        say(f"the network is worse than doing nothing in {', '.join(below)}; train longer (--epochs)")
    return 1 if below else 0
