"""Repeat the comparison of one of the originals: one table, what the source reported beside it, and why the two may differ.

Without --data the small form runs on made-up data (phantoms) in minutes and shows that the way is right; its numbers are about
drawings. With --data the full form runs the published settings on data at hand.
"""

from __future__ import annotations

import argparse
from importlib import import_module

HELP = "repeat the comparison of an original"
# Name on the command line -> module with HELP, `configure` and `run`.
COMPARISONS = {"deblurgan-mri": "deblurgan_mri", "unet-gan": "unet_gan", "srrescycgan": "srrescycgan", "ct-deblur": "ct_deblur",
               "flow-vs-dbp": "flow_vs_dbp"}


def configure(parser: argparse.ArgumentParser) -> None:
    names = parser.add_subparsers(dest="comparison", metavar="NAME", required=True)
    for name, module in COMPARISONS.items():
        found = import_module(f".{module}", __name__)
        own = names.add_parser(name, help=found.HELP, description=found.__doc__)
        found.configure(own)
        # The command has it too; a default here would undo a --debug that stands before the name.
        own.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error")


def run(arguments: argparse.Namespace) -> int:
    return import_module(f".{COMPARISONS[arguments.comparison]}", __name__).run(arguments)
