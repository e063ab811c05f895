"""Convert images to TFRecord shards, which train without Python in the input: for TPUs and network disks.

All volumes of a patient lie in one shard. `train --data OUT` takes the result like the files it was made from.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import add_json, count, print_json, report_skipped, say
from .runs import check_not_inside

HELP = "convert images to TFRecord shards"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN", help="HDF5 file or folder with images")
    parser.add_argument("output", metavar="OUT", help="folder for the shards, new or empty")
    parser.add_argument("--task", choices=["superres"], default="superres", help="what they are for (superres)")
    parser.add_argument("--key", metavar="KEY",
                        help="of the images (reconstruction_rss, else reconstruction_esc, else reconstruction)")
    parser.add_argument("--shards", type=count, metavar="N", help="how many, at most as many as patients (128 MiB each)")
    parser.add_argument("--strict", action="store_true", help="stop at the first unusable file or slice")
    parser.add_argument("--overwrite", action="store_true", help="replace the shards in OUT, complete or not")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..data import check_folder, index_magnitudes
    from ..data.superres import write_shards
    from ..errors import UsageError
    from .process import load_tensorflow

    if Path(arguments.output).resolve() == Path(arguments.input).resolve():
        raise UsageError(f"OUT is IN ({arguments.output}). Name another folder: inputs are only ever read.")
    check_not_inside(Path(arguments.output), arguments.input)
    check_folder(arguments.output)  # before anything is loaded
    index = index_magnitudes(arguments.input, arguments.key, arguments.strict)
    load_tensorflow()
    written = write_shards(index, arguments.output, arguments.shards, strict=arguments.strict,
                           overwrite=arguments.overwrite, progress=say)
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
