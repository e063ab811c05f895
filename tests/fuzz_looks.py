"""What a user's commands do with a file of each kind, for `fuzzing.py`: everything is read; and traps that show it notices."""

from __future__ import annotations

import argparse
import marshal
import os
import pickle
import signal
import subprocess
from pathlib import Path

import h5py
import numpy as np
from fuzz_runs import SETTINGS
from fuzz_structures import RANDOM

from tfrecon import cli
from tfrecon.cli.config import expanded
from tfrecon.cli.runs import check_run, check_same_data, check_settings
from tfrecon.cli.trainer import check_requests
from tfrecon.data import SliceReader, index_magnitudes, index_volumes
from tfrecon.data.ct import ImageReader, index_images
from tfrecon.errors import UsageError
from tfrecon.exporting.golden import read_golden
from tfrecon.hdf5 import guard, open_hdf5
from tfrecon.weights import formats, look_into, read_card
from tfrecon.weights.attributes import check_plain
from tfrecon.weights.formats import as_weights_error, find_source
from tfrecon.weights.keras_files import _check_content, keras_arrays, opened
from tfrecon.weights.legacy_files import facts, stored_layers
from tfrecon.weights.npz_file import read_npz
from tfrecon.weights.records import read_record
from tfrecon.weights.safetensors_file import read_safetensors
from tfrecon.weights.torch_files import read_torch

MOST_SLICES = 200  # a damaged header can promise millions of slices without a byte in each; the ends and some between do


def _some(count: int) -> list[int]:
    return sorted({*np.linspace(0, count - 1, min(count, MOST_SLICES)).astype(int).tolist()})


def _kspace(path: Path) -> None:
    index = index_volumes(path, strict=True)
    with SliceReader(nan="zero") as reader:
        for volume in index.volumes:
            for i in _some(volume.slices):
                reader.kspace(volume, i)


def _beside_kspace(path: Path) -> None:
    index = index_volumes(path, strict=True)
    with SliceReader(nan="zero") as reader:
        for volume in index.volumes:
            for i in _some(volume.slices):
                for key in volume.extra_keys:
                    reader.sampling_mask(volume, i) if key == "masks" else reader.coil_maps(volume, key, i)


def _targets(path: Path) -> None:
    index = index_volumes(path, target="reconstruction_esc", strict=True)
    with SliceReader() as reader:
        for volume in index.volumes:
            for i in _some(volume.slices):
                reader.target(volume, i)


def _magnitudes(path: Path) -> None:
    index = index_magnitudes(path, strict=True)
    with SliceReader() as reader:
        for volume in index.volumes:
            for i in _some(volume.slices):
                reader.target(volume, i)


def _images(path: Path) -> None:
    index = index_images(path, strict=True)
    with ImageReader(nan="air") as reader:
        for volume in index.volumes:
            for i in _some(volume.slices):
                reader.stored(volume, i)


def _arrays(path: Path) -> None:
    """As `load_file` reads each kind, without a model to put the numbers into."""
    with as_weights_error():
        source = find_source(path)
        if source.format in (formats.LEGACY, formats.LEGACY_MODEL):
            with open_hdf5(source.path) as file, guard(source.path, "reading the weights"):
                facts(file)
                for _, arrays in stored_layers(file):
                    for array in arrays:
                        array.dataset[()]
        elif source.format in (formats.KERAS, formats.ARCHIVE):
            with opened(source.path, source.format == formats.ARCHIVE) as file:
                for name in keras_arrays(file):
                    check_plain(file[name])
                _check_content(source.path, file)
                for name in keras_arrays(file):
                    np.asarray(file[name])
        elif source.format == formats.TORCH:
            read_torch(source.path, lambda names: True, None)
        else:
            {formats.SAFETENSORS: read_safetensors, formats.NPZ: read_npz}[source.format](source.path)


def command(*words: object) -> None:
    """What a command does, with its errors as they are: `main` would make a sentence of any."""
    parser, _ = cli._parser()
    try:
        arguments = parser.parse_args([str(word) for word in words])
    except SystemExit as error:
        raise UsageError("argparse's own") from error
    arguments.argv = [str(word) for word in words]
    arguments.run(arguments)


