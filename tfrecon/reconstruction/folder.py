"""What every reconstruction of a folder shares: one result for each volume, nothing replaced or mixed by accident."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ..data import check_folder, is_complete
from ..data.output import DATASET
from ..errors import UsageError
from ..hdf5 import open_hdf5, read_attributes
from .batches import Batching, Outcome, Work, each_volume


def each_hdf5(
    volumes: Sequence[Any],
    out: Any,
    prepare: Callable[[Any, Path], Work],
    facts: dict[str, Any],
    overwrite: bool,
    resume: bool,
    strict: bool,
    batching: Batching,
    dataset: str = DATASET,
) -> Iterable[Outcome]:
    """`each_volume` into HDF5 files under the volumes' relative names, checked before anything is written.

    Args:
        volumes: with `path`, `name` and `slices`.
        out: folder for the results; never one that would replace inputs.
        prepare: (volume, path) reads a volume, whose result is to be written there; see `each_volume`.
        facts: attributes that all results of this run share.
        overwrite: replace existing results. resume: keep those that are complete. strict, batching: see `each_volume`.
        dataset: which makes a result complete.

    Raises:
        UsageError: results exist already, were made another way, or would replace inputs; `out` is a file.
        ResourceError: `out` cannot be written to.
    """
    targets = {volume.name: Path(out) / volume.name for volume in volumes}
    check_folder(Path(out))
    check_targets((volume.path for volume in volumes), targets.values())
    check_existing(targets.values(), overwrite or resume)

    def complete(volume: Any) -> Path | None:
        path = targets[volume.name]
        return path if resume and is_complete(path, volume.slices, dataset) else None

    for path in filter(None, map(complete, volumes)):
        check_same_run(path, facts)
    return each_volume(volumes, complete, lambda volume: prepare(volume, targets[volume.name]), strict, batching)


def check_targets(inputs: Iterable[Any], results: Iterable[Path]) -> None:
    """UsageError for results that would be written over inputs."""
    taken = {Path(path).resolve() for path in inputs}
    clash = next((path for path in results if path.resolve() in taken), None)
    if clash is not None:
        raise UsageError(f"The results would replace the inputs ({clash}). Name another output folder.")


def check_no_inputs_inside(inputs: Iterable[Any], out: Path) -> None:
    """UsageError for an output folder that holds inputs: results would be taken for data the next time."""
    inside = next((path for path in map(Path, inputs) if out.resolve() in path.resolve().parents), None)
    if inside is not None:
        raise UsageError(f"The output folder {out} holds the inputs ({inside.name}). Name another output folder: results "
                         "would be taken for data the next time.")


def check_existing(paths: Iterable[Path], may_exist: bool) -> None:
    """UsageError for results that stand there already, unless that was said to be right."""
    existing = [str(path) for path in paths if path.exists()]
    if existing and not may_exist:
        raise UsageError(f"{len(existing)} results exist already, first {existing[0]}. Use --overwrite to replace them or "
                         "--resume to keep the complete ones.")


def check_same_run(path: Path, expected: dict[str, Any]) -> None:
    """UsageError for a result of another model, other weights or another degradation among those of this run.

    Args:
        path: a result in HDF5, which says in its attributes how it was made.
        expected: attributes of this run's results.
    """
    with open_hdf5(path) as file:
        found = read_attributes(file)
    differ = [key for key, value in expected.items() if key in found and found[key] != value]
    if differ:
        raise UsageError(f"{path} was made with another {', '.join(differ)}, so --resume cannot go on with it. Use "
                         "--overwrite, or another folder.")
