"""Mutations of sound files: a name and a number always give the same bytes; number 0 is the sound file.

Bytes are changed blindly. What has checksums or is packed (zip, gzip, PNG, HDF5's newer headers) is also changed inside, with
checksums that are right again, for any other ends at the first of them; of JSON, values are replaced by odd ones; of a folder,
one file is changed or missing.
"""

from __future__ import annotations

import gzip
import io
import json
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fuzz_structures
import h5py
import numpy as np
from fuzz_checksums import checksummed, with_checksum

Files = Mapping[str, bytes]
HEAD, TAIL = 4096, 1024  # where formats keep their structure: at the beginning, zip archives at the end
EXTREMES = (0, 1, 2**7 - 1, 2**8 - 1, 2**15 - 1, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
# What JSON can say, Python's own reader takes, and hardly a program expects; as it stands in the file.
ODD = (b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b"1.5", b"-0.0", b"true", b"null", b'""', b"[]", b"{}", b"[[]]", b"[null]",
       b"9" * 400, b"9" * 5000, b"9223372036854775808", rb'"\ud800"', rb'"\u0000"', rb'"\u001b[31m\n"', b'"\xff\xfe"',
       b'"../../x"', b'"' + b"x" * 100_000 + b'"', b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"0" + b"}" * 100_000,
       b'{"a": 1, "a": 2}', b'["a", 1, {"b": null}]')
_ODD = "an odd value stands here"
CARD = "tfrecon_card"


def parts(name: str, files: Files) -> dict[str, bytes]:
    """The files of a kind by their names within its folder; one without a name where the kind is a single file."""
    if name in files:
        return {"": files[name]}
    return {path.removeprefix(f"{name}/"): content for path, content in files.items() if path.startswith(f"{name}/")}


def mutated(name: str, number: int, files: Files) -> dict[str, bytes]:
    """The `parts` of a kind after its mutation `number`; 0 is the sound ones."""
    if number == 0 and (sound := parts(name, files)):  # of random structure there is none
        return sound
    return mutation(name, files, numbered(name, number))


def numbered(name: str, number: int) -> np.random.Generator:
    """What gives the mutation of that number."""
    return np.random.default_rng([zlib.crc32(name.encode()), number])


def mutation(name: str, files: Files, rng: np.random.Generator) -> dict[str, bytes]:
    """The `parts` of a kind after the mutation that `rng` gives."""
    found = parts(name, files)
    if name == fuzz_structures.RANDOM:
        content = fuzz_structures.random_file(rng)
        return {"": _blindly(content, files, rng) if rng.random() < 0.3 else content}
    chosen = sorted(found)[rng.integers(len(found))]
    if len(found) > 1 and rng.random() < 0.05:
        del found[chosen]
    else:
        found[chosen] = mutate(found[chosen], files, rng)
    return found


def write(name: str, number: int, files: Files, folder: Path) -> Path:
    """Write a mutation into the folder, in the place of the one before; its path, a folder's where the kind is one."""
    return write_parts(name, mutated(name, number, files), folder)


def write_parts(name: str, found: Mapping[str, bytes], folder: Path) -> Path:
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for part, content in found.items():
        place = path / part if part else path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return path


def mutate(content: bytes, files: Files, rng: np.random.Generator) -> bytes:
    inside = next((change for begins, change in _INSIDE if content.startswith(begins)), None)
    if inside and rng.random() < 0.6:
        return inside(content, files, rng)
    return _blindly(content, files, rng)


def _blindly(content: bytes, files: Files, rng: np.random.Generator) -> bytes:
    for _ in range(rng.integers(1, 4)):
        content = MUTATIONS[rng.integers(len(MUTATIONS))](bytearray(content), files, rng)
    return bytes(content)


# --- what has checksums, or is packed -----------------------------------------------------------------------------------


def _zip(content, files, rng):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {info: archive.read(info) for info in archive.infolist()}
    chosen = list(members)[rng.integers(len(members))]
    members[chosen] = mutate(members[chosen], files, rng)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for info, member in members.items():
            archive.writestr(info, member, info.compress_type)
    return out.getvalue()


def _gzip(content, files, rng):
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
        unpacked = stream.read(2**20)  # it may be a bomb
    return gzip.compress(mutate(unpacked, files, rng), mtime=0)


def _png(content, files, rng):
    """One chunk changed, or what is deflated in it."""
    chunks, at = [], 8
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    chosen = rng.integers(len(chunks))
    kind, data = chunks[chosen]
    packed = kind == b"IDAT" and data[:1] == b"\x78" and rng.random() < 0.7  # the first one begins what is deflated
    if packed:
        data = zlib.compress(_blindly(zlib.decompressobj().decompress(data, 2**20), files, rng))
    else:
        data = _blindly(data, files, rng)
    chunks[chosen] = kind, data
    if rng.random() < 0.2:
        chunks.insert(chosen, chunks[rng.integers(len(chunks))])
    return content[:8] + b"".join(len(d).to_bytes(4, "big") + k + d + zlib.crc32(k + d).to_bytes(4, "big") for k, d in chunks)


def _json(content, files, rng):
    """One value, or none, in the place of another; JSON of Python alone (NaN) and text that is none are among them."""
    try:
        tree = json.loads(content)
    except ValueError:  # already spoiled
        return _blindly(content, files, rng)
    place = [tree]
    places = [(place, 0), *_places(tree)]
    owner, key = places[rng.integers(len(places))]
    if rng.random() < 0.2 and owner is not place:
        del owner[key]
    elif rng.random() < 0.15:
        other, there = places[rng.integers(len(places))]
        owner[key] = json.loads(json.dumps(other[there]))
    else:
        owner[key] = _ODD
    return json.dumps(place[0]).encode().replace(json.dumps(_ODD).encode(), ODD[rng.integers(len(ODD))])


def _places(tree: Any) -> list[tuple[Any, Any]]:
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    return [place for key in keys for place in [(tree, key), *_places(tree[key])]]


def _hdf5(content, files, rng):
    """The newer headers, each with its own checksum; or the JSON that our weights have with them."""
    blocks = checksummed(content)
    if CARD.encode() in content and (not blocks or rng.random() < 0.5):
        with h5py.File(out := io.BytesIO(content), "r+") as file:
            text = _json(str(file.attrs[CARD]).encode(), files, rng)
            file.attrs[CARD] = text[:60_000].decode("utf-8", "ignore")
        return out.getvalue()
    if not blocks:
        return _blindly(content, files, rng)
    changed = bytearray(content)
    for _ in range(rng.integers(1, 3)):
        start, end = blocks[rng.integers(len(blocks))]
        block = bytearray(changed[start + 4 : end])
        for change in (_flip_few, _extreme_number)[: rng.integers(1, 3)]:
            block = change(block, files, rng)
        changed[start + 4 : end] = block
        changed = with_checksum(changed, start, end)
    return bytes(changed)


# --- bytes, blindly -----------------------------------------------------------------------------------------------------


def _place(content: bytes, rng: np.random.Generator, room: int = 1) -> int:
    """A place with `room` bytes behind it where they exist: in the beginning, at the end or anywhere."""
    last = max(1, len(content) - room + 1)
    low, high = ((0, min(HEAD, last)), (max(0, last - TAIL), last), (0, last))[rng.choice(3, p=(0.5, 0.15, 0.35))]
    return int(rng.integers(low, high))


def _flip_few(content, files, rng):
    for _ in range(rng.integers(1, 9)):
        if content:
            content[_place(content, rng)] ^= 1 << int(rng.integers(8))
    return content


def _flip_many(content, files, rng):
    start = _place(content, rng)
    window = len(content[start : start + 2048])
    for at in rng.integers(0, max(1, window), rng.integers(32, 257)):
        if window:
            content[start + at] ^= 1 << int(rng.integers(8))
    return content


def _fill(content, files, rng):
    start = _place(content, rng)
    size = len(content[start : start + int(rng.integers(1, 65))])
    content[start : start + size] = bytes([rng.choice((0, 255))]) * size
    return content


def _extreme_number(content, files, rng):
    for _ in range(rng.integers(1, 4)):
        width = 2 ** int(rng.integers(4))
        start = _place(content, rng, width) // width * width
        value = EXTREMES[rng.integers(len(EXTREMES))] % 2 ** (8 * width)
        if start + width <= len(content):
            content[start : start + width] = value.to_bytes(width, ("little", "big")[rng.random() < 0.1])
    return content


def _truncate(content, files, rng):
    return content[: _place(content, rng)]


def _insert(content, files, rng):
    start, size = _place(content, rng), int(rng.choice((1, 2, 4, 8, 16, 64)))
    return content[:start] + rng.bytes(size) + content[start:]


def _duplicate(content, files, rng):
    """A block once more, in the place of another or between."""
    size = int(rng.choice((8, 16, 64, 256, 1024)))
    source, target = _place(content, rng, size) // 8 * 8, _place(content, rng, size) // 8 * 8
    block = content[source : source + size]
    return content[:target] + block + content[target + (len(block) if rng.random() < 0.7 else 0) :]


def _swap(content, files, rng):
    size = int(rng.choice((4, 8, 16, 64, 256)))
    one, other = sorted(_place(content, rng, size) // size * size for _ in range(2))
    if one + size <= other and other + size <= len(content):
        content[one : one + size], content[other : other + size] = content[other : other + size], content[one : one + size]
    return content


def _splice(content, files, rng):
    """Goes on as another file does, or has a piece of it in the middle."""
    other, start = files[sorted(files)[rng.integers(len(files))]], _place(content, rng)
    end = len(other) if rng.random() < 0.5 else start + int(rng.integers(8, 1024))
    return content[:start] + other[start:end] + content[start + len(other[start:end]) :]


MUTATIONS = (_flip_few, _flip_few, _flip_many, _fill, _extreme_number, _extreme_number, _extreme_number, _truncate, _insert,
             _duplicate, _swap, _splice)

_INSIDE = ((b"PK", _zip), (b"\x1f\x8b", _gzip), (b"\x89PNG", _png), (b"{", _json), (b"[", _json), (b"\x89HDF", _hdf5))
