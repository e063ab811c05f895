"""Pairs per second of the data pipeline on volumes in fastMRI's size, next to its bounds and to a PyTorch loader.

    python benchmarks/pipeline.py [--rounds 5]

Makes three volumes (35 slices of 640x372 complex64, targets 320x320, contiguous, random numbers), and shards of them, in a
temporary folder. Every alternative is a process of its own; they measure in turns, each time with a new iterator: 40 slices of
warm-up (what a loader prefetches included), then 160 against the clock. Processor time is that of the process itself.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from workers import (
    MALLOC_ENVIRONMENT,
    PASSIVE_WAITING,
    TORCH_HINT,
    Worker,
    in_turns,
    installed,
    median,
    serve,
    surroundings,
    table,
)

SLICES, HEIGHT, WIDTH, CROP, BATCH = 35, 640, 372, 320, 8
WARM_UP, PER_ROUND = 40, 160
HEADER = f"""<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace><matrixSize><x>{HEIGHT}</x><y>{WIDTH}</y><z>1</z></matrixSize></encodedSpace>
<reconSpace><matrixSize><x>{CROP}</x><y>{CROP}</y><z>1</z></matrixSize></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{WIDTH - 1}</maximum><center>{WIDTH // 2}</center>
</kspace_encoding_step_1></encodingLimits></encoding></ismrmrdHeader>"""

READ, NUMPY, SCIPY = "raw h5py reads", "plain centred ifft2 of one core, numpy", "plain centred ifft2 of one core, scipy"
STORED, COMPUTED = "tfrecon, stored target", "tfrecon, both images computed"
MEMORY, DEFLATED = ", its transforms alone, from memory", "tfrecon, stored target, deflated files"
SHARDS = "tfrecon, stored target, shards"
TUNED, VARIABLES = ", malloc tuned by `prepare`", ", malloc tuned by environment variables"
TORCH = "PyTorch DataLoader with fastMRI's transform, {} workers"


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.worker:
        serve(lambda: (None, _measurement(arguments.worker, arguments.folder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        plain, deflated, shards = (Path(folder, name) for name in ("plain", "deflated", "shards"))
        write_volumes(plain)
        write_volumes(deflated, chunks=(1, HEIGHT, WIDTH), compression="gzip", compression_opts=4, shuffle=True)
        subprocess.run([sys.executable, "-m", "tfrecon", "convert", plain, shards, "--task", "masked"], check=True)
        folders = {DEFLATED: deflated, SHARDS + TUNED: shards}
        workers = [Worker(__file__, n, "--folder", str(folders.get(n, plain)), environment=_environment(n)) for n in _names()]
        in_turns(workers, arguments.rounds)
        peaks = [worker.stop() for worker in workers]
    print(f"Batch {BATCH}, {arguments.rounds} rounds. {surroundings('tensorflow', 'h5py', 'numpy', 'torch', 'fastmri')}\n")
    print(_report(workers, peaks))


def write_volumes(folder: Path, count: int = 3, **storage: Any) -> None:
    """Random volumes in fastMRI's layout, the header included that its loader wants."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        parts = rng.standard_normal((2, SLICES, HEIGHT, WIDTH), dtype=np.float32) * 1e-5
        with h5py.File(folder / f"file100000{number}.h5", "w") as file:
            file.create_dataset("kspace", data=parts[0] + 1j * parts[1], **storage)
            file["reconstruction_esc"] = np.abs(rng.standard_normal((SLICES, CROP, CROP), dtype=np.float32)) * 1e-5
            file["ismrmrd_header"] = HEADER
            file.attrs.update({"max": 5e-5, "norm": 1e-2, "patient_id": f"nobody {number}", "acquisition": "CORPD_FBK"})


def _names() -> list[str]:
    names = [READ, NUMPY, *([SCIPY] if installed("scipy") else [])]
    names += [target + how for target in (STORED, COMPUTED) for how in (MEMORY + TUNED, "", TUNED, VARIABLES)]
    names += [DEFLATED, SHARDS + TUNED]
    return names + ([TORCH.format(n) for n in (0, 2)] if installed("torch", "fastmri") else [])


def _environment(name: str) -> dict[str, str]:
    if name.startswith("PyTorch"):
        return PASSIVE_WAITING
    return MALLOC_ENVIRONMENT if name.endswith(VARIABLES) else {}


def _report(workers: list[Worker], peaks: list[float]) -> str:
    rates = {w.name: median(rate for rate, _ in w.samples) for w in workers}
    reference = max((rate for name, rate in rates.items() if name.startswith("PyTorch")), default=None)
    rows = []
    for worker, peak in zip(workers, peaks):
        rate = rates[worker.name]
        ratio = f"{rate / reference:.2f}" if reference else "-"
        cpu = "in its workers" if worker.name == TORCH.format(2) else f"{min(c for _, c in worker.samples):.2f}"
        rows.append([worker.name, f"{rate:.0f}", f"{max(r for r, _ in worker.samples):.0f}", ratio, cpu, f"{peak:.0f}"])
    if reference is None:
        rows.append([f"PyTorch DataLoader: {TORCH_HINT}", *"-----"])
    header = ["", "slices/s, median", "fastest", "median / faster PyTorch loader", "least CPU ms/slice", "peak MiB"]
    return table(header, rows)


def _measurement(name: str, folder: str) -> Callable[[], tuple[float, float]]:
    """The function that measures one round: slices per second, processor milliseconds per slice."""
    if name == READ:
        return _timed(lambda: _reads(folder), 1)
    if name in (NUMPY, SCIPY):
        return _timed(lambda: _transforms(name), 1)
    if MEMORY in name:
        return _timed(lambda: iter(_from_memory(name)), BATCH)
    loader = _torch_loader(folder, int(name.split()[-2])) if name.startswith("PyTorch") else _our_dataset(name, folder)
    return _timed(lambda: itertools.chain.from_iterable(itertools.repeat(loader)), BATCH)


def _timed(make: Callable[[], Iterator[Any]], size: int) -> Callable[[], tuple[float, float]]:
    def measure() -> tuple[float, float]:
        items = make()
        for _ in range(WARM_UP // size):
            next(items)
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(PER_ROUND // size):
            next(items)
        return PER_ROUND / (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu) / PER_ROUND

    return measure


def _reads(folder: str) -> Iterator[np.ndarray]:
    datasets = [h5py.File(path)["kspace"] for path in sorted(Path(folder).glob("*.h5"))]
    for dataset, i in itertools.cycle(itertools.product(datasets, range(SLICES))):
        yield dataset[i]


def _transforms(name: str) -> Iterator[np.ndarray]:
    if name == SCIPY:
        from scipy import fft
    else:
        from numpy import fft
    rng = np.random.default_rng(0)
    parts = rng.standard_normal((2, HEIGHT, WIDTH), dtype=np.float32)
    kspace = parts[0] + 1j * parts[1]
    while True:
        yield np.abs(fft.fftshift(fft.ifft2(fft.ifftshift(kspace), norm="ortho")))


def _our_dataset(name: str, folder: str) -> Any:
    warnings.simplefilter("ignore")  # random numbers do not look like k-space
    _tune(name)
    from tfrecon.data import create_paired_dataset

    target = "reconstruction_esc" if name.startswith(STORED) else "kspace"
    return create_paired_dataset(folder, target=target, batch_size=BATCH).repeat()


def _from_memory(name: str) -> Any:
    """Batches of the images alone, their k-space being in memory: what all cores can do of this arithmetic."""
    _tune(name)
    import tensorflow as tf

    from tfrecon.physics import columns_of, masked_and_full, masks

    rng, full = np.random.default_rng(0), name.startswith(COMPUTED)
    parts = rng.standard_normal((2, HEIGHT, WIDTH), dtype=np.float32)
    mask = masks.random_mask(WIDTH, 0.08, 4, seed=0)
    columns = tf.constant(columns_of(parts[0] + 1j * parts[1], None if full else mask))

    def images(_: Any) -> tuple:
        pair = masked_and_full(columns, mask, (CROP, CROP), full)
        return pair if full else pair[:1]

    numbers = tf.data.Dataset.range(1).repeat()
    return numbers.map(images, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)


def _tune(name: str) -> None:
    if name.endswith(TUNED):
        from tfrecon.cli.process import prepare

        prepare()


def _torch_loader(folder: str, workers: int) -> Any:
    from fastmri.data.mri_data import SliceDataset
    from fastmri.data.subsample import RandomMaskFunc
    from fastmri.data.transforms import UnetDataTransform
    from torch.utils.data import DataLoader

    transform = UnetDataTransform("singlecoil", RandomMaskFunc([0.08], [4]))
    dataset = SliceDataset(folder, "singlecoil", transform)
    return DataLoader(dataset, BATCH, num_workers=workers, persistent_workers=workers > 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