def _inspected(path: Path) -> None:
    command("inspect", path, "--strict", "--deep", "--json")


def _checked(path: Path) -> None:
    command("check", path, "--strict")


def _golden(path: Path) -> None:
    read_golden(path)


def _configured(path: Path) -> None:
    """All that `train --config` does before it reads data."""
    parser, commands = cli._parser()
    try:
        arguments = parser.parse_args(expanded(["train", "--config", str(path)], commands["train"]))
    except SystemExit as error:
        raise UsageError("argparse's own") from error
    arguments.argv = []
    check_run(path.parent / "nothing-here", arguments)
    check_requests(arguments)


def _reported(folder: Path) -> None:
    command("report", folder, "-o", folder.parent / "report.html", "--overwrite")


def _report_of_reconstructions(folder: Path) -> None:
    command("report", folder / "made", "--target", folder / "targets", "-o", folder.parent / "report.md", "--overwrite")


def _evaluated(folder: Path) -> None:
    command("evaluate", folder / "made", "--target", folder / "targets")


def _gone_on_with(folder: Path) -> None:
    check_settings(folder, argparse.Namespace(**SETTINGS, resume=True, overwrite=False))
    check_same_data(folder, "dd")


def _recorded(folder: Path) -> None:
    for path in folder.iterdir():
        read_record(path)


VOLUME, WEIGHTS = (_kspace, _beside_kspace, _targets, _magnitudes, _inspected), (look_into, read_card, _arrays)
TORCH = dict.fromkeys(("torch-state", "torch-before_1_6", "torch-nested"), WEIGHTS)
LOOKS = {
    **dict.fromkeys(("kspace", "kspace-gzip", "kspace-coils", "kspace-links", "kspace-dense", "kspace-types", "kspace-filters",
                     "kspace-loops"), VOLUME),
    "magnitudes": (_magnitudes,),
    **dict.fromkeys(("hu", "dicom", "dicom-frames", "dicom-rle", "nifti", "nifti-2", "nifti-gz", "nifti-bomb", "png",
                     "png-colours", "png-bomb"), (_images,)),
    **dict.fromkeys(("keras", "keras-archive", "legacy", "legacy-whole", "safetensors", "npz", "npz-deflated"), WEIGHTS),
    RANDOM: (*VOLUME, _images, *WEIGHTS),
    "run-train": (_reported,), "run-reconstruct": (_report_of_reconstructions, _evaluated), "run-settings": (_gone_on_with,),
    "config": (_configured,), "weight-record": (_recorded,), "golden": (_golden,),
}
# Looked at in `fuzz_tensorflow.py`.
SHARDS = ("shards", "shards-kspace")
TENSORFLOW = (*SHARDS, "loaded-keras", "loaded-archive", "loaded-legacy", "loaded-whole", "loaded-safetensors", "loaded-npz",
              "loaded-checkpoint", "resumed")


class _Foreign:
    def __reduce__(self):
        return (os.getcwd, ())


# By the outcome that must be noticed.
TRAPS = {
    "signal SIGSEGV": (lambda path: os.kill(os.getpid(), signal.SIGSEGV),),
    "not ours: MemoryError": (lambda path: bytes(2**31),),
    "not ours: KeyError": (lambda path: {}["x"],),
    "exit code 7": (lambda path: os._exit(7),),
    "forbidden: open": (lambda path: open("/etc/passwd").read(),),
    "forbidden: os.remove": (lambda path: os.remove("/tmp/fuzzing of tfrecon: no such file"),),
    "forbidden: os.system": (lambda path: os.system("true"),),
    "forbidden: subprocess.Popen": (lambda path: subprocess.run(["true"]),),
    "forbidden: pickle.find_class": (lambda path: pickle.loads(pickle.dumps(_Foreign())),),
    "forbidden: compile": (lambda path: compile("1 + 1", "<string>", "eval"),),
    "forbidden: marshal.loads": (lambda path: marshal.loads(marshal.dumps(1)),),
    "read outside": (lambda path: h5py.File(path.parents[1] / "canary" / "other.h5").close(),),
}
