"""What the tests of the command line share: calling it in this process or its own, and small volumes to feed it."""

import hashlib
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from tfrecon import cli
from tfrecon.physics import fft2c

ROOT = Path(__file__).parents[1]
TINY = ("--preset", "small", "--width", "2", "--batch-size", "2")


@dataclass
class Result:
    code: int
    out: str
    err: str

    def json(self):
        """stdout as strict JSON: NaN and Infinity are not numbers there."""
        return json.loads(self.out, parse_constant=lambda word: 1 / 0)


@contextmanager
def as_shown_to_users():
    """Warnings are printed, not raised: a command must not depend on pytest's stricter rule."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


@contextmanager
def on_tpu():
    """Where data are asked for as under a TPU's strategy, whose input has no Python."""
    import pytest
    import tensorflow as tf

    class TPUStrategyV2:
        pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.distribute, "get_strategy", TPUStrategyV2)
        yield


def call(capsys, *argv) -> Result:
    """One command in this process, warnings shown as a user sees them."""
    capsys.readouterr()
    with as_shown_to_users():
        try:
            code = cli.main([str(word) for word in argv])
        except SystemExit as error:  # argparse's way of a usage error
            code = error.code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return Result(code, captured.out, captured.err)


def process(*argv, **options) -> subprocess.CompletedProcess:
    """One command in a process of its own."""
    command = [sys.executable, "-m", "tfrecon", *map(str, argv)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, **options)


def disc(slices=2, height=24, width=20, seed=0):
    """Complex images of a disc with some texture, largest magnitude about 1e-3."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    rng = np.random.default_rng(seed)
    texture = 1 + 0.2 * rng.standard_normal((slices, height, width))
    return (1e-3 * ((x**2 + y**2) < 0.6) * texture * np.exp(1j * x)).astype(np.complex64)


def volume(path, attributes: Mapping = (), images=None, **datasets) -> Path:
    """Write a fastMRI-like file: k-space and target of `images`, overridden by `datasets` (None leaves one out)."""
    images = disc() if images is None else images
    side = min(images.shape[1:])
    top, left = ((n - side) // 2 for n in images.shape[1:])
    target = np.abs(images[:, top : top + side, left : left + side])
    content = {"kspace": fft2c(images), "reconstruction_esc": target.astype(np.float32), **datasets}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs.update({"patient_id": path.stem, "acquisition": "TEST", **dict(attributes)})
        for key, value in content.items():
            if value is not None:
                file[key] = value
    return path


def volumes(folder, names="abc", shape=(2, 24, 20), **options) -> Path:
    """A folder with a volume for each name, each of its own patient."""
    for seed, name in enumerate(names):
        volume(Path(folder) / f"{name}.h5", images=disc(*shape, seed), **options)
    return Path(folder)


def training(data, out, *more) -> tuple:
    """The words that train the smallest network for one epoch."""
    return ("train", "--data", data, "--out", out, *TINY, "--epochs", 1, *more)


def nan_slice(path, i=1) -> Path:
    """Row 15: one sample of one slice is NaN."""
    with h5py.File(path, "r+") as file:
        file["kspace"][i, 3, 4] = np.nan
    return path


def results(folder) -> list[str]:
    """What a command left in a folder, its record and its half-written files included."""
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file())


def arrays(path) -> dict[str, np.ndarray]:
    """Every array in an HDF5 file by its full name."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def fingerprint(folder) -> dict[str, tuple]:
    """Content and modification time of every file under a folder."""
    return {p.as_posix(): (hashlib.sha256(p.read_bytes()).hexdigest(), os.stat(p).st_mtime_ns)
            for p in Path(folder).rglob("*") if p.is_file()}
