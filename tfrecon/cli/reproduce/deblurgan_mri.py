"""DeblurGAN for undersampled MRI (seed 000): its table of SSIM at 4x and 8x, with a table for each acceleration.

Small form, without --data: phantoms, preset `small`, 12 epochs, batches of 2. Full form: single-coil k-space as fastMRI's, preset
`recommended`, 5 epochs as the source's. The content loss is the source's, perceptual and from 8x on L1; under preset `small` it
is L1 unless --vgg-weights are given.
"""

from __future__ import annotations

import argparse
from typing import Any

from ..options import add_existing, add_json, add_mask, add_reading, masking
from ..training_options import add_recipe, add_vgg
from .forms import add_form, begin, parts_of, perceptual, settle

HELP = "DeblurGAN for MRI: SSIM at 4x and 8x"
MODEL = "deblurgan_mri"
_SOURCE = {4: "SSIM 0.37", 8: "SSIM 0.21"}
_L1_FROM = 8  # the report's 8x was trained with L1
_SIZES = ("ngf", "ndf", "n_blocks", "dropout", "critic_updates")
_SCALING = ("input and target divided by the largest value of the slice's zero-filled image, brought to [-1, 1], and back "
            "after the network; as coded: none")
_WHY = (
    "The source is the report of seed 000: SSIM 0.37 at 4x and 0.21 at 8x, on 100 fastMRI knee volumes of 30 to 40 slices, 70 "
    "to train on and 30 to judge by. What zero-filled images scored there is not known.",
    "Its code has no evaluation: which SSIM, which data range and which slices is not known. One zero-filled volume scored "
    "0.713 under fastMRI's rule and 0.497 with each slice's own maximum as range, so no difference of that size says anything.",
    "As coded there, input and target are exchanged, so that the network learns to make artefacts, and intensities of 1e-4 "
    "enter a network made for [-1, 1] without scaling. Here both are repaired; `--as-coded` trains it that way too.",
    "Its masks have the seed 0, one mask for all volumes of a width, in training and in judging (`--mask-seed 0` judges so); "
    "here every slice and epoch trains with a new mask, and a volume is judged under that of its file name, and at the size of "
    "its stored target, not on the crop of 256.",
    "With --data and its defaults the same are the networks, their losses and order of steps, the masks' rule (0.08 of the "
    "columns in the centre at 4x, 0.04 at 8x), the centre crop to 256 for training, and L1 instead of the perceptual loss at "
    "8x.",
)


def configure(parser: argparse.ArgumentParser) -> None:
    add_form(parser)
    parser.add_argument("--as-coded", action="store_true", help="also train the networks as the source coded it, for comparison")
    add_recipe(parser)
    add_vgg(parser)
    add_existing(parser, "replace an existing comparison", "go on with an interrupted one")
    add_mask(parser, "--mask-seed", default=[4, 8])
    add_reading(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from ...zoo import check_trainable
    from ..tasks import task_of
    from .networks import train_arguments
    from .sheet import FASTMRI, SMALL, Sheet, finish, masks, pictures

    settle(arguments, {"preset": "small", "epochs": 12, "batch_size": 2}, {"preset": "recommended", "epochs": 5})
    check_trainable(MODEL, arguments.preset)
    for rate in arguments.accelerations:
        masking(train_arguments(arguments, arguments.out, acceleration=rate))
    task = task_of(train_arguments(arguments, arguments.out, model=MODEL))
    parts = begin(arguments, task, lambda index: parts_of(arguments, task, index))
    tables, judged, nothing = {}, {}, {}
    for rate in arguments.accelerations:
        found = _at(arguments, parts, rate)
        tables[f"{rate}x"] = [next(iter(found.values())).baseline, *(each.row for each in found.values())]
        judged.update({f"{name} {rate}x": each for name, each in found.items()})
        nothing.update({f"{name} {rate}x": "" if n else f"zero-filled {rate}x" for n, name in enumerate(found)})
    sheet = Sheet(
        "DeblurGAN for MRI (seed 000) at several accelerations", tables, ("nmse", "psnr", "ssim"), "zero_filled",
        {"metric": FASTMRI, "split": parts.sentence(), "masks": masks(arguments), "scaling": _SCALING,
         "training": f"preset {arguments.preset}, {arguments.epochs} epochs, the one with the best SSIM on the people to choose "
         f"by, seed {arguments.seed}; content loss and all options: MODEL_CARD.md of each network"},
        [*([] if arguments.data else [SMALL]), *_WHY],
    )
    return finish(arguments, sheet, {"figure.png": pictures(judged, nothing)}, data=parts.facts(),
                  trained={name: each.trained for name, each in judged.items()})


def _at(arguments: argparse.Namespace, parts: Any, rate: float) -> dict[str, Any]:
    """Name -> `Judged` of the networks of one acceleration."""
    from ...zoo import record_of
    from .networks import network

    content = "perceptual" if rate < _L1_FROM and perceptual(arguments) else "l1"
    chosen = {"model": MODEL, "acceleration": rate, "content": content}
    found = {"DeblurGAN": network(arguments, f"{rate}x", "DeblurGAN", parts, chosen)}
    if arguments.as_coded:
        preset = record_of(MODEL).presets[arguments.preset]
        sizes = [(name, preset[name]) for name in _SIZES if name in preset]
        coded = {"preset": "original", "set": [*sizes, *arguments.set],
                 "learning_rate": arguments.learning_rate or preset["learning_rate"]}
        found["as coded"] = network(arguments, f"{rate}x-as-coded", "DeblurGAN as coded", parts, {**chosen, **coded})
    for each in found.values():
        each.row["source"] = _SOURCE.get(rate)
    return found
