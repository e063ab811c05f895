"""The U-Net GAN (seed 001): its figures of six losses and of three optimizers, cross-validated as by `tfrecon compare`.

Six losses under AdamW, the listing's optimizer, and three optimizers under KLDiv, the source's best loss. Small form, without
--data: phantoms, U-Nets of 8 filters, 5 epochs. Full form: the published networks on single-coil k-space at 8x, batches of 1, 10
epochs. Folds are cut by patient with fresh networks; --leaking-folds repeats the source's.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..options import add_existing, add_json, add_mask, add_reading, count, masking
from ..process import load_tensorflow
from ..runs import WEIGHTS
from ..training_options import LOSS_NAMES, OPTIMIZER_NAMES, add_losses, add_recipe, model_options
from .forms import NETWORKS, add_form, begin, settle

HELP = "U-Net GAN: six losses and three optimizers over folds"
MODEL = "unet_gan"
_OPTIMIZER, _LOSS = "adamw", "kldiv"
_LOSSES = {"kldiv": "0.62", "l1": "0.204", "mse": "0.207", "bce": "0.145", "bce_logits": "0.145 (BCE's)", "ssim": "0.17"}
_OPTIMIZERS = {"adam": "0.75", "adagrad": "0.748", "adamw": "0.67"}
_SCORES = "scores.json"
_WHY = (
    "The source is the report of seed 001: mean SSIM by loss 0.62 (KLDiv), 0.204 (L1), 0.207 (MSE), 0.145 (BCE; the text gives "
    "the same for BCE of logits) and 0.17 (SSIM); by optimizer, under KLDiv, 0.75 (Adam), 0.748 (Adagrad) and 0.67 (AdamW). "
    "What zero-filled images scored there is not known.",
    "Its SSIM has the two images exchanged, so that the generated one's maximum is the data range and one bright pixel raises "
    "it: a constant image with one hot pixel scored 0.601 so, and 0.136 under fastMRI's rule. SSIM_PREDICTION_RANGE is that "
    "form.",
    "Its folds are cut by slice and one network goes through all of them, so that from the second fold on it is judged on what "
    "it was trained on; networks stayed in training mode when judged. `--leaking-folds` repeats the folds.",
    "Nothing in its GAN ties an output to its own target, whatever the loss; KLDiv gives the discriminator no gradient from the "
    "generator's images, and its SSIM loss trained nothing. Here SSIM has a gradient: it compares output and target, and is the "
    "only one of the six that does.",
    "Its masks were drawn once for each slice and kept; here training draws anew, and validation by the file name.",
    "With --data and its defaults the same are the networks, losses, order of steps, optimizers and learning rate, 8x with 0.04 "
    "of the columns in the centre, and the images divided by the zero-filled maximum.",
)


def configure(parser: argparse.ArgumentParser) -> None:
    add_form(parser, size=64, volumes=8, slices=4, test=False)
    parser.add_argument("--folds", type=count, help="(small form: 2; full form: 3)")
    parser.add_argument("--leaking-folds", action="store_true", help="the source's folds, whose scores are too high")
    add_losses(parser, True, LOSS_NAMES, OPTIMIZER_NAMES)
    add_recipe(parser, preset="original")
    add_existing(parser, "replace an existing comparison", "go on with an interrupted one")
    add_mask(parser, "--mask-seed", default=8)
    add_reading(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from ...report import comparison
    from ...zoo import check_trainable
    from ..compare import check_comparison, configure, train_all
    from ..tasks import task_of
    from .networks import command_arguments
    from .sheet import SMALL, finish

    small = {"epochs": 5, "learning_rate": 1e-3, "batch_size": 4, "folds": 2}
    settle(arguments, small, {"epochs": 10, "batch_size": 1, "folds": 3})
    check_trainable(MODEL, arguments.preset)
    masking(arguments)
    width = [] if arguments.data else [("width", 8)]
    task = task_of(command_arguments(configure, arguments, Path(arguments.out), model=MODEL, set=[*width, *arguments.set]))
    pairs = list(dict.fromkeys([*((loss, _OPTIMIZER) for loss in arguments.losses),
                                *((_LOSS, name) for name in arguments.optimizers)]))
    load_tensorflow()
    parts = begin(arguments, task, lambda index: check_comparison(task, index, pairs))
    out = Path(arguments.out)
    series, baseline = train_all(task, parts, pairs, out, lambda made: _keep(task, parts, out, made))
    nothing = {"name": "zero_filled", "ssim": baseline, "ssim_prediction_range": _of_nothing(task, parts)}
    by_loss = {loss: series[f"{loss}, {_OPTIMIZER}"] for loss in arguments.losses}
    by_optimizer = {name: series[f"{_LOSS}, {name}"] for name in arguments.optimizers}
    losses = [_row(out, loss, _OPTIMIZER, _LOSSES[loss], series) for loss in arguments.losses]
    optimizers = [_row(out, _LOSS, name, _OPTIMIZERS[name], series) for name in arguments.optimizers]
    tables = {f"Losses, under {_OPTIMIZER}": [nothing, *losses], f"Optimizers, under {_LOSS}": [nothing, *optimizers]}
    figures = {"losses.png": comparison(by_loss, "SSIM", baseline), "optimizers.png": comparison(by_optimizer, "SSIM", baseline)}
    sheet = _sheet(arguments, tables, parts, [*([] if arguments.data else [SMALL]), *_WHY])
    return finish(arguments, sheet, figures, series={name: scores.tolist() for name, scores in series.items()})


def _keep(task: Any, parts: list, out: Path, made: Any) -> None:
    """Write the networks of a combination with their cards, and what they score by the source's call."""
    from ...files import write_json
    from ...weights import save_weights, sha256_of
    from ..train import card_of, data_facts, write_model_card

    folder, arguments = _folder(out, made.loss, made.optimizer), task.arguments
    card = card_of(task, {**model_options(arguments), "loss": made.loss, "optimizer": made.optimizer})
    training = {name: getattr(arguments, name) for name in ("epochs", "seed", "folds", "leaking_folds")}
    for number, (model, (train, validation)) in enumerate(zip(made.models, parts)):
        fold = folder / f"fold-{number + 1}"
        scores = {"scores": {"val_ssim": float(made.scores[number][-1])}, "baseline_scores": {"ssim": made.baselines[number]}}
        save_weights(model.generator, fold / WEIGHTS, {**card, **scores})
        write_model_card(task, fold, data_facts(train=train, validation=validation), training, sha256_of(fold / WEIGHTS))
    models = made.models * (len(parts) // len(made.models))  # leaking folds have one network for all
    swapped = [_swapped(validation, model.predict_on_batch) for model, (_, validation) in zip(models, made.datasets)]
    write_json(folder / _SCORES, {"ssim_prediction_range": swapped})


def _folder(out: Path, loss: str, optimizer: str) -> Path:
    return out / NETWORKS / f"{loss}-{optimizer}"


def _swapped(validation: Any, reconstruct: Any) -> float | None:
    """Mean over the slices of SSIM with the generated image's maximum as range; None where all of them are black."""
    import numpy as np

    from ...metrics import ssim_prediction_range

    scores = [ssim_prediction_range(target[None], made[None]) for image, targets, _ in validation
              for target, made in zip(np.asarray(targets)[..., 0], np.asarray(reconstruct(image))[..., 0])]
    judged = [score for score in scores if np.isfinite(score)]
    return float(np.mean(judged)) if judged else None


def _of_nothing(task: Any, parts: list) -> float | None:
    import numpy as np

    from ..compare import datasets_of

    found = [_swapped(validation, lambda image: image) for _, validation in datasets_of(task, parts)]
    return float(np.mean([score for score in found if score is not None]))


def _row(out: Path, loss: str, optimizer: str, source: str, series: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    last = series[f"{loss}, {optimizer}"][:, -1]
    swapped = _swapped_scores(_folder(out, loss, optimizer) / _SCORES)
    row: dict[str, Any] = {"name": f"{loss}, {optimizer}", "n": len(last), "source": f"SSIM {source}"}
    for column, values in (("ssim", last), ("ssim_prediction_range", [v for v in swapped if v is not None])):
        row[column] = float(np.mean(values)) if len(values) else None
        row[f"{column}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return row


def _swapped_scores(path: Path) -> list[float | None]:
    from ...errors import DataError, shown
    from ...files import read_json

    found = read_json(path, dict).get("ssim_prediction_range")
    if not isinstance(found, list) or not all(isinstance(score, (int, float)) or score is None for score in found):
        raise DataError(f"{shown(path)} is damaged: expected a list of scores; bring it back, or repeat the run.")
    return found


def _sheet(arguments: argparse.Namespace, tables: dict[str, list], parts: list, source: list[str]) -> Any:
    from .sheet import Sheet, masks

    people = [len({v.patient for v in validation.volumes}) for _, validation in parts]
    slices = [validation.slices for _, validation in parts]
    leaking = "by SLICE, one network through all of them (--leaking-folds)"
    return Sheet(
        "U-Net GAN (seed 001): losses and optimizers", tables, ("ssim", "ssim_prediction_range"), "zero_filled",
        {"metric": "SSIM (7x7 window) with the target volume's maximum as data range, mean over slices after the last epoch; "
         "SSIM_PREDICTION_RANGE: with the generated slice's own maximum, the source's call",
         "split": f"{len(parts)} folds {leaking if arguments.leaking_folds else 'by patient, with fresh networks'}; "
         f"judged in each: {', '.join(map(str, people))} people, {', '.join(map(str, slices))} slices",
         "masks": f"{arguments.acceleration}x, {masks(arguments)}",
         "scaling": "input and target divided by the largest value of the slice's zero-filled image",
         "training": f"preset {arguments.preset}, {arguments.epochs} epochs, batches of {arguments.batch_size}, learning rate "
         f"{arguments.learning_rate or 'as published'}, seed {arguments.seed}; the last epoch counts, none is chosen; "
         "networks and cards: networks/LOSS-OPTIMIZER/fold-N"},
        source, "folds",
    )
