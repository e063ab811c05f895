"""Slices per second of `tfrecon reconstruct` on a folder of small volumes, with and without threads that read ahead.

    python benchmarks/folder.py [--volumes 24] [--slices 5] [--size 640x372] [--rounds 3]

Volumes of random k-space, deflated, and an untrained U-Net GAN (width 16). "each volume by itself" is what batches that end with
a file would take: the same call, one volume at a time, the network built once. All in one process, in turns.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import h5py
import numpy as np
from workers import surroundings, table

from tfrecon import create
from tfrecon.data import Index, SliceReader, index_volumes
from tfrecon.reconstruction import Settings, reconstruct_folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volumes", type=int, default=24)
    parser.add_argument("--slices", type=int, default=5)
    parser.add_argument("--size", default="640x372")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    size = tuple(map(int, arguments.size.split("x")))
    model = create("unet_gan", width=16).predict_on_batch
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), arguments.volumes, arguments.slices, size)
        index = index_volumes(folder)
        ways = {"each volume by itself": None, "across borders, --workers 0": 0, "across borders, --workers 1": 1,
                "across borders, --workers 2": 2}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(arguments.rounds + 1):  # the first one traces
            for name, workers in ways.items():
                took = _seconds(index, model, workers)
                if number:
                    seconds[name].append(took)
            print(f"round {number} of {arguments.rounds}", file=sys.stderr)
    print(f"{arguments.volumes} volumes of {arguments.slices} slices {arguments.size}, batches of 4. "
          f"{surroundings('tensorflow', 'keras')}\n")
    first = median(seconds["each volume by itself"])
    print(table(["way", "slices/s", "time / by itself"],
                [[name, f"{arguments.volumes * arguments.slices / median(taken):.1f}", f"{median(taken) / first:.2f}"]
                 for name, taken in seconds.items()]))


def _write(folder: Path, volumes: int, slices: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for k in range(volumes):
        with h5py.File(folder / f"{k:03d}.h5", "w") as file:
            parts = rng.standard_normal((slices, *size, 2), np.float32).view(np.complex64)[..., 0]
            file.create_dataset("kspace", data=parts, chunks=(1, *size), compression=1)


def _seconds(index: Index, model: object, workers: int | None) -> float:
    parts = [Index((volume,), ()) for volume in index.volumes] if workers is None else [index]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as out, SliceReader() as reader:
        for part in parts:
            for outcome in reconstruct_folder(part, out, model, Settings(), reader, workers=workers or 0):
                assert not outcome.error, outcome.error
    return time.monotonic() - began


if __name__ == "__main__":
    main()
