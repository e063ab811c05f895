"""Reconstruct a file or folder of undersampled k-space: one HDF5 file with `reconstruction` per input.

Fully sampled volumes are undersampled first, with the mask given; volumes that are undersampled already are taken as
they are. The inputs are only ever read.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .options import add_existing, add_json, add_mask, add_reading, count, masking, print_json, report_skipped, say

HELP = "reconstruct a file or folder"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN", help="HDF5 file or folder with kspace")
    parser.add_argument("output", metavar="OUT", help="folder for the results")
    parser.add_argument("--model", default="unet_gan", help="a name from `tfrecon models` (unet_gan)")
    parser.add_argument("--weights", metavar="FILE", help="weights written by `tfrecon train`, or any strict fit")
    add_mask(parser, default=None)
    parser.add_argument("--crop", type=count, metavar="N", help="side of the result (the stored target's size, else 320)")
    parser.add_argument("--batch-size", type=count, default=4, help="slices at once (4)")
    add_existing(parser, "replace existing results", "keep the results that are complete")
    parser.add_argument("--nan", choices=["refuse", "zero"], default="refuse", help="what to do with NaN (refuse)")
    add_reading(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..data import SliceReader, index_volumes
    from ..reconstruction import Settings, reconstruct_folder

    card = check_weights(arguments)
    index = index_volumes(arguments.input, None, arguments.key, arguments.strict, arguments.complex_axis)
    report_skipped(index)
    facts = {"model": arguments.model, "weights_sha256": card.pop("sha256", "")}
    settings = Settings(masking(arguments), arguments.crop, card.get("scaling", "zero_filled_max"),
                        arguments.batch_size, facts)
    began, outcomes = time.monotonic(), []
    with SliceReader(arguments.complex_axis, arguments.nan, arguments.shift) as reader:
        results = reconstruct_folder(index, arguments.output, _Lazy(arguments), settings, reader, arguments.overwrite,
                                     arguments.resume, arguments.strict)
        for outcome in results:
            outcomes.append(outcome)
            say(f"[{len(outcomes)}/{len(index.volumes)}] {outcome.name}: {outcome.error or outcome.note or 'done'}")
    return _finish(arguments, index, outcomes, time.monotonic() - began)


def check_weights(arguments: argparse.Namespace) -> dict[str, Any]:
    """Look at the weights before anything heavy happens; fill the acceleration in and warn where it differs."""
    from ..data import SCALINGS
    from ..errors import UsageError, WeightsError
    from ..weights import read_card, sha256_of
    from ..zoo import record_of

    record = record_of(arguments.model)
    if record.make is None or not arguments.weights:
        if record.make is not None:
            raise UsageError(f"{arguments.model} needs --weights FILE; a network without them shows noise. `tfrecon "
                             "train` makes some, and --model zero_filled needs none.")
        arguments.acceleration = arguments.acceleration or 4
        return {"scaling": record.scaling}
    with _about_weights():
        card, digest = read_card(arguments.weights), sha256_of(arguments.weights)
    if card.get("model", arguments.model) != arguments.model:
        raise WeightsError(f"{arguments.weights} holds weights of {card['model']}. Use --model {card['model']}.")
    scaling = card.get("scaling", record.scaling)
    if scaling not in SCALINGS:
        raise WeightsError(f"{arguments.weights}: its card asks for a scaling that does not exist ({scaling!r}).")
    trained = card.get("acceleration")
    if trained and arguments.acceleration and trained != arguments.acceleration:
        say(f"warning: the weights were trained at {trained}x and the data are taken at {arguments.acceleration}x")
    arguments.acceleration = arguments.acceleration or trained or 4
    return {"scaling": scaling, "sha256": digest}


@contextmanager
def _about_weights() -> Iterator[None]:
    """A missing or broken weight file is an error of the weights, not of the volume that happened to need them."""
    from ..errors import DataError, WeightsError

    try:
        yield
    except DataError as error:
        raise WeightsError(str(error)) from error


class _Lazy:
    """The model, built when the first batch comes: wrong paths and existing results are told before TensorFlow loads."""

    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.model: Any = None

    def __call__(self, images: Any) -> Any:
        if self.model is None:
            from ..zoo import create
            from .process import load_tensorflow

            if self.arguments.weights:
                load_tensorflow()
            with _about_weights():
                model = create(self.arguments.model, weights=self.arguments.weights)
            self.model = getattr(model, "predict_on_batch", model)
        return self.model(images)


def _finish(arguments: argparse.Namespace, index: Any, outcomes: list[Any], seconds: float) -> int:
    from .process import write_record

    failed = {o.name: o.error for o in outcomes if o.error}
    failed.update({s.name: s.reason for s in index.skipped})
    done = [o.name for o in outcomes if o.path]
    result = {"reconstructed": done, "failed": failed, "seconds": round(seconds, 2), "output": arguments.output}
    if done:
        write_record(arguments.output, arguments.argv, **result)
    if arguments.json:
        print_json(result)
    else:
        print(f"{len(done)} volumes reconstructed into {arguments.output}, {len(failed)} failed, {seconds:.1f} s")
    return 3 if failed else 0
