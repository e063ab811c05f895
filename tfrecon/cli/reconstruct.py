"""Reconstruct a file or folder: undersampled k-space, motion-blurred CT, or small images; one result per input.

Fully sampled k-space is undersampled first, with the mask given; k-space that is undersampled already is taken as it is.
CT (DICOM, NIfTI, PNG, HDF5) is taken as it is, or with --blur blurred first. Images are enlarged by four, with --reduce
reduced by four first. The inputs are only ever read.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from .options import (
    BLUR_LENGTH,
    add_blur,
    add_combine,
    add_existing,
    add_json,
    add_mask,
    add_reading,
    count,
    mask_seed,
    masking,
    print_json,
    report_skipped,
    say,
    threads,
)
from .runs import check_not_inside
from .trained import Lazy, LazyAdapted, LazyConsistent, check_weights
from .training_options import COIL_MAPS

HELP = "reconstruct a file or folder"
FORMATS = ("same", "hdf5", "dicom", "nifti", "png")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN", help="file or folder: HDF5 with kspace or images, or CT")
    parser.add_argument("output", metavar="OUT", help="folder for the results")
    parser.add_argument("--model", default="unet_gan", help="a name from `tfrecon models` (unet_gan)")
    parser.add_argument("--weights", metavar="FILE", help="weights written by `tfrecon train`, or any strict fit; "
                                                          "also a record's name or an address (`tfrecon weights list`)")
    parser.add_argument("--preset", help="option set the weights were made with, where their file does not say it")
    add_mask(parser, default=None)
    parser.add_argument("--crop", type=count, metavar="N", help="side of the result (the stored target's size, else 320)")
    parser.add_argument("--batch-size", type=count, metavar="N",
                        help="slices at once (4; super-resolution: 1; multi-coil models: always 1)")
    parser.add_argument("--workers", type=threads, default=1, metavar="N",
                        help="threads that read the next volumes meanwhile, where memory allows; 0 for none (1; multi-coil "
                             "models: always 0)")
    add_existing(parser, "replace existing results", "keep the results that are complete")
    parser.add_argument("--nan", choices=["refuse", "zero"], default="refuse", help="what to do with NaN (refuse)")
    add_reading(parser)
    group = add_blur(parser)
    group.add_argument("--blur", action="store_true", help="blur sharp images first, to judge a model")
    group.add_argument("--blur-seed", type=mask_seed, default="file", metavar="SEED", help="as --seed of the mask (file)")
    group.add_argument("--format", choices=FORMATS, default="hdf5", help="of the results (hdf5)")
    parser.add_argument("--tile", type=count, metavar="N",
                        help="CT, super-resolution: side of the tiles large inputs are cut into (whole slices)")
    parser.add_argument("--coil-maps", choices=COIL_MAPS, default="auto",
                        help="of multi-coil models: the file's, or estimated from the sampled centre (auto)")
    parser.add_argument("--adapt", type=count, metavar="STEPS",
                        help="modl, deep_basis_pursuit: first fit the network to every volume's own samples (100 are a start)")
    add_combine(parser)
    parser.add_argument("--data-consistency", action="store_true",
                        help="networks on zero-filled images: put the measured samples back afterwards, at whole frames")
    parser.add_argument("--reduce", action="store_true", help="super-resolution: reduce images first, to judge a model")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    index, outcomes, facts = reconstructed(arguments)
    return _finish(arguments, index, outcomes, facts)


def reconstructed(
    arguments: argparse.Namespace, names: Collection[str] | None = None
) -> tuple[Any, list[Any], dict[str, Any]]:
    """The index of the inputs, what became of each volume, and what made it; with `names`, of those volumes alone."""
    from ..errors import UsageError
    from ..zoo import record_of

    record = record_of(arguments.model)
    card = check_weights(arguments)
    if record.task == "pictures":
        raise UsageError(f"{record.name} is a prior, not a reconstruction: solve with it in Python, by "
                         "tfrecon.reconstruction.flow_prior.solve_with_flow.")
    prepare = {"masked": _volumes, "blur": _images, "superres": _small, "multicoil": _coils}[record.task]
    if arguments.combine and (record.task != "masked" or arguments.data_consistency):
        raise UsageError("--combine is for networks on magnitudes, without --data-consistency, which knows the coils; received "
                         f"--model {record.name}.")
    if arguments.adapt and (record.task != "multicoil" or record.make is None):
        raise UsageError(f"--adapt is for modl and deep_basis_pursuit, received --model {record.name}.")
    if arguments.data_consistency:
        prepare = _made_consistent(record)
    index, results, close = prepare(arguments, record, card, names)
    outcomes = []
    with close:
        for outcome in results:
            outcomes.append(outcome)
            say(f"[{len(outcomes)}/{len(index.volumes)}] {outcome.name}: {outcome.error or outcome.note or 'done'} "
                f"({outcome.seconds:.1f} s)")
    return index, outcomes, _facts(arguments, card)


def _wanted(index: Any, names: Collection[str] | None) -> Any:
    """The index, or with `names` the part of it that these are; says what is skipped."""
    report_skipped(index)
    return index if names is None else replace(index, volumes=tuple(v for v in index.volumes if v.name in names))


def _volumes(arguments: argparse.Namespace, record: Any, card: dict[str, Any], names: Any) -> tuple[Any, Any, Any]:
    """Undersampled k-space: (index, outcomes as they come, reader)."""
    from ..data import SliceReader, index_volumes
    from ..reconstruction import Settings, reconstruct_folder

    index = _wanted(index_volumes(arguments.input, None, arguments.key, arguments.strict, arguments.complex_axis), names)
    settings = Settings(masking(arguments), arguments.crop, card["scaling"], record.channels,
                        record.multiple_for(card.get("options", {})), arguments.batch_size or 4,
                        arguments.combine or card.get("combine"), _facts(arguments, card))
    reader = SliceReader(arguments.complex_axis, arguments.nan, arguments.shift)
    return index, reconstruct_folder(index, arguments.output, Lazy(arguments), settings, reader, arguments.overwrite,
                                     arguments.resume, arguments.strict, arguments.workers), reader


def _images(arguments: argparse.Namespace, record: Any, card: dict[str, Any], names: Any) -> tuple[Any, Any, Any]:
    """Blurred CT: (index, outcomes as they come, reader)."""
    from ..data.ct import Blurring, ImageReader, index_images
    from ..data.ct.window import DEFAULT
    from ..reconstruction import ImageSettings, reconstruct_images

    window = arguments.window or card.get("window", DEFAULT)
    index = _wanted(index_images(arguments.input, window, arguments.strict, arguments.key), names)
    length = arguments.blur_length or card.get("blur_length", BLUR_LENGTH)
    blurring = Blurring(max_length=length, seed=arguments.blur_seed) if arguments.blur else None
    settings = ImageSettings(window, record.channels, record.multiple_for(card.get("options", {})), arguments.tile,
                             batch_size=arguments.batch_size or 4, blurring=blurring, attributes=_facts(arguments, card))
    reader = ImageReader("air" if arguments.nan == "zero" else arguments.nan)
    return index, reconstruct_images(index, arguments.output, Lazy(arguments), settings, reader, arguments.format,
                                     arguments.overwrite, arguments.resume, arguments.strict, arguments.workers), reader


def _small(arguments: argparse.Namespace, record: Any, card: dict[str, Any], names: Any) -> tuple[Any, Any, Any]:
    """Images to be enlarged: (index, outcomes as they come, reader)."""
    from ..data import SliceReader, index_magnitudes
    from ..reconstruction import SuperresSettings, enlarge_folder

    check_not_inside(Path(arguments.output), arguments.input)
    index = _wanted(index_magnitudes(arguments.input, arguments.key, arguments.strict), names)
    settings = SuperresSettings(card["scaling"], arguments.reduce, arguments.tile, batch_size=arguments.batch_size or 1,
                                attributes=_facts(arguments, card))
    reader = SliceReader(nan=arguments.nan)
    return index, enlarge_folder(index, arguments.output, Lazy(arguments), settings, reader, arguments.overwrite,
                                 arguments.resume, arguments.strict, arguments.workers), reader


def _made_consistent(record: Any) -> Any:
    """`_coils` for a network on zero-filled images; UsageError for others."""
    from ..errors import UsageError

    if record.task != "masked" or record.make is None:
        raise UsageError("--data-consistency is for networks on zero-filled images (unet_gan, deblurgan_mri), received "
                         f"--model {record.name}.")
    return _coils


def _coils(arguments: argparse.Namespace, record: Any, card: dict[str, Any], names: Any) -> tuple[Any, Any, Any]:
    """k-space for a reconstruction that knows the measurement: (index, outcomes as they come, reader)."""
    from ..data import SliceReader, index_volumes
    from ..reconstruction import CoilSettings, reconstruct_coil_folder

    index = _wanted(index_volumes(arguments.input, None, arguments.key, arguments.strict, arguments.complex_axis), names)
    facts, model = _facts(arguments, card), Lazy(arguments)
    if record.task == "masked":
        scaling = "zero_filled_max" if card["scaling"] == "zero_filled_max_uncropped" else card["scaling"]
        model = LazyConsistent(arguments, scaling, record.multiple_for(card.get("options", {})))
    elif arguments.adapt:
        model = LazyAdapted(arguments)
    settings = CoilSettings(masking(arguments), arguments.crop, arguments.coil_maps, attributes=facts)
    reader = SliceReader(arguments.complex_axis, arguments.nan, arguments.shift)
    return index, reconstruct_coil_folder(index, arguments.output, model, settings, reader, arguments.overwrite,
                                          arguments.resume, arguments.strict), reader


def _facts(arguments: argparse.Namespace, card: dict[str, Any]) -> dict[str, Any]:
    return {"model": arguments.model, "weights_sha256": card.get("sha256", ""), **_after(arguments)}


def _after(arguments: argparse.Namespace) -> dict[str, Any]:
    """What is done besides the network, said also where it is nothing: --resume compares."""
    return {"adapted_steps": arguments.adapt or 0, "data_consistency": "yes" if arguments.data_consistency else "no"}


def _finish(arguments: argparse.Namespace, index: Any, outcomes: list[Any], facts: dict[str, Any]) -> int:
    from .process import write_record

    failed = {o.name: o.error for o in outcomes if o.error}
    failed.update({s.name: s.reason for s in index.skipped})
    done = [o.name for o in outcomes if o.path]
    seconds = sum(o.seconds for o in outcomes)
    result = {"reconstructed": done, "failed": failed, "seconds": round(seconds, 2), "output": arguments.output,
              "seconds_each": {o.name: round(o.seconds, 2) for o in outcomes}}
    if done:
        write_record(arguments.output, arguments.argv, **facts, **result)
    if arguments.json:
        print_json(result)
    else:
        print(f"{len(done)} volumes reconstructed into {arguments.output}, {len(failed)} failed, {seconds:.1f} s")
    return 3 if failed else 0
