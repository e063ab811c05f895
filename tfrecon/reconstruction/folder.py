"""What every reconstruction of a folder shares: one result for each volume, nothing replaced or mixed by accident."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data import check_folder, is_complete
from ..data.lost import too_many
from ..data.output import DATASET
from ..errors import DataError, UnreadableError, UsageError
from ..hdf5 import open_hdf5, read_attributes


@dataclass(frozen=True)
class Outcome:
    """What became of one volume: `note` says what was special, `error` why there is no file, `seconds` how long it took."""

    name: str
    path: Path | None = None
    note: str = ""
    error: str = ""
    seconds: float = 0.0


def each_volume(
    volumes: Sequence[Any],
    complete: Callable[[Any], Path | None],
    make: Callable[[Any], tuple[Path, str]],
    strict: bool,
) -> Iterable[Outcome]:
    """Make the result of every volume that has none yet; yields as it goes.

    Args:
        complete: the result that stands there already and is to be kept, or None.
        make: writes the result of a volume; returns its path and a note.
        strict: raise at the first volume that fails, instead of going on.

    Raises:
        DataError: more than 5 % of the inputs, and more than one, vanished or changed since they were found.
    """
    lost = 0
    for volume in volumes:
        path = complete(volume)
        if path is not None:
            yield Outcome(volume.name, path, "complete already")
            continue
        try:
            yield Outcome(volume.name, *make(volume))
        except DataError as error:
            lost += isinstance(error, UnreadableError)
            if strict:
                raise
            if isinstance(error, UnreadableError) and too_many(lost, len(volumes)):
                raise DataError(f"{error}. By now {lost} of {len(volumes)} inputs vanished or changed; bring them back, and go "
                                "on with --resume") from error
            yield Outcome(volume.name, error=str(error))


def each_hdf5(
    volumes: Sequence[Any],
    out: Any,
    make: Callable[[Any, Path], str],
    facts: dict[str, Any],
    overwrite: bool,
    resume: bool,
    strict: bool,
    dataset: str = DATASET,
) -> Iterable[Outcome]:
    """`each_volume` into HDF5 files under the volumes' relative names, checked before anything is written.

    Args:
        volumes: with `path`, `name` and `slices`.
        out: folder for the results; never one that would replace inputs.
        make: (volume, path) writes its result there and returns a note.
        facts: attributes that all results of this run share.
        overwrite: replace existing results. resume: keep those that are complete. strict: see `each_volume`.
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
    return each_volume(volumes, complete, lambda v: (targets[v.name], make(v, targets[v.name])), strict)


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
