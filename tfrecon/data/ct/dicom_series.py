"""DICOM files to volumes: the single frames of one series in one folder belong together, in the order of their position."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ...errors import shown
from ..find import Skipped
from ..index import file_stamp
from .dicom import DicomFile
from .dicom_pixels import read_frame
from .volumes import ImageVolume

Named = tuple[str, DicomFile]


def check_grey(file: DicomFile) -> None:
    """DataError where a colour image has colours; grey ones need no look at their pixels."""
    for frame in range(file.frames if file.samples > 1 else 0):
        read_frame(file, frame)


def group_series(files: Iterable[Named]) -> tuple[list[ImageVolume], list[Skipped]]:
    """Volumes from (name, header) pairs, and the copies that were left out."""
    groups: dict[tuple, list[Named]] = {}
    skipped, seen = [], {}
    for name, file in files:
        folder = os.path.dirname(file.path)
        first = seen.setdefault((folder, file.instance or name), name)
        if first != name:
            skipped.append(Skipped(name, f"the same image as {shown(first)} (SOPInstanceUID); one of them is enough"))
            continue
        alone = file.frames > 1 or not file.series
        kinds = (file.rows, file.columns, file.kind, file.written_range, file.inverted)
        groups.setdefault((folder, name if alone else file.series, kinds), []).append((name, file))
    return _named(groups), skipped


def _named(groups: dict[tuple, list[Named]]) -> list[ImageVolume]:
    """A group of one file has its name, the only larger group of a folder the folder's, others a number."""
    volumes, larger = [], {}
    for (folder, *_), members in groups.items():
        if len(members) == 1:
            volumes.append(_volume(members[0][0], members))
        else:
            larger.setdefault(folder, []).append(members)
    for folder, several in larger.items():
        name = os.path.dirname(several[0][0][0])
        if len(several) == 1:
            volumes.append(_volume(name or os.path.basename(os.path.abspath(folder)), several[0]))
            continue
        several.sort(key=lambda members: (members[0][1].series_number, members[0][0]))
        volumes += [_volume(os.path.join(name, f"series-{n:02d}"), members) for n, members in enumerate(several, 1)]
    return volumes


def _volume(name: str, members: list[Named]) -> ImageVolume:
    files = [file for _, file in _ordered(members)]
    first = files[0]
    source = tuple((file, frame) for file in files for frame in range(file.frames))
    sign = "signed " if first.signed else ""
    return ImageVolume(
        paths=tuple(file.path for file in files), name=name.replace(os.sep, "/"), format="dicom", kind=first.kind,
        slices=len(source), height=first.rows, width=first.columns,
        rescale=tuple(slope for file in files for slope in file.slopes),
        levels=f"{sign}{first.written_bits[1]} bits", grey_range=None if first.kind == "hu" else first.written_range,
        notes=tuple(dict.fromkeys(note for file in files for note in file.notes)), person=first.person,
        stamps=tuple(file_stamp(file.path) for file in files), source=source,
    )


def _ordered(members: list[Named]) -> list[Named]:
    """By position along the normal where all have one and they differ, else by instance number, else by name."""
    places = [file.position for _, file in members]
    if None not in places and len(set(places)) == len(places):
        return sorted(members, key=lambda member: member[1].position)
    return sorted(members, key=lambda member: (member[1].number, member[0]))
