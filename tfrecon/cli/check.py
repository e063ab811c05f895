"""Read all of a file or folder, slice by slice, and say whether it can be used: k-space, images or CT.

With --hash the files are compared with a manifest too, in the form of sha256sum; --write-hash makes one. Exit code 1 where
anything cannot be used, is missing or has changed. Oddities that are no hindrance are told with a question mark.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import shown
from .examination import examine
from .options import add_json, add_reading, print_json, say

HELP = "read everything and say what cannot be used"
KINDS = ("kspace", "images", "ct")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", help="file or folder")
    parser.add_argument("--as", dest="kind", choices=KINDS, default="kspace",
                        help="what training or reconstruction is to take from it (kspace)")
    parser.add_argument("--window", default="soft_tissue", metavar="NAME", help="of CT in PNG (soft_tissue)")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--hash", metavar="MANIFEST", help="compare with these SHA-256 sums")
    group.add_argument("--write-hash", metavar="MANIFEST", help="write the sums of the files there; an existing file is kept")
    add_reading(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..errors import DataError

    known = _manifest(arguments.hash) if arguments.hash else {}  # a wrong one is told before everything is read
    _check_free(arguments.write_hash)
    rows: list[dict[str, Any]] = []
    try:
        index, slices = _READERS[arguments.kind](arguments)
    except DataError as error:
        if not Path(arguments.path).exists() or arguments.strict:
            raise
        index, slices = None, ()
        skipped = [{"name": Path(arguments.path).name, "reason": str(error)}]
    for volume, findings in slices:
        rows.append({"name": volume.name, "slices": volume.slices, "unusable": [], "odd": list(getattr(volume, "notes", ()))})
        for i, unusable, odd in findings:
            rows[-1]["unusable"] += [f"slice {i}: {sentence}" for sentence in unusable]
            rows[-1]["odd"] += [f"slice {i}: {sentence}" for sentence in odd]
        say(f"[{len(rows)}/{len(index.volumes)}] {volume.name}")
    if index is not None:
        skipped = [{"name": s.name, "reason": s.reason} for s in index.skipped]
    sums = _sums(arguments, known)
    result = {"files": rows, "skipped": skipped, "manifest": sums, "slices": sum(row["slices"] for row in rows)}
    if arguments.json:
        print_json(result)
    else:
        _print(result)
    return 1 if skipped or sums or any(row["unusable"] for row in rows) else 0


def _kspace(arguments: argparse.Namespace) -> tuple[Any, Iterator]:
    from ..data import SliceReader, index_volumes

    index = index_volumes(arguments.path, None, arguments.key, arguments.strict, arguments.complex_axis)
    return index, _each(index, SliceReader(arguments.complex_axis, shift=arguments.shift), examine)


def _images(arguments: argparse.Namespace) -> tuple[Any, Iterator]:
    from ..data import SliceReader, index_magnitudes

    index = index_magnitudes(arguments.path, arguments.key, arguments.strict)
    return index, _each(index, SliceReader(), lambda volume, reader, i: _attempt(reader.target, volume, i))


def _ct(arguments: argparse.Namespace) -> tuple[Any, Iterator]:
    from ..data.ct import ImageReader, index_images

    index = index_images(arguments.path, arguments.window, arguments.strict, arguments.key)
    return index, _each(index, ImageReader(), lambda volume, reader, i: _attempt(reader.slice, volume, i))


_READERS = {"kspace": _kspace, "images": _images, "ct": _ct}


def _each(index: Any, reader: Any, look: Any) -> Iterator[tuple[Any, Iterator]]:
    """Every volume with (slice, why it is unusable, what is odd) of its slices."""
    from ..data import memory_shortage

    with reader:
        for volume in index.volumes:
            shortage = memory_shortage(volume) if hasattr(volume, "kspace_key") else ""
            yield volume, ([(0, [shortage], [])] if shortage else
                           ((i, *look(volume, reader, i)) for i in range(volume.slices)))


def _attempt(read: Any, volume: Any, i: int) -> tuple[list[str], list[str]]:
    """(why the slice cannot be read, what is odd about it)."""
    from ..errors import DataError

    try:
        image = read(volume, i)
    except DataError as error:
        return [str(error)], []
    return [], [] if image.min() < image.max() else [f"constant, {float(image.flat[0]):.3g} everywhere"]


def _check_free(path: str | None) -> None:
    """UsageError where a manifest stands already."""
    from ..errors import UsageError

    if path and Path(path).exists():
        raise UsageError(f"{path} exists. Compare with it by --hash, or name another.")


def _sums(arguments: argparse.Namespace, known: dict[str, str]) -> list[str]:
    """How the files differ from the manifest; writes one where that is asked for."""
    from ..files import sha256_of

    manifest = arguments.hash or arguments.write_hash
    if not manifest:
        return []
    root = Path(arguments.path)
    single = not root.is_dir()
    files = [root] if single else sorted(p for p in root.rglob("*") if p.is_file())
    found = {p.relative_to(root.parent if single else root).as_posix(): p for p in files
             if p.resolve() != Path(manifest).resolve()}
    if arguments.write_hash:
        _write(manifest, {name: sha256_of(path) for name, path in found.items()})
        return []
    missing = [f"{name}: missing" for name in known if name not in found and not single]
    new = [f"{name}: not in the manifest" for name in found if name not in known]
    return missing + new + [f"{name}: has changed" for name, path in found.items()
                            if name in known and sha256_of(path) != known[name]]


def _manifest(path: str) -> dict[str, str]:
    """Sums by name, from lines as sha256sum writes them; byte-order marks and Windows' line ends do not matter."""
    import re

    from ..errors import DataError

    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{shown(path)}: cannot be read as a manifest ({error}).") from error
    found = {}
    for number, line in enumerate(lines, 1):
        entry = re.fullmatch(r"(\\?)([0-9a-fA-F]{64}) [ *](?:\./)?(.+)", line.rstrip("\r "))
        if entry:
            name = re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], entry[3]) if entry[1] else entry[3]
            found[name] = entry[2].lower()
        elif line.strip():
            raise DataError(f"{shown(path)}, line {number}: expected a SHA-256 sum, two spaces and a name, received "
                            f"{shown(line[:80])}.")
    if not found:
        raise DataError(f"{shown(path)}: an empty manifest; make one with --write-hash.")
    return found


def _write(path: str, sums: dict[str, str]) -> None:
    from ..files import write_whole

    write_whole(Path(path), "".join(_line(name, digest) for name, digest in sums.items()).encode())
    say(f"{len(sums)} sums: {path}")


def _line(name: str, digest: str) -> str:
    """As sha256sum writes it: odd names are marked by a backslash in front."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n")
    return f"{chr(92) if escaped != name else ''}{digest}  {escaped}\n"


def _print(result: dict[str, Any]) -> None:
    for row in result["files"]:
        for mark, sentences in (("!", row["unusable"]), ("?", row["odd"])):
            for sentence in sentences:
                print(shown(f"{mark} {row['name']}: {sentence}"))
    for item in result["skipped"]:
        print(shown(f"! {item['name']}: {item['reason']}"))
    for sentence in result["manifest"]:
        print(shown(f"! {sentence}"))
    bad = sum(bool(row["unusable"]) for row in result["files"]) + len(result["skipped"]) + len(result["manifest"])
    print(f"{result['slices']} slices in {len(result['files'])} volumes read; "
          + (f"{bad} findings that hinder" if bad else "all can be used"))
