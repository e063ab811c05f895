"""The volumes in a folder of shards of k-space, as an index that can be split and streamed like one of HDF5 files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...errors import DataError, shown
from ..find import Paths
from ..index import Index, Volume, index_volumes
from ..shards import Layout, ShardIndex, check_decided, read_shards, shard_folder

COMPUTED = "kspace"  # what the manifest calls a target that is left to be computed


def _record_bytes(row: dict[str, Any]) -> tuple[int, int]:
    """The columns, the target where it is stored, and a mask where the slice has its own."""
    target = 0 if row["key"] == COMPUTED else 4 * row["image_height"] * row["image_width"]
    columns = 8 * row["height"] * row["width"]
    return columns + target, columns + target + row["width"]


LAYOUT = Layout("masked", _record_bytes, numbers=("image_height", "image_width"), texts=("kspace_key",))


@dataclass(frozen=True)
class KspaceShardVolume(Volume):
    """One volume in a shard: a `Volume` whose file is the shard.

    Attributes:
        number: what its records call it. shard: number of the shard that holds all of it.
    """

    number: int = 0
    shard: int = 0

    @property
    def record_bytes(self) -> int:
        height, width = self.target_shape or (0, 0)
        return 8 * self.height * self.width + 4 * height * width


def index_masked(
    path: Paths, target: str | None = None, combine: str | None = None, kspace_key: str | None = None, strict: bool = False,
    complex_axis: str | None = None,
) -> Index | ShardIndex:
    """The index of what lies under a path: shards where there is a `shards.json`, else HDF5 files (`index_volumes`).

    Args:
        target: key of the targets, or "kspace"; None: of files `reconstruction_esc`, of combined coils `reconstruction_rss`, of
            shards what they were converted with.
        combine, kspace_key, complex_axis: see `masked_pairs`; of files only.

    Raises:
        DataError, UsageError: see `index_volumes` and `index_kspace_shards`.
    """
    folder = shard_folder(path)
    if folder is None:
        stored = "reconstruction_rss" if combine else "reconstruction_esc"
        return index_volumes(path, target or stored, kspace_key, strict, complex_axis)
    check_decided(combine=combine, kspace_key=kspace_key, complex_axis=complex_axis)
    return index_kspace_shards(folder, target)


def index_kspace_shards(folder: Any, target: str | None = None) -> ShardIndex:
    """The volumes in a folder of shards of k-space, written by `write_kspace_shards` (`tfrecon convert --task masked`).

    Args:
        folder: holds `shards.json`.
        target: the dataset the targets must have been taken from, or "kspace"; None for any.

    Raises:
        DataError, UsageError: see `shards.read_shards`.
    """
    index = read_shards(folder, LAYOUT, _volume, target)
    if len({volume.target_key for volume in index.volumes}) > 1:
        raise DataError(f"{shown(folder)}: volumes whose targets were taken from several datasets; convert the data again, all "
                        "with one --target")
    return index


def _volume(number: int, row: dict[str, Any], patient: str, path: str, stamp: tuple[int, int]) -> KspaceShardVolume:
    image = row["image_height"], row["image_width"]
    key, shape = (None, None) if row["key"] == COMPUTED else (row["key"], image)
    attributes = {"patient_id": patient, "image_height": image[0], "image_width": image[1]}
    return KspaceShardVolume(path, row["name"], row["kspace_key"], row["slices"], None, row["height"], row["width"], key, shape,
                             attributes, notes=tuple(row["notes"]), stamp=stamp, number=number, shard=row["shard"])
