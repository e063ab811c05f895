"""Mutated folders of TFRecord shards for `fuzzing.py`; imported in a child alone, as it imports TensorFlow."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfrecon.cli import _error_inside
from tfrecon.data import superres_pairs
from tfrecon.data.superres import index_magnitudes, index_shards, index_superres, verify_shards, write_shards


def written(files: dict[str, bytes], folder: Path) -> Path:
    """A folder of sound shards, two patients in two files."""
    for name in ("a.h5", "b.h5"):
        path = folder / "shard-images" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(files["magnitudes"])
    write_shards(index_magnitudes(folder / "shard-images"), folder / "shards-sound", overwrite=True)
    return folder / "shards-sound"


def read(folder: Path) -> None:
    """Every record, with the error that the command line would tell."""
    try:
        for _ in superres_pairs(index_superres(folder, strict=True), 1):
            pass
    except Exception as error:
        raise _error_inside(error) or error from error


def verified(folder: Path) -> None:
    verify_shards(index_shards(folder))


def write_mutated(good: Path, number: int, folder: Path, mutate: Callable) -> Path:
    """The folder with its mutation: of the manifest, of a shard's bytes, or of a record whose checksum is right again."""
    out, rng = folder / "shards", np.random.default_rng([3, number])
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(good, out)
    if number == 0:
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
