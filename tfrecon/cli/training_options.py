"""The arguments of the commands that train, and the model options they describe."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from .batch_size import batch_size
from .options import add_blur, add_combine, add_existing, add_mask, add_reading, count, not_negative, positive, seed

# Listed here because help must not import TensorFlow; a test holds them against losses.LOSSES and OPTIMIZERS.
LOSS_NAMES = ("l1", "mse", "bce", "bce_logits", "ssim", "kldiv")
OPTIMIZER_NAMES = ("adam", "adamw", "adagrad")
COIL_MAPS = ("auto", "file", "espirit", "low_resolution")
VALUE_RANGES = ("volume", "slice", "raw")
CONTENTS = ("perceptual", "l1", "mse")
# What the commands set themselves, and where.
_RESERVED = {"learning_rate": "--learning-rate", "jit_compile": "--jit", "preset": "--preset", "name": "--model",
             "weights": "--resume", "image_shape": "--crop", "optimizer": "--optimizer", "loss": "--loss",
             "vgg_weights": "--vgg-weights"}
_PYTHON = {"True": "true", "False": "false", "None": "null"}
_JIT = {"auto": "auto", "on": True, "off": False}


def add_training(parser: argparse.ArgumentParser, preset: str, epochs: int, auto: bool = False) -> None:
    """Data, model and optimisation arguments; `preset` and `epochs` are the defaults, `auto` as in `add_recipe`."""
    parser.add_argument("--data", required=True, metavar="DIR", help="folder or file: full k-space, sharp CT, images")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for everything the run writes")
    parser.add_argument("model", nargs="?", default=argparse.SUPPRESS, metavar="MODEL", help="as --model")
    parser.add_argument("--model", default="unet_gan", help="a name from `tfrecon models` (unet_gan)")
    add_recipe(parser, preset, epochs, auto)
    parser.add_argument("--width", type=count, help="filters of the U-Net's first stage (the preset's)")
    parser.add_argument("--reconstruction-weight", type=not_negative, metavar="W", help="0 is the original's (the preset's)")
    parser.add_argument("--content", choices=CONTENTS, help="content loss of the DeblurGANs (the preset's)")
    add_vgg(parser)
    parser.add_argument("--coil-maps", choices=COIL_MAPS, default="auto",
                        help="of multi-coil models: the file's, or estimated from the sampled centre (auto)")
    add_combine(parser)
    add_value_range(parser)
    add_existing(parser, "replace an existing run", "go on with an interrupted run")
    add_mask(parser, "--mask-seed")
    add_blur(parser)
    add_reading(parser)


def add_recipe(
    parser: argparse.ArgumentParser, preset: str | None = None, epochs: int | None = None, auto: bool = False
) -> None:
    """How any network is trained: with which options, for how long, on what part of the data. A default that is None depends
    on the data, as the command says itself. `auto`: whether the command finds a batch size by itself (`batch_size.settled`).
    """
    parser.add_argument("--preset", default=preset, help=f"option set of the model ({preset or 'see above'})")
    parser.add_argument("--epochs", type=count, default=epochs, help=f"({epochs or 'see above'})")
    found = ' or "auto": halved until a step fits into the memory' if auto else ""
    parser.add_argument("--batch-size", type=batch_size if auto else count, metavar="N", help=f"(the model's){found}")
    parser.add_argument("--learning-rate", "--lr", type=positive, metavar="RATE", help="(the preset's)")
    parser.add_argument("--decay", type=positive, default=1.0, metavar="D",
                        help="factor of the learning rate after every epoch (1: constant, as the original)")
    parser.add_argument("--linear-decay", type=count, nargs=2, metavar=("N", "M"),
                        help="constant for N epochs, then falling over M (150 150: the CT original)")
    parser.add_argument("--cosine", type=count, metavar="N", help="falling to nothing over N epochs by a cosine (the flow's)")
    parser.add_argument("--set", type=option, action="append", default=[], metavar="NAME=VALUE",
                        help="any other option of the model, as ngf=32; may be repeated")
    parser.add_argument("--visits", type=count, default=1, metavar="N", help="how often an epoch visits each slice (1)")
    parser.add_argument("--jit", choices=jit_choices(), default="auto", help="XLA; auto: on with a GPU (auto)")
    parser.add_argument("--target", metavar="KEY",
                        help='targets (reconstruction_esc; images: reconstruction_rss; CT: hu), "kspace" to compute them')
    parser.add_argument("--crop", type=count, metavar="N", help="side of the images (the target's size; GANs: 256)")
    parser.add_argument("--max-volumes", type=count, metavar="N", help="use the first N volumes only")
    parser.add_argument("--seed", type=seed, default=0, help="of weights, order, masks and splits (0)")


def add_vgg(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--vgg-weights", metavar="FILE", help="ImageNet weights of the perceptual loss (downloaded)")


def add_value_range(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--value-range", choices=VALUE_RANGES, help="of super-resolution: what becomes 0..255 (volume)")


def add_losses(parser: argparse.ArgumentParser, several: bool, losses: Sequence[str] = ("kldiv", "bce"),
               optimizers: Sequence[str] = ("adam",)) -> None:
    """--loss and --optimizer, or --losses and --optimizers with several values each, and these as defaults."""
    if several:
        parser.add_argument("--losses", nargs="+", choices=LOSS_NAMES, default=list(losses), help=f"({' '.join(losses)})")
        parser.add_argument("--optimizers", nargs="+", choices=OPTIMIZER_NAMES, default=list(optimizers),
                            help=f"({' '.join(optimizers)})")
    else:
        parser.add_argument("--loss", choices=LOSS_NAMES, help="adversarial loss (the preset's)")
        parser.add_argument("--optimizer", choices=OPTIMIZER_NAMES, help="(the preset's)")


def option(text: str) -> tuple[str, Any]:
    """NAME=VALUE, the value as JSON where it is some, else as text."""
    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier()):
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, received {text}")
    if name in _RESERVED:
        raise argparse.ArgumentTypeError(f"{name} is no option of the network; use {_RESERVED[name]}")
    value = _PYTHON.get(value, value)
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def model_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options given on the command line, without those left to the preset."""
    names = ("learning_rate", "width", "reconstruction_weight", "loss", "optimizer", "content", "vgg_weights")
    given = {name: getattr(arguments, name, None) for name in names}
    return {**{name: value for name, value in given.items() if value is not None}, **dict(arguments.set)}


def learning_rate(arguments: argparse.Namespace, record: Any, steps: int) -> Any:
    """The rate given or the preset's; with --decay it falls by a factor after every epoch of `steps` steps, with
    --linear-decay it is constant and then falls to nothing, as the CT original's, with --cosine it falls from the beginning.

    It depends on the step alone, never on the planned number of epochs, so a run can be prolonged.
    """
    rate = arguments.learning_rate or record.presets[arguments.preset]["learning_rate"]
    if arguments.linear_decay:
        from ..training import ConstantThenLinear

        return ConstantThenLinear(rate, steps, *arguments.linear_decay)
    if arguments.cosine:
        from ..training import CosineToZero

        return CosineToZero(rate, steps * arguments.cosine)
    if arguments.decay == 1.0:
        return rate
    import keras

    return keras.optimizers.schedules.ExponentialDecay(rate, steps, arguments.decay, staircase=True)


def jit_choices() -> list[str]:
    return sorted(_JIT)


def jit_compile(arguments: argparse.Namespace) -> Any:
    return _JIT[arguments.jit]
