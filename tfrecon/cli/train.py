"""Train a model on a folder of fully sampled k-space, sharp CT, or images; stop with Ctrl-C and go on with --resume.

Patients are kept on one side of the split. Written into --out: generator.weights.h5 (the epoch with the best val_ssim),
history.json, curves.png, strips/ with pictures of every epoch, run.json, and checkpoint/ with the state to resume from.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from pathlib import Path
from typing import Any

from .batch_size import kept, settled
from .cluster import rejoining, worker
from .config import config_of
from .options import add_json, count, number, positive, print_json, say
from .process import computing_in
from .runs import WEIGHTS, begin_run, check_run, check_same_data
from .tasks import Part, Task, task_of
from .trainer import build_callbacks, build_options, build_trainer, check_requests, estimate, largest_batches
from .training_options import add_losses, add_training

HELP = "train a model"
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
_PATHS = ("data", "out", "validation", "init", "vgg_weights")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="options from a JSON or YAML file, as a run's config.json; see README")
    add_training(parser, preset="recommended", epochs=20, auto=True)
    add_losses(parser, several=False)
    parser.add_argument("--validation", metavar="DIR", help="validation data (a part of --data, by patient)")
    parser.add_argument("--validation-fraction", type=number, default=0.2, metavar="F", help="of the patients (0.2)")
    parser.add_argument("--allow-leak", action="store_true", help="accept patients on both sides; cuts data of one by slice")
    parser.add_argument("--generator-first", type=count, default=0, metavar="N", help="epochs without the critic (CT)")
    parser.add_argument("--keep-epochs", action="store_true", help="keep both networks of every epoch, named as DeblurGAN's")
    parser.add_argument("--init", metavar="FILE", help="weights the reconstructing network starts with")
    parser.add_argument("--time-limit", type=positive, metavar="MINUTES", help="stop cleanly after so long, to be resumed")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32",
                        help="of the networks' activations; mixed ones are for GPUs (float16) and TPUs (bfloat16)")
    parser.add_argument("--dry-run", action="store_true", help="say what a run would cost and write nothing")
    parser.add_argument("--tensorboard", action="store_true", help="also write logs and strips for TensorBoard")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    out, first = Path(arguments.out), worker() in (None, 0)
    arguments.batch_size = kept(arguments)
    if first:  # the others find the folder as the first one made it
        check_run(out, arguments)
    check_requests(arguments)
    arguments.batch_size = settled(arguments)
    task = task_of(arguments)
    train, validation, skipped = _parts(task)
    with rejoining(arguments.argv), computing_in(arguments.precision):
        result = train_model(task, out, train, validation)
    result["skipped"] = {s.name: s.reason for s in skipped}
    if arguments.dry_run:
        print_json(result) if arguments.json else print("nothing was written")
        return 3 if skipped else 0
    if not first:
        say(f"worker {worker()}: done after {result['epochs']} epochs")
        return 0
    if result["lost_slices"]:
        say(f"warning: {result['lost_slices']} slices could not be read any more and were replaced by others")
    if arguments.json:
        print_json(result)
    elif "best_epoch" not in result:
        print(f"no epoch was completed; the state is in {out / 'checkpoint'}")
    else:
        best, baseline = result[f"best_val_{task.metric}"], result[f"baseline_{task.metric}"]
        print(f"best val_{task.metric} {best:.4f} in epoch {result['best_epoch']}, {task.baseline} {baseline:.4f}; weights: "
              f"{result['weights']}")
        if not task.is_better(best, baseline):
            say(f"warning: the network is not better than the {task.baseline} images; do not use it")
    return 3 if skipped or result["lost_slices"] else 0


def train_model(task: Task, out: Path, train: Part, validation: Part) -> dict[str, Any]:
    """Train on one part, keep the weights best on the other, write curves and record; returns what was reached, of a dry run
    what there is before the first epoch.

    Of several workers (see `cluster`) only the first one writes.
    """
    from .doctor.checks import unused_accelerators
    from .process import load_tensorflow

    load_tensorflow()
    import keras

    from ..data import EpochClock
    from ..files import write_json
    from ..training import fit_resumable, workers
    from ..weights import save_weights

    strategy = workers.workers_strategy()
    first, many = workers.is_chief(strategy), workers.is_across_workers(strategy)
    arguments, facts = task.arguments, data_facts(train=train, validation=validation)
    began = time.monotonic()
    if arguments.resume:
        check_same_data(out, facts["digest"])
    keras.utils.set_random_seed(arguments.seed)
    clock, side = EpochClock(), task.side(train, validation)
    lost: set[tuple[str, int]] = set()
    watched = {"strict": arguments.strict, "lost": lost}
    whole = {"drop_remainder": True} if many else {}  # else the task decides
    train_data = task.dataset(train, True, side, clock=clock, **whole, **watched)
    validation_data = task.dataset(validation, False, side, **watched)
    options = build_options(task, side)
    with strategy.scope():
        trainer = build_trainer(task, options, int(train_data.cardinality()))
    baseline = task.baseline_value(trainer, validation_data)
    if first:
        _announce(task, train, validation, baseline)
    card = {**card_of(task, options), "baseline_scores": {task.metric: baseline}}
    callbacks = [*task.guards(train, validation), *build_callbacks(task, out, trainer, validation_data)]
    trainer.prepare_losses()  # missing weights of a loss are told before the run begins
    for warning in unused_accelerators():
        say(f"warning: {warning}")
    if many and first:
        say(f"{strategy.num_replicas_in_sync} replicas share each batch of {task.batch_size}")
    elif not many:
        largest = largest_batches(task, train, side, arguments.visits)
        measured = train_data if largest is train else task.dataset(largest, True, side, **watched)
        say(estimate(trainer, train_data, arguments.epochs, measured))
    if arguments.dry_run:
        if not many:  # of whole images, which may need more than training on patches
            largest = largest_batches(task, validation, None, visits=1)
            trainer.evaluate(task.dataset(largest, False, side, **watched).take(1), verbose=0)
        return {"batch_size": task.batch_size, f"baseline_{task.metric}": baseline}
    if first:
        begin_run(out, arguments, digest=facts["digest"])
        write_json(out / "config.json", _config(arguments))
    together = workers.agreed(strategy)
    together([False])  # nobody looks for a state before the first one has cleared the folder

    def save_best(facts: dict[str, Any]) -> None:
        save_weights(trainer.generator, out / WEIGHTS, {**card, **facts})

    limit = math.inf if arguments.time_limit is None else 60 * arguments.time_limit
    history = fit_resumable(
        trainer, train_data, validation_data, arguments.epochs, out, clock, save_best, callbacks,
        (task.baseline, baseline), limit - (time.monotonic() - began), f"val_{task.metric}", task.lower_is_better,
    )
    together([False])  # nobody leaves before all have ended
    seconds = round(time.monotonic() - began, 1)
    result: dict[str, Any] = {"epochs": len(history), f"baseline_{task.metric}": baseline, "seconds": seconds,
                              "lost_slices": len(lost)}
    return _written(task, out, history, result, facts, card) if first else result


def _written(
    task: Task, out: Path, history: list[dict[str, float]], result: dict[str, Any], facts: dict[str, Any], card: dict[str, Any]
) -> dict[str, Any]:
    """The result of a run with its best epoch; curves, configuration, card and record are written."""
    from ..report import curves, save_figure
    from ..weights import sha256_of
    from .process import write_record

    arguments = task.arguments
    if len(history) < arguments.epochs:
        say(f"the time is over after {len(history)} of {arguments.epochs} epochs; --resume goes on")
    if history:
        save_figure(curves({k: [h[k] for h in history] for k in history[0] if k != "epoch"}), out / "curves.png")
        score = f"val_{task.metric}"
        top = (min if task.lower_is_better else max)(history, key=lambda h: h[score])
        result.update({f"best_{score}": top[score]}, best_epoch=top["epoch"] + 1, weights=str(out / WEIGHTS),
                      weights_sha256=sha256_of(out / WEIGHTS))
        write_model_card(task, out, facts, _config(arguments), result["weights_sha256"])
    write_record(out, arguments.argv, seed=arguments.seed, card=card, data=facts, epochs_asked=arguments.epochs, **result)
    return result


def _parts(task: Task) -> tuple[Part, Part, list]:
    """(train, validation, what was skipped)."""
    from ..data import check_no_shared_patient
    from ..errors import DataError

    arguments = task.arguments
    index = task.index(arguments.data)
    if not arguments.validation:
        return *_split(arguments, index), [*index.skipped]
    validation = task.index(arguments.validation)
    try:
        check_no_shared_patient(index, validation)
    except DataError as error:
        if not arguments.allow_leak:
            raise
        say(f"warning: {str(error).split('.')[0]}")
    return Part(index), Part(validation), [*index.skipped, *validation.skipped]


def _split(arguments: argparse.Namespace, index: Any) -> tuple[Part, Part]:
    """By patient; data of a single one by slice, if that is allowed knowingly."""
    from ..data import split
    from ..data.splits import split_slices
    from ..errors import UsageError

    fraction = arguments.validation_fraction
    if not 0 < fraction < 1:
        raise UsageError(f"--validation-fraction must lie between 0 and 1, received {fraction}.")
    shares = (1 - fraction, fraction)
    if arguments.allow_leak and len({v.patient for v in index.volumes}) == 1:
        say("warning: one patient stands on both sides; slices are split, and the scores are too high")
        return tuple(Part(index, samples) for samples in split_slices(index, shares, allow_leak=True))
    return tuple(map(Part, split(index, shares, arguments.seed)))


def _announce(task: Task, train: Part, validation: Part, baseline: float) -> None:
    for name, part in (("train", train), ("validation", validation)):
        patients = len({v.patient for v in part.volumes})
        say(f"{name}: {part.slices} slices in {len(part.volumes)} volumes of {patients} patients")
        sizes = task.sizes(part)
        if len(sizes) > 1 and not task.record.patch:
            listing = ", ".join(f"{h}x{w} ({n} slices)" for (h, w), n in sizes.items())
            say(f"{name}: images of several sizes, in batches of their own: {listing}")
    say(f"{task.baseline} val_{task.metric} {baseline:.4f}: the number to beat")


def card_of(task: Task, options: dict[str, Any]) -> dict[str, Any]:
    """What the weights need to be used: how to build the network, and what its inputs were. No paths of this machine."""
    chosen = {**task.record.presets[task.arguments.preset], **options}
    chosen.pop("vgg_weights", None)
    return {"model": task.arguments.model, "options": chosen, **task.facts()}


def _config(arguments: argparse.Namespace) -> dict[str, Any]:
    """What `train --config` takes to repeat the run."""
    parser = argparse.ArgumentParser()
    configure(parser)
    return config_of(arguments, parser)


def write_model_card(task: Task, out: Path, data: dict[str, Any], config: dict[str, Any], sha256: str) -> None:
    from ..files import write_whole
    from ..report import model_card
    from ..weights import read_card
    from .export.facts import card_facts

    told = (f"{len(data['train'])} volumes to train, {len(data['validation'])} to choose the epoch by, digest "
            f"{data['digest'][:16]}")
    # The card goes to other people: no paths of this machine.
    training = {name: value for name, value in config.items() if name not in _PATHS}
    facts = card_facts(task.record, read_card(out / WEIGHTS), sha256, data=told, training=training)
    write_whole(out / "MODEL_CARD.md", model_card(facts).encode())


def data_facts(**parts: Part) -> dict[str, Any]:
    """File names and pseudonyms by side, and a digest of names and sizes that tells whether two runs had the same data."""
    from ..data import pseudonyms
    from ..data.kaggle import versions_taken

    volumes = [v for part in parts.values() for v in part.volumes]
    names, versions = pseudonyms(volumes), versions_taken()
    listing = [(v.name, [size for size, _ in v.stamps]) for v in volumes]
    return {
        **({"kaggle_versions": versions} if versions else {}),
        **{side: {v.name: names[v.name] for v in part.volumes} for side, part in parts.items()},
        "digest": hashlib.sha256(json.dumps(listing).encode()).hexdigest(),
    }
