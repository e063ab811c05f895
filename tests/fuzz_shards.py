"""Mutated folders of TFRecord shards for `fuzzing.py`; imported in a child alone, as it imports TensorFlow."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from cli_tools import on_tpu

from tfrecon.cli import _error_inside
from tfrecon.data import index_volumes, masked_pairs, superres_pairs
from tfrecon.data.kspace_shards import index_kspace_shards, index_masked, write_kspace_shards
from tfrecon.data.shards import verify_shards
from tfrecon.data.superres import index_magnitudes, index_shards, index_superres, write_shards


def written(files: dict[str, bytes], folder: Path) -> tuple[Path, Path]:
    """Folders of sound shards, of images and of k-space, two patients in two files each."""
    for kind in ("magnitudes", "kspace"):
        for name in ("a.h5", "b.h5"):
            path = folder / f"shard-{kind}" / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(files[kind])
    images, kspace = folder / "shards-sound", folder / "shards-kspace-sound"
    write_shards(index_magnitudes(folder / "shard-magnitudes"), images, overwrite=True)
    write_kspace_shards(index_volumes(folder / "shard-kspace", "reconstruction_esc"), kspace, overwrite=True)
    return images, kspace


def _reading(make: Callable[[Path], Any]) -> tuple[Callable[[Path], None], ...]:
    """Looks at every record, by its place and as a TPU would, with the errors that the command line would tell."""

    def look(folder: Path, way: Callable[[], Any]) -> None:
        try:
            with way():
                dataset = make(folder)
            for _ in dataset:
                pass
        except Exception as error:
            raise _error_inside(error) or error from error

    return tuple(partial(look, way=way) for way in (nullcontext, on_tpu))


# In the order of `fuzz_looks.SHARDS`.
LOOKS = ((*_reading(lambda folder: superres_pairs(index_superres(folder, strict=True), 1)),
          lambda folder: verify_shards(index_shards(folder))),
         (*_reading(lambda folder: masked_pairs(index_masked(folder, strict=True), 1)),
          lambda folder: verify_shards(index_kspace_shards(folder))))


def write_mutated(good: Path, rng: np.random.Generator | None, folder: Path, mutate: Callable) -> Path:
    """The folder with its mutation: of the manifest, of a shard's bytes, or of a record whose checksum is right again.

    Without a `rng` the sound one.
    """
    out = folder / "shards"
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(good, out)
    if rng is None:
        return out
    kind, shard = rng.integers(3), sorted(out.glob("*.tfrecord"))[0]
    path = out / "shards.json" if kind == 0 else shard
    if kind < 2:
        path.write_bytes(mutate(path.read_bytes(), rng))
    else:
        records = list(tf.data.TFRecordDataset(str(shard)).as_numpy_iterator())
        place = rng.integers(len(records))
        records[place] = mutate(records[place], rng)
        with tf.io.TFRecordWriter(str(shard)) as writer:
            for record in records:
                writer.write(record)
    if kind and rng.random() < 0.8:  # a size that the manifest does not state is refused before a byte is read
        rows = json.loads((out / "shards.json").read_text())
        rows["shards"][0]["bytes"] = shard.stat().st_size
        (out / "shards.json").write_text(json.dumps(rows))
    return out
