"""The checksums of HDF5's newer headers: where they stand, and how they come right again after a change."""

from __future__ import annotations

import struct
from functools import cache

_WORD = 2**32 - 1


def with_checksum(content: bytearray, start: int, end: int) -> bytearray:
    """The file with the checksum of what stands from `start` to `end` right again."""
    return content[:end] + _lookup3(bytes(content[start:end])).to_bytes(4, "little") + content[end + 4 :]


@cache
def checksummed(content: bytes) -> tuple[tuple[int, int], ...]:
    """(start, end) of the parts of an HDF5 file that have their checksum right behind them."""
    found = []
    for signature in (b"\x89HDF", b"OHDR", b"OCHK", b"FRHP", b"BTHD", b"BTLF"):
        start = content.find(signature)
        while start >= 0:
            ends = range(start + 16, min(start + (512 if signature in (b"OCHK", b"BTLF") else 160), len(content) - 3))
            ends = [_header_end(content, start)] if signature == b"OHDR" else ends
            found += [(start, end) for end in ends if _lookup3(content[start:end]) == _number(content[end : end + 4])][:1]
            start = content.find(signature, start + 4)
    return tuple(found)


def without_times(content: bytes) -> bytes:
    """The file without the times at which its groups were made, so that it is the same tomorrow."""
    changed = bytearray(content)
    start = content.find(b"OHDR")
    while start >= 0:
        end = _header_end(content, start)
        if content[start + 5] & 0x20 and _lookup3(content[start:end]) == _number(content[end : end + 4]):
            changed[start + 6 : start + 22] = bytes(16)
            changed = with_checksum(changed, start, end)
        start = content.find(b"OHDR", start + 4)
    return bytes(changed)


def _header_end(content: bytes, start: int) -> int:
    """Where an object's header ends, by its flags and the size it states."""
    flags = int(content[start + 5]) if start + 5 < len(content) else 0
    place, width = start + 6 + 16 * bool(flags & 0x20) + 4 * bool(flags & 0x10), 1 << (flags & 3)
    return min(place + width + _number(content[place : place + width]), len(content))


def _number(content: bytes) -> int:
    return int.from_bytes(content, "little")


def _lookup3(block: bytes) -> int:
    """Bob Jenkins' hash, by which HDF5 knows its newer headers."""
    state = [0xDEADBEEF + len(block) & _WORD] * 3
    numbers = struct.unpack(f"<{-(-len(block) // 12) * 3}I", block + bytes(-len(block) % 12))
    for i in range(0, len(numbers), 3):
        state = [one + other & _WORD for one, other in zip(state, numbers[i : i + 3])]
        for step, turn in enumerate((4, 6, 8, 16, 19, 4) if i + 3 < len(numbers) else ()):
            to, by, beside = step % 3, (step + 2) % 3, (step + 1) % 3
            state[to] = state[to] - state[by] & _WORD ^ _turned(state[by], turn)
            state[by] = state[by] + state[beside] & _WORD
    for step, turn in enumerate((14, 11, 25, 16, 4, 14, 24)):
        to, by = (step + 2) % 3, (step + 1) % 3
        state[to] = (state[to] ^ state[by]) - _turned(state[by], turn) & _WORD
    return state[2]


def _turned(number: int, by: int) -> int:
    return (number << by | number >> 32 - by) & _WORD
