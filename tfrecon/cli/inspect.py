"""Show what a file or folder of k-space holds, and what looks wrong with it."""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import shown
from .examination import examine
from .options import add_json, add_reading, print_json, say

HELP = "show what a file or folder holds"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", help="HDF5 file or folder")
    parser.add_argument("--deep", action="store_true", help="read every slice and look for NaN, infinity, empty slices")
    parser.add_argument("--picture", metavar="PNG", help="write k-space and image of the first volume's middle slice")
    add_reading(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..data import SliceReader, index_volumes, pseudonyms
    from ..errors import UsageError

    if arguments.picture and not arguments.picture.lower().endswith(".png"):
        raise UsageError(f"--picture must end in .png, received {arguments.picture}.")  # never an input, by mistake
    index = index_volumes(arguments.path, None, arguments.key, arguments.strict, arguments.complex_axis)
    patients = pseudonyms(index.volumes)
    with SliceReader(arguments.complex_axis, shift=arguments.shift) as reader:
        rows = [_describe(v, patients[v.name], reader, arguments.deep) for v in index.volumes]
        if arguments.picture:
            _picture(index.volumes[0], reader, arguments.picture)
    skipped = [{"name": s.name, "reason": s.reason} for s in index.skipped]
    if arguments.json:
        print_json({"volumes": rows, "skipped": skipped, "slices": index.slices, "patients": len(set(patients.values()))})
    else:
        _print(index, rows, len(set(patients.values())))
    return 3 if skipped else 0


def _describe(volume: Any, patient: str, reader: Any, deep: bool) -> dict[str, Any]:
    from ..data import memory_shortage

    findings = [*volume.notes, *filter(None, [memory_shortage(volume)])]
    for i in _chosen(volume, deep):
        findings += [f"slice {i}: {sentence}" for group in examine(volume, reader, i) for sentence in group]
    return {
        "name": volume.name,
        "patient": patient,
        "track": "singlecoil" if volume.coils is None else "multicoil",
        "split": "train or validation" if volume.image_keys else "test (no target)",
        "kspace": {"key": volume.kspace_key, "shape": [volume.slices, *([volume.coils] if volume.coils else []),
                                                       volume.height, volume.width]},
        "images": {key: list(shape) for key, shape in volume.image_keys.items()},
        "acquisition": volume.attributes.get("acquisition"),
        "mask": None if volume.mask is None else round(float(volume.mask.mean()), 4),
        "findings": findings,
    }


def _chosen(volume: Any, deep: bool) -> Any:
    from ..data import memory_shortage

    if memory_shortage(volume):
        return []
    return range(volume.slices) if deep else [volume.slices // 2]


def _print(index: Any, rows: list[dict[str, Any]], patients: int) -> None:
    print(f"{index.slices} slices in {len(rows)} volumes of {patients} patients ({len(index.skipped)} files skipped)")
    for row in rows:
        shape = "x".join(str(n) for n in row["kspace"]["shape"])
        mask = f", mask keeps {row['mask']:.1%}" if row["mask"] is not None else ""
        images = ", ".join(f"{k} {'x'.join(map(str, s))}" for k, s in row["images"].items()) or "no target"
        print(shown(f"{row['name']}: {row['track']}, {row['split']}, {row['kspace']['key']} {shape}, {images}, "
                    f"{row['acquisition'] or 'no acquisition'}, {row['patient']}{mask}"))
        for finding in row["findings"]:
            print(shown(f"  ! {finding}"))
    for item in index.skipped:
        print(shown(f"skipped {item.name}: {item.reason}"))


def _picture(volume: Any, reader: Any, path: str) -> None:
    from ..physics import rss, zero_filled
    from ..report import reconstruction_panel, save_figure

    kspace = reader.kspace(volume, volume.slices // 2)
    image = zero_filled(kspace)
    if volume.coils is not None:
        kspace, image = kspace[0], rss(image)
    save_figure(reconstruction_panel(kspace, volume.mask, image, None, None), path)
    say(f"picture: {path}")
