"""Slices per second of the super-resolution pairs next to the original's way of making them, from files in the page cache.

    python benchmarks/superres_pipeline.py [--rounds 5]

Makes ten volumes (36 slices of 320x320 float32, contiguous, random numbers) in a temporary folder. The original's way
is written plainly from its description: a Python generator reads a volume, repeats each slice to three channels, resizes it
eagerly, and hands both to `from_generator`, interleaved over the files, shuffled in a buffer of 1000 pairs. Every alternative
is a process of its own; they measure in turns, one pass over the data each time. Memory is what the process has more at its
peak than after importing TensorFlow.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from workers import Worker, in_turns, median, serve, surroundings, table

VOLUMES, SLICES, SIDE, BATCH = 10, 36, 320, 8
OURS, TUNED, PATCHES, ORIGINAL = ("tfrecon", "tfrecon, malloc tuned by `prepare`", "tfrecon, patches of 192",
                                  "the original's generator")


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.worker:
        serve(lambda: (None, _measurement(arguments.worker, arguments.folder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_volumes(folder)
        workers = [Worker(__file__, name, "--folder", folder) for name in (OURS, TUNED, PATCHES, ORIGINAL)]
        in_turns(workers, arguments.rounds)
        for worker in workers:
            worker.stop()
    print(f"Batch {BATCH}, {arguments.rounds} rounds. {surroundings('tensorflow', 'h5py', 'numpy')}\n")
    reference = median(rate for rate, _, _ in workers[-1].samples)
    rows = []
    for worker in workers:
        rates, cpu, memory = zip(*worker.samples)
        rows.append([worker.name, f"{median(rates):.0f}", f"{max(rates):.0f}", f"{median(rates) / reference:.1f}",
                     f"{min(cpu):.2f}", f"{max(memory):.0f}"])
    print(table(["", "slices/s, median", "fastest", "median / the original's", "least CPU ms/slice", "MiB of memory"], rows))


def write_volumes(folder: str) -> None:
    rng = np.random.default_rng(0)
    for number in range(VOLUMES):
        images = rng.random((SLICES, SIDE, SIDE), np.float32) * np.float32(8e-4)
        with h5py.File(Path(folder) / f"file{number}.h5", "w") as file:
            file["reconstruction_rss"] = images
            file.attrs.update(max=float(images.max()), patient_id=f"nobody {number}")


def _measurement(name: str, folder: str) -> Callable[[], tuple[float, float, float]]:
    """The function that measures one pass: slices per second, processor milliseconds per slice, MiB of memory."""
    import tensorflow as tf

    if name == TUNED:
        from tfrecon.cli.process import prepare

        prepare()
    tf.constant(0.0)
    before = _peak()
    dataset = _originals_dataset(folder) if name == ORIGINAL else _our_dataset(name, folder)

    def measure() -> tuple[float, float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        count = sum(int(large.shape[0]) for _, large in dataset)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return count / wall, 1e3 * cpu / count, _peak() - before

    measure()  # files into the page cache, threads and functions made
    return measure


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _our_dataset(name: str, folder: str) -> Any:
    from tfrecon.data import create_paired_dataset

    patch = 192 if name == PATCHES else None
    return create_paired_dataset(folder, "superres", BATCH, shuffle=True, size=SIDE, patch=patch)


def _originals_dataset(folder: str) -> Any:
    import tensorflow as tf

    def pairs(path: bytes) -> Any:
        with h5py.File(path.decode()) as file:
            volume = file["reconstruction_rss"][()]
        for image in volume:
            large = tf.constant(np.tile(image.astype(np.float32)[..., None], (1, 1, 3)))
            small = tf.image.resize(large, (SIDE // 4, SIDE // 4), "bicubic")
            yield np.array(small), np.array(large)

    signature = (tf.TensorSpec((SIDE // 4, SIDE // 4, 3), tf.float32), tf.TensorSpec((SIDE, SIDE, 3), tf.float32))
    files = tf.data.Dataset.list_files(f"{folder}/*.h5", shuffle=False)
    dataset = files.interleave(
        lambda path: tf.data.Dataset.from_generator(pairs, output_signature=signature, args=(path,)),
        cycle_length=tf.data.AUTOTUNE, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.shuffle(1000).batch(BATCH).prefetch(tf.data.AUTOTUNE)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
