"""Train a model on a folder of fully sampled k-space; stop with Ctrl-C and go on with --resume.

Patients are kept on one side of the split. Written into --out: generator.weights.h5 (the epoch with the best val_ssim),
history.json, curves.png, run.json, and checkpoint/ with the state to resume from.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from .options import add_json, masking, number, print_json, say
from .training_options import add_losses, add_training, jit_compile, learning_rate, load_index, make_dataset, model_options

HELP = "train a model"
_WEIGHTS, _SETTINGS = "generator.weights.h5", "settings.json"
# What may differ between a run and its resumption.
FREE = ("resume", "overwrite", "epochs", "json", "debug", "run", "command", "jit", "argv", "strict")
_RESULTS = (_WEIGHTS, "history.json", "curves.png", "run.json", "series.json", "compare.png")


def configure(parser: argparse.ArgumentParser) -> None:
    add_training(parser, preset="recommended", epochs=20)
    add_losses(parser, several=False)
    parser.add_argument("--validation", metavar="DIR", help="validation data (a part of --data, by patient)")
    parser.add_argument("--validation-fraction", type=number, default=0.2, metavar="F", help="of the patients (0.2)")
    parser.add_argument("--allow-leak", action="store_true", help="accept patients on both sides")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    out = Path(arguments.out)
    check_run(out, arguments)
    train, validation, skipped = _indices(arguments)
    result = train_model(arguments, out, train, validation)
    result["skipped"] = {s.name: s.reason for s in skipped}
    if arguments.json:
        print_json(result)
    else:
        print(f"best val_ssim {result['best_val_ssim']:.4f} in epoch {result['best_epoch']}, zero-filled "
              f"{result['zero_filled_ssim']:.4f}; weights: {result['weights']}")
        if result["best_val_ssim"] <= result["zero_filled_ssim"]:
            say("warning: the network is not better than zero-filling; do not use it")
    return 3 if skipped else 0


def check_run(out: Path, arguments: argparse.Namespace, free: tuple[str, ...] = FREE) -> None:
    """Refuse wrong arguments, and to mix runs: an existing one is replaced with --overwrite and continued, unchanged,
    with --resume. Writes nothing, so that a mistyped command leaves no folder that stands in the way of the next.
    """
    from ..data import check_folder
    from ..errors import UsageError
    from ..zoo import check_trainable

    check_trainable(arguments.model, arguments.preset)
    masking(arguments)
    check_folder(out)
    if out.exists() and out.resolve() == Path(arguments.data).resolve():
        raise UsageError(f"--out is the folder of the data ({out}). Name another: results would be taken for data.")
    settings, path = _settings(arguments, free), out / _SETTINGS
    if path.exists() and arguments.resume:
        former = _former_settings(path)
        changed = [k for k, v in settings.items() if former.get(k) != v]
        if changed:
            raise UsageError(f"--resume needs the same settings; {', '.join(changed)} differ from {path}.")
    elif path.exists() and not arguments.overwrite:
        raise UsageError(f"{out} holds a run already. Use --resume to go on with it or --overwrite to replace it.")
    elif not path.exists():
        _check_not_in_the_way(out)


def _former_settings(path: Path) -> dict[str, Any]:
    from ..errors import UsageError

    try:
        former = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({error}); use --overwrite to begin anew.") from error
    return former if isinstance(former, dict) else {}


def _check_not_in_the_way(out: Path) -> None:
    """A folder that is no run of ours may hold other files, but none with the names a run writes."""
    from ..errors import UsageError

    taken = [name for name in (*_RESULTS, "checkpoint") if (out / name).exists()]
    if taken:
        raise UsageError(f"{out} holds {', '.join(taken)} but no run of ours ({_SETTINGS}). Name another folder.")


def begin_run(out: Path, arguments: argparse.Namespace, free: tuple[str, ...] = FREE) -> None:
    """Remove what a former run left, unless it is to be resumed, and note the settings of this one."""
    from ..files import write_json

    if not arguments.resume:
        for old in [*out.glob("checkpoint/state-*.weights.h5"), *(out / name for name in _RESULTS)]:
            old.unlink(missing_ok=True)
    write_json(out / _SETTINGS, _settings(arguments, free))


def _settings(arguments: argparse.Namespace, free: tuple[str, ...]) -> dict[str, Any]:
    return {k: v for k, v in sorted(vars(arguments).items()) if k not in free}


def train_model(arguments: argparse.Namespace, out: Path, train: Any, validation: Any) -> dict[str, Any]:
    """Train on an index, keep the best weights, write curves and record; returns what was reached."""
    from .process import load_tensorflow, write_record

    load_tensorflow()
    import keras

    from ..data import EpochClock
    from ..report import curves, save_figure
    from ..training import fit_resumable
    from ..weights import save_weights, sha256_of
    from ..zoo import create, record_of

    began = time.monotonic()
    keras.utils.set_random_seed(arguments.seed)
    record, clock = record_of(arguments.model), EpochClock()
    train_data = make_dataset(arguments, train, True, record.scaling, clock=clock)
    validation_data = make_dataset(arguments, validation, False, record.scaling)
    baseline = zero_filled_ssim(validation_data)
    _announce(train, validation, arguments.crop, baseline)
    options = model_options(arguments)
    rate = learning_rate(arguments, record, int(train_data.cardinality()))
    trainer = create(arguments.model, preset=arguments.preset, jit_compile=jit_compile(arguments),
                     **{**options, "learning_rate": rate})
    card = _card(arguments, record, options)
    begin_run(out, arguments)

    def save_best(facts: dict[str, Any]) -> None:
        save_weights(trainer.generator, out / _WEIGHTS, {**card, **facts})

    history = fit_resumable(
        trainer, train_data, validation_data, arguments.epochs, out, clock, save_best, baseline=baseline
    )
    save_figure(curves({k: [h[k] for h in history] for k in history[0] if k != "epoch"}), out / "curves.png")
    top = max(history, key=lambda h: h["val_ssim"])
    result = {
        "best_val_ssim": top["val_ssim"],
        "best_epoch": top["epoch"] + 1,
        "zero_filled_ssim": baseline,
        "weights": str(out / _WEIGHTS),
        "weights_sha256": sha256_of(out / _WEIGHTS),
        "seconds": round(time.monotonic() - began, 1),
    }
    write_record(out, arguments.argv, seed=arguments.seed, card=card, data=_data_facts(train, validation), **result)
    return result


def zero_filled_ssim(dataset: Any) -> float:
    """Mean SSIM of the inputs themselves, over the slices of a dataset with data ranges; empty volumes do not count."""
    import numpy as np

    from ..errors import DataError
    from ..losses import ssim_per_image

    scores: list[float] = []
    for image, target, facts in dataset:
        found = np.asarray(ssim_per_image(target, image, facts["data_range"]))
        scores += found[facts["data_range"].numpy() > 0].tolist()
    if not scores:
        raise DataError("Every target of the validation data is zero everywhere; nothing can be judged. Give other data.")
    return float(np.mean(scores))


def _indices(arguments: argparse.Namespace) -> tuple[Any, Any, list]:
    """(train, validation, what was skipped)."""
    from ..data import check_no_shared_patient, split
    from ..errors import DataError, UsageError

    index = load_index(arguments, arguments.data)
    if not arguments.validation:
        fraction = arguments.validation_fraction
        if not 0 < fraction < 1:
            raise UsageError(f"--validation-fraction must lie between 0 and 1, received {fraction}.")
        return *split(index, (1 - fraction, fraction), arguments.seed), [*index.skipped]
    validation = load_index(arguments, arguments.validation)
    try:
        check_no_shared_patient(index, validation)
    except DataError as error:
        if not arguments.allow_leak:
            raise
        say(f"warning: {str(error).split('.')[0]}")
    return index, validation, [*index.skipped, *validation.skipped]


def _announce(train: Any, validation: Any, crop: Any, baseline: float) -> None:
    from ..data import output_size

    for name, index in (("train", train), ("validation", validation)):
        patients = len({v.patient for v in index.volumes})
        say(f"{name}: {index.slices} slices in {len(index.volumes)} volumes of {patients} patients")
        sizes = Counter()
        for volume in index.volumes:
            sizes[output_size(volume, crop)] += volume.slices
        if len(sizes) > 1:
            listing = ", ".join(f"{h}x{w} ({n} slices)" for (h, w), n in sizes.items())
            say(f"{name}: images of several sizes, in batches of their own: {listing}")
    say(f"zero-filled val_ssim {baseline:.4f}: the number to beat")


def _card(arguments: argparse.Namespace, record: Any, options: dict[str, Any]) -> dict[str, Any]:
    """What the weights need to be used: how to build the network, and what its inputs were."""
    chosen = {**record.presets[arguments.preset], **options}
    return {
        "model": arguments.model,
        "options": chosen,
        "scaling": record.scaling,
        "acceleration": arguments.acceleration,
        "center_fraction": arguments.center_fraction,
        "mask_type": arguments.mask_type,
    }


def _data_facts(train: Any, validation: Any) -> dict[str, Any]:
    """File names and pseudonyms by side, and a digest of names and sizes that tells whether two runs had the same data."""
    from ..data import pseudonyms

    names = pseudonyms([*train.volumes, *validation.volumes])
    listing = [(v.name, v.stamp[0] if v.stamp else 0) for v in (*train.volumes, *validation.volumes)]
    return {
        "train": {v.name: names[v.name] for v in train.volumes},
        "validation": {v.name: names[v.name] for v in validation.volumes},
        "digest": hashlib.sha256(json.dumps(listing).encode()).hexdigest(),
    }
