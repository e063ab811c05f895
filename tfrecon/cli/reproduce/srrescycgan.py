"""SRResCycGAN for four times the size (seed 002): the table that was never made.

A generator trained by the content loss alone, and the full GAN that goes on from it; with --from-scratch the GAN begins anew, as
the source's. Small form, without --data: phantoms, preset `small`, 6 epochs. Full form: magnitude images, preset `recommended`,
10 epochs as the source's. Under preset `small` there is no perceptual loss unless --vgg-weights are given.
"""

from __future__ import annotations

import argparse
from typing import Any

from ..options import add_existing, add_json, add_reading
from ..runs import WEIGHTS
from ..training_options import add_recipe, add_value_range, add_vgg
from .forms import NETWORKS, add_form, begin, parts_of, perceptual, settle

HELP = "SRResCycGAN: the table that was never made"
MODEL = "srrescycgan"
# --preset -> those of the generator alone and of the GAN.
_PRESETS = {"recommended": ("content", "recommended"), "small": ("small", "small_gan")}
_CONTENT = "content"
_WHY = (
    "The report of seed 002 has no table: training was stopped by hand at step 417 of its first epoch, after 24,210 seconds at "
    "58 a step; nothing was saved, and no PSNR or SSIM was computed. There is nothing to compare with.",
    "Its log shows running means at that step: content loss 0.1285, perceptual 37.05, adversarial 12.88, discriminators 0.2318. "
    "The largest intensity it printed was 8.5e-4, in networks that clip to 0..255: a content loss of 0.1285 is about 150 times "
    "the signal. `--value-range raw` trains on such intensities.",
    "Its images reduced by four are bicubic without a low-pass filter, as here, so bicubic enlargement is the row to beat.",
    "Departures: volumes scaled to 0..255; batches of 2 instead of 8, which would have taken about 25 GB; the GAN begins with "
    "the generator of the row above it unless --from-scratch.",
)


def configure(parser: argparse.ArgumentParser) -> None:
    add_form(parser, size=192, smallest=188, volumes=8, slices=4)
    parser.add_argument("--from-scratch", action="store_true", help="the GAN begins anew, as the source's")
    add_recipe(parser)
    add_vgg(parser)
    add_value_range(parser)
    add_existing(parser, "replace an existing comparison", "go on with an interrupted one")
    add_reading(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..tasks import task_of
    from .networks import network, train_arguments
    from .sheet import FASTMRI, SMALL, Sheet, finish, pictures

    settle(arguments, {"preset": "small", "epochs": 6}, {"preset": "recommended", "epochs": 10})
    networks = _networks(arguments)
    task = task_of(train_arguments(arguments, arguments.out, **networks["SRResCycGAN"]))
    parts = begin(arguments, task, lambda index: parts_of(arguments, task, index))
    judged = {name: network(arguments, label, name, parts, chosen, "--reduce")
              for (name, chosen), label in zip(networks.items(), (_CONTENT, "gan"))}
    rows = [next(iter(judged.values())).baseline, *({**each.row, "source": "none reported"} for each in judged.values())]
    sheet = Sheet(
        "SRResCycGAN, four times the size (seed 002)", {"Four times the size": rows}, ("nmse", "psnr", "ssim"), "bicubic",
        {"metric": FASTMRI, "split": parts.sentence(),
         "reduction": "every image reduced by four by bicubic interpolation at half-pixel centres, without a low-pass filter; "
         "nothing random, so no masks and no seeds",
         "scaling": f"value range {task.value_range()}: what becomes 0..255; undone before judging",
         "training": f"presets {' and '.join(_PRESETS[arguments.preset])}, {arguments.epochs} epochs each, the one with the best "
         f"SSIM on the people to choose by, seed {arguments.seed}; {_losses(arguments)}; all options: MODEL_CARD.md of each "
         "network"},
        [*([] if arguments.data else [SMALL]), *_WHY],
    )
    shown = {name: "bicubic" if n == 0 else "" for n, name in enumerate(judged)}
    return finish(arguments, sheet, {"figure.png": pictures(judged, shown)}, data=parts.facts(),
                  trained={name: each.trained for name, each in judged.items()})


def _networks(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Name -> arguments of `train`, in the order of training."""
    from pathlib import Path

    from ...errors import UsageError, did_you_mean

    if arguments.preset not in _PRESETS:
        raise UsageError(f"--preset must be one of {', '.join(_PRESETS)}, received {arguments.preset!r}"
                         f"{did_you_mean(arguments.preset, _PRESETS)}")
    alone, gan = _PRESETS[arguments.preset]
    init = None if arguments.from_scratch else str(Path(arguments.out) / NETWORKS / _CONTENT / WEIGHTS)
    without = [] if perceptual(arguments) else [("lambda_perceptual", 0.0)]
    return {"content loss alone": {"model": MODEL, "preset": alone},
            "SRResCycGAN": {"model": MODEL, "preset": gan, "init": init, "set": [*without, *arguments.set]}}


def _losses(arguments: argparse.Namespace) -> str:
    if perceptual(arguments):
        return "the GAN under all its losses"
    return "the GAN without its perceptual loss, for want of --vgg-weights"
