"""Deblurring of motion-blurred CT (seed 003): its table of SSIM and PSNR with Pix2Pix, DeblurGAN and its own DeblurGAN.

The source's own differs from DeblurGAN in the content loss, whose distance is L1 instead of the mean square. Small form, without
--data: CT-like phantoms blurred by 12 pixels, preset `small`, 8 epochs. Full form: sharp CT, preset `recommended`, 5 epochs
as the source's. Content losses are perceptual; under preset `small` they are taken on the pixels unless --vgg-weights are given.
"""

from __future__ import annotations

import argparse
from typing import Any

from ..options import BLUR_LENGTH, add_blur, add_existing, add_json, add_reading
from ..training_options import add_recipe, add_vgg
from .forms import add_form, begin, parts_of, perceptual, settle

HELP = "CT deblurring: SSIM and PSNR with Pix2Pix and DeblurGAN"
_OWN = "seed 003"
_SOURCE = {"Pix2Pix": "SSIM 0.88, PSNR 24.72", "DeblurGAN": "SSIM 0.93, PSNR 25.22", _OWN: "SSIM 0.94, PSNR 25.67"}
_METRIC = ("on the windowed images as [0, 1], with 1 as data range: NMSE, PSNR and SSIM (7x7 window) over volumes; PSNR of 8-bit "
           "grey levels and SSIM in a Gaussian window as in DeblurGAN's repository; mean over the judged volumes")
_WHY = (
    "The source is the report of seed 003, on 14,329 pairs of CT slices, 300 of them to judge by: SSIM 0.88 and PSNR 24.72 for "
    "Pix2Pix, 0.93 and 25.22 for DeblurGAN, 0.94 and 25.67 for its own. What the blurred images scored there, and so what the "
    "networks added, is not known.",
    "It says neither which SSIM it took nor on which scale. PSNR_UINT8 and SSIM_GAUSSIAN are the functions in the repository of "
    "DeblurGAN, the likeliest; with zeros beyond the border and grey levels cut to 8 bits they differ from PSNR and SSIM.",
    "It states neither the window of Hounsfield units nor the parameters of its blur, which decide how hard the task is.",
    "It trained over seven random parts of the data in sequence; here every epoch sees all slices. Its weight of the content "
    "loss is unstated; here it is DeblurGAN's, 100.",
    "With --data and its defaults the same are the networks, the WGAN-GP critic, the rule of the blur's random paths, and "
    "batches of 2.",
)


def configure(parser: argparse.ArgumentParser) -> None:
    add_form(parser, size=128)
    add_recipe(parser)
    add_vgg(parser)
    add_existing(parser, "replace an existing comparison", "go on with an interrupted one")
    add_blur(parser)
    add_reading(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from ...zoo import check_trainable
    from ..tasks import task_of
    from .networks import network, train_arguments
    from .sheet import SMALL, Sheet, finish, pictures

    settle(arguments, {"preset": "small", "epochs": 8, "blur_length": 12.0},
           {"preset": "recommended", "epochs": 5, "blur_length": BLUR_LENGTH})
    for chosen in _networks(arguments).values():
        check_trainable(chosen["model"], arguments.preset)
    task = task_of(train_arguments(arguments, arguments.out, model="ct_deblur"))
    parts = begin(arguments, task, lambda index: parts_of(arguments, task, index))
    judged = {name: network(arguments, name.lower().replace(" ", "-"), name, parts, chosen, "--blur",
                            {"psnr_uint8": _psnr_uint8, "ssim_gaussian": _ssim_gaussian})
              for name, chosen in _networks(arguments).items()}
    rows = [judged["Pix2Pix"].baseline, *({**each.row, "source": _SOURCE[name]} for name, each in judged.items())]
    sheet = Sheet(
        "Deblurring of motion-blurred CT (seed 003)", {"Blurred CT": rows},
        ("nmse", "psnr", "ssim", "psnr_uint8", "ssim_gaussian"), "blurred",
        {"metric": _METRIC, "split": parts.sentence(),
         "blur": f"random paths of {arguments.blur_length:g} pixels, one for every slice; judged under those seeded by the file "
         f"name, trained under new ones in every epoch (seed {arguments.seed})",
         "scaling": f"Hounsfield units through the window {task.window()}, which becomes [-1, 1]",
         "training": f"preset {arguments.preset}, {arguments.epochs} epochs, the one with the best SSIM on the people to choose "
         f"by, seed {arguments.seed}; content losses: {_contents(arguments)}; all options: MODEL_CARD.md of each network"},
        [*([] if arguments.data else [SMALL]), *_WHY],
    )
    shown = {name: "blurred" if n == 0 else "" for n, name in enumerate(judged)}
    return finish(arguments, sheet, {"figure.png": pictures(judged, shown)}, data=parts.facts(),
                  trained={name: each.trained for name, each in judged.items()})


def _networks(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Name -> arguments of `train`, in the table's order."""
    def deblurgan(distance: str, pixels: str) -> dict[str, Any]:
        if perceptual(arguments):
            return {"model": "ct_deblur", "content": "perceptual", "set": [("distance", distance), *arguments.set]}
        return {"model": "ct_deblur", "content": pixels}

    return {"Pix2Pix": {"model": "pix2pix", "vgg_weights": None}, "DeblurGAN": deblurgan("mse", "mse"),
            _OWN: deblurgan("mae", "l1")}


def _contents(arguments: argparse.Namespace) -> str:
    where = "features of VGG19" if perceptual(arguments) else "pixels, for want of --vgg-weights"
    return f"mean square (DeblurGAN) and L1 ({_OWN}) on {where}, L1 on pixels (Pix2Pix)"


def _psnr_uint8(target: Any, prediction: Any) -> float:
    import numpy as np

    from ...metrics import psnr_uint8

    return psnr_uint8(*(np.uint8(255 * np.clip(images, 0, 1)) for images in (target, prediction)))


def _ssim_gaussian(target: Any, prediction: Any) -> float:
    from ...metrics import ssim_gaussian

    return ssim_gaussian(target, prediction)
