"""Arguments that several commands share, with one meaning, one check and one help text each."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from ..errors import shown
from ..physics.masks import MASK_TYPES, check_acceleration, check_center_fraction

BLUR_LENGTH = 60.0  # the original's


def number(text: str) -> float:
    """A finite number; argparse turns the error into a usage message."""
    value = float(text)
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError
    return value


def not_negative(text: str) -> float:
    value = number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be 0 or more, received {text}")
    return value


def positive(text: str) -> float:
    value = number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be above 0, received {text}")
    return value


def count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, received {text}")
    return value


def threads(text: str) -> int:
    value = int(text) if text.isdigit() else -1
    if not 0 <= value <= 64:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 64, received {text}")
    return value


def acceleration(text: str) -> float:
    try:
        value = check_acceleration(number(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a finite number of at least 1, received {text}") from None
    return int(value) if value == int(value) else value


def seed(text: str) -> int:
    """A seed every random generator here takes."""
    value = int(text) if text.isdigit() else -1
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {2**32 - 1}, received {text}")
    return value


def mask_seed(text: str) -> Any:
    return text if text == "file" else seed(text)


def add_mask(parser: argparse.ArgumentParser, seed_name: str = "--seed", default: Any = 4) -> None:
    """--acceleration, --center-fraction, --mask-type and the mask's seed; a list as default makes it --accelerations."""
    group = parser.add_argument_group("mask")
    if isinstance(default, list):
        group.add_argument("--accelerations", type=acceleration, nargs="+", default=default, metavar="R",
                           help=f"at least 1 each ({' '.join(map(str, default))})")
    else:
        group.add_argument("--acceleration", type=acceleration, default=default, metavar="R",
                           help=f"at least 1 ({default or 4})")
    group.add_argument("--center-fraction", type=number, metavar="F", help="between 0 and 1/R (0.32/R: 0.08 at 4x)")
    group.add_argument("--mask-type", choices=sorted(MASK_TYPES), default="random", help="(random)")
    group.add_argument(seed_name, dest="mask_seed", type=mask_seed, default="file", metavar="SEED",
                       help="a number gives all volumes one mask, \"file\" seeds with the file name as fastMRI (file)")


def masking(arguments: argparse.Namespace) -> Any:
    """The `data.Masking` the arguments describe, checked."""
    from ..data.masking import Masking

    if arguments.center_fraction is not None:
        check_center_fraction(arguments.center_fraction, arguments.acceleration)
    return Masking(arguments.acceleration, arguments.center_fraction, arguments.mask_type, arguments.mask_seed)


def add_blur(parser: argparse.ArgumentParser) -> Any:
    """The window CT is seen through, and the length of the blur; returns the group, for a command's own."""
    group = parser.add_argument_group("CT")
    group.add_argument("--window", metavar="NAME", help='brain, bone, lung, ..., "grey", or CENTRE,WIDTH (soft_tissue)')
    group.add_argument("--blur-length", type=positive, metavar="N", help=f"of the path, in pixels ({BLUR_LENGTH:g})")
    return group


def add_reading(parser: argparse.ArgumentParser) -> None:
    """How foreign files are read."""
    group = parser.add_argument_group("reading")
    group.add_argument("--key", metavar="KEY", help="key of what is read (kspace, else kspace_4af or kspace_8af)")
    group.add_argument("--complex-axis", choices=["last"], help="k-space is real with (real, imaginary) last")
    group.add_argument("--shift", action="store_true", help="k-space has its centre in the corner; move it")
    group.add_argument("--strict", action="store_true", help="stop at the first unusable file")


def add_combine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--combine", choices=["rss", "sense"],
                        help="make one image of several coils, for networks on magnitudes: root sum of squares, or by coil maps")


def add_existing(parser: argparse.ArgumentParser, overwrite: str, resume: str) -> None:
    """--overwrite and --resume, of which one can be meant."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--overwrite", action="store_true", help=overwrite)
    group.add_argument("--resume", action="store_true", help=resume)


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")


def say(text: str) -> None:
    """Progress and notes go to stderr, results to stdout."""
    print(shown(text), file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Strict JSON: NaN and infinity become null."""
    print(json.dumps(_finite(value), indent=2, sort_keys=True, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))) else value


def report_skipped(index: Any) -> None:
    """One line for each file that is not used, and the notes of those that are."""
    for item in index.skipped:
        say(f"skipped {item.name}: {item.reason}")
    for volume in index.volumes:
        for note in volume.notes:
            say(f"note: {volume.name}: {note}")
