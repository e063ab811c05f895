"""Convert data to TFRecord shards: for network disks, and for TPUs, which read them without Python in the input.

All volumes of a patient lie in one shard. `train --data OUT` takes the result like the files it was made from.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .options import add_json, count, print_json, report_skipped, say
from .runs import check_not_inside

HELP = "convert images or k-space to TFRecord shards"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN", help="HDF5 file or folder")
    parser.add_argument("output", metavar="OUT", help="folder for the shards, new or empty")
    parser.add_argument("--task", choices=["superres", "masked"], default="superres",
                        help="what they are for: images to enlarge (superres, the default) or single-coil k-space to undersample")
    parser.add_argument("--key", metavar="KEY", help="superres: of the images (reconstruction_rss, else reconstruction_esc, else "
                        "reconstruction); masked: of the k-space (kspace)")
    parser.add_argument("--target", metavar="KEY",
                        help="masked: of the target images (reconstruction_esc), or kspace to compute them")
    parser.add_argument("--complex-axis", choices=["last"], help="masked: the k-space is real and ends in (real, imaginary)")
    parser.add_argument("--shift", action="store_true", help="masked: move the k-space centre from the corner to the middle")
    parser.add_argument("--shards", type=count, metavar="N", help="how many, at most as many as patients (128 MiB each)")
    parser.add_argument("--strict", action="store_true", help="stop at the first unusable file or slice")
    parser.add_argument("--overwrite", action="store_true", help="replace the shards in OUT, complete or not")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..data import check_folder
    from ..errors import UsageError

    if Path(arguments.output).resolve() == Path(arguments.input).resolve():
        raise UsageError(f"OUT is IN ({arguments.output}). Name another folder: inputs are only ever read.")
    check_not_inside(Path(arguments.output), arguments.input)
    check_folder(arguments.output)  # before anything is loaded
    written = {"superres": _pictures, "masked": _kspace}[arguments.task](
        arguments, {"strict": arguments.strict, "overwrite": arguments.overwrite, "progress": say})
    report_skipped(written)
    size = sum(shard.size for shard in written.shards)
    result = {"slices": written.slices, "volumes": len(written.volumes), "shards": len(written.shards), "bytes": size,
              "output": arguments.output, "skipped": {item.name: item.reason for item in written.skipped}}
    if arguments.json:
        print_json(result)
    else:
        print(f"{result['slices']} slices of {result['volumes']} volumes in {result['shards']} shards, {size} bytes: "
              f"{arguments.output}")
    return 3 if written.skipped else 0


def _pictures(a: argparse.Namespace, how: dict[str, Any]) -> Any:
    from ..data import index_magnitudes
    from ..data.superres import write_shards
    from ..errors import UsageError
    from .process import load_tensorflow

    others = [name for name in ("target", "complex_axis", "shift") if getattr(a, name)]
    if others:
        raise UsageError(f"--{others[0].replace('_', '-')} is for --task masked; images are named with --key.")
    index = index_magnitudes(a.input, a.key, a.strict)
    load_tensorflow()
    return write_shards(index, a.output, a.shards, **how)


def _kspace(a: argparse.Namespace, how: dict[str, Any]) -> Any:
    from ..data import index_volumes
    from ..data.kspace_shards import write_kspace_shards
    from .process import load_tensorflow

    index = index_volumes(a.input, a.target or "reconstruction_esc", a.key, a.strict, a.complex_axis)
    load_tensorflow()
    return write_kspace_shards(index, a.output, a.shards, complex_axis=a.complex_axis, shift=a.shift, **how)
