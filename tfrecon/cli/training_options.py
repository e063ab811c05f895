"""The arguments of the commands that train, and the datasets they describe."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from .options import add_existing, add_mask, add_reading, count, masking, not_negative, positive, report_skipped, seed

# Listed here because help must not import TensorFlow; a test holds them against losses.LOSSES and OPTIMIZERS.
LOSS_NAMES = ("l1", "mse", "bce", "bce_logits", "ssim", "kldiv")
OPTIMIZER_NAMES = ("adam", "adamw", "adagrad")
_JIT = {"auto": "auto", "on": True, "off": False}


def add_training(parser: argparse.ArgumentParser, preset: str, epochs: int) -> None:
    """Data, model and optimisation arguments; `preset` and `epochs` are the defaults."""
    parser.add_argument("--data", required=True, metavar="DIR", help="file or folder of fully sampled k-space")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for everything the run writes")
    parser.add_argument("--model", default="unet_gan", help="a name from `tfrecon models` (unet_gan)")
    parser.add_argument("--preset", default=preset, help=f"option set of the model ({preset})")
    parser.add_argument("--epochs", type=count, default=epochs, help=f"({epochs})")
    parser.add_argument("--batch-size", type=count, default=4, help="(4)")
    parser.add_argument("--learning-rate", "--lr", type=positive, metavar="RATE", help="(the preset's)")
    parser.add_argument("--decay", type=positive, default=1.0, metavar="D",
                        help="factor of the learning rate after every epoch (1: constant, as the original)")
    parser.add_argument("--width", type=count, help="filters of the U-Net's first stage (the preset's)")
    parser.add_argument("--reconstruction-weight", type=not_negative, metavar="W", help="0 is the original's (the preset's)")
    parser.add_argument("--jit", choices=sorted(_JIT), default="auto", help="XLA; auto: on with a GPU (auto)")
    parser.add_argument("--target", metavar="KEY", help='target images, or "kspace" to compute them (reconstruction_esc)')
    parser.add_argument("--crop", type=count, metavar="N", help="side of the images (the target's size)")
    parser.add_argument("--max-volumes", type=count, metavar="N", help="use the first N volumes only")
    parser.add_argument("--seed", type=seed, default=0, help="of weights, order, masks and splits (0)")
    add_existing(parser, "replace an existing run", "go on with an interrupted run")
    add_mask(parser, "--mask-seed")
    add_reading(parser)


def add_losses(parser: argparse.ArgumentParser, several: bool) -> None:
    """--loss and --optimizer, or --losses and --optimizers with several values each."""
    if several:
        parser.add_argument("--losses", nargs="+", choices=LOSS_NAMES, default=["kldiv", "bce"], help="(kldiv bce)")
        parser.add_argument("--optimizers", nargs="+", choices=OPTIMIZER_NAMES, default=["adam"], help="(adam)")
    else:
        parser.add_argument("--loss", choices=LOSS_NAMES, help="adversarial loss (the preset's)")
        parser.add_argument("--optimizer", choices=OPTIMIZER_NAMES, help="(the preset's)")


def model_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options given on the command line, without those left to the preset."""
    names = ("learning_rate", "width", "reconstruction_weight", "loss", "optimizer")
    given = {name: getattr(arguments, name, None) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def learning_rate(arguments: argparse.Namespace, record: Any, steps: int) -> Any:
    """The rate given or the preset's, decaying by a factor after every epoch of `steps` steps where --decay asks for it.

    It depends on the step alone, never on the planned number of epochs, so a run can be prolonged.
    """
    rate = arguments.learning_rate or record.presets[arguments.preset]["learning_rate"]
    if arguments.decay == 1.0:
        return rate
    import keras

    return keras.optimizers.schedules.ExponentialDecay(rate, steps, arguments.decay, staircase=True)


def jit_compile(arguments: argparse.Namespace) -> Any:
    return _JIT[arguments.jit]


def load_index(arguments: argparse.Namespace, path: str) -> Any:
    """The index of a folder, cut to --max-volumes, what is skipped said on stderr."""
    from ..data import index_volumes

    target = arguments.target or "reconstruction_esc"
    index = _fitting(index_volumes(path, target, arguments.key, arguments.strict, arguments.complex_axis))
    report_skipped(index)
    return replace(index, volumes=index.volumes[: arguments.max_volumes])


def _fitting(index: Any) -> Any:
    """The index without the volumes that need more memory than there is."""
    from ..data import Skipped, memory_shortage
    from ..errors import DataError

    shortages = {v.name: memory_shortage(v) for v in index.volumes}
    large = tuple(Skipped(name, sentence) for name, sentence in shortages.items() if sentence)
    if len(large) == len(index.volumes):
        raise DataError(f"no volume fits into memory: {large[0].name}: {large[0].reason}")
    volumes = tuple(v for v in index.volumes if not shortages[v.name])
    return replace(index, volumes=volumes, skipped=(*index.skipped, *large))


def make_dataset(arguments: argparse.Namespace, index: Any, training: bool, scaling: str, **options: Any) -> Any:
    """Training data: shuffled, fresh masks. Validation data: in order, masks by --mask-seed, with the data ranges."""
    from ..data import create_paired_dataset

    rule = masking(arguments)
    how = {"shuffle": True, "mask_seed": None} if training else {"metadata": True, "mask_seed": rule.seed}
    return create_paired_dataset(
        index,
        batch_size=arguments.batch_size,
        accelerations=rule.accelerations,
        center_fractions=rule.center_fractions,
        mask_type=rule.mask_type,
        crop=arguments.crop,
        scaling=scaling,
        seed=arguments.seed,
        complex_axis=arguments.complex_axis,
        shift=arguments.shift,
        **{**how, **options},
    )
