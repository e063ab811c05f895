"""Mutated files, each looked at in a process of its own: what `test_fuzz.py` runs, and what repeats one mutation.

    python tests/fuzzing.py FOLDER FIRST LAST [NAME ...]

makes the sound files of `fuzz_seeds.py` in FOLDER and looks at their mutations FIRST to LAST, one line of JSON each. A name
and a number always give the same bytes; number 0 is the sound file. This process imports what the looks need, TensorFlow
excepted, and forks a child for every mutation. A child is given MEMORY_CAP and SECONDS, and ends itself when it is about to
run code, or to touch a file outside of its folder. Memory beyond the cap is refused by the system wherever it is asked for,
in libhdf5 too; whoever asked must make an error of ours of that. What libhdf5 opens, Python cannot see: a canary watches.
"""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import sys
import sysconfig
import tempfile
import traceback
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

for threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):  # before NumPy: a process is forked best with a single thread
    os.environ[threads] = "1"

import fuzz_seeds  # noqa: E402
import numpy as np  # noqa: E402
from fuzz_looks import LOOKS, TRAPS  # noqa: E402

import tfrecon  # noqa: E402
from tfrecon.errors import TfreconError  # noqa: E402
from tfrecon.hdf5 import ALWAYS_ALLOWED_BYTES, MAX_CHUNK_BYTES  # noqa: E402

# Above what the process has: the largest chunk that `tfrecon.hdf5` lets pass, and an array that it lets anybody declare.
MEMORY_CAP = MAX_CHUNK_BYTES + ALWAYS_ALLOWED_BYTES
# Of the processor's time; a machine that does other things may take three times as long.
SECONDS = 20
FINE = ("accepted", "ours")
HEAD, TAIL = 4096, 1024  # where formats keep their structure: at the beginning, zip archives at the end
EXTREMES = (0, 1, 2**7 - 1, 2**8 - 1, 2**15 - 1, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
RUNS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.", "socket.", "pty.", "pickle.find_class",
        "code.__new__", "webbrowser.", "ctypes.", "shutil.unpack_archive")
CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.symlink", "os.link", "os.chmod", "os.chown", "os.truncate")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


# --- mutations ---------------------------------------------------------------------------------------------------------


def mutated(name: str, number: int, files: dict[str, bytes]) -> bytes:
    """The file `name` after its mutation `number`; 0 is the file itself."""
    content, rng = files[name], np.random.default_rng([zlib.crc32(name.encode()), number])
    if number == 0:
        return content
    if content.startswith(b"PK") and rng.random() < 0.5:
        return _with_mutated_member(content, files, rng)
    return _mutate(content, files, rng)


def _mutate(content: bytes, files: dict[str, bytes], rng: np.random.Generator) -> bytes:
    for _ in range(rng.integers(1, 4)):
        content = MUTATIONS[rng.integers(len(MUTATIONS))](bytearray(content), files, rng)
    return bytes(content)


def _with_mutated_member(content: bytes, files: dict[str, bytes], rng: np.random.Generator) -> bytes:
    """An archive whose checksums are right for what was changed inside: any other ends at the first of them."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {info: archive.read(info) for info in archive.infolist()}
    chosen = list(members)[rng.integers(len(members))]
    members[chosen] = _mutate(members[chosen], files, rng)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for info, member in members.items():
            archive.writestr(info, member, info.compress_type)
    return out.getvalue()


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


# --- a child ------------------------------------------------------------------------------------------------------------


def _child(name: str, numbers: range, files: dict[str, bytes], folder: Path, tell: Callable[..., None]) -> None:
    """Look at mutations one after the other, telling each before and after."""
    look = (TRAPS | LOOKS)[name]
    make = fuzz_seeds.SHARDS == name and _shards_maker(files, folder, look)
    _limit_memory()
    _watch(folder, tell, name)
    for number in numbers:
        tell(number, None)
        if make:
            path = make(number)
        else:
            (path := folder / name).write_bytes(mutated(name, number, files))
        signal.alarm(3 * SECONDS)
        used = resource.getrusage(resource.RUSAGE_SELF)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + SECONDS, resource.RLIM_INFINITY))
        tell(number, *_outcome(look, path))


def _shards_maker(files: dict[str, bytes], folder: Path, look: Callable) -> Callable[[int], Path]:
    """Imports TensorFlow, which so no other child has, and looks at sound shards once, for what it imports and keeps."""
    import fuzz_shards

    good = fuzz_shards.written(files, folder)
    for step in look:
        step(good)
    return lambda number: fuzz_shards.write_mutated(good, number, folder, lambda content, rng: _mutate(content, files, rng))


def _outcome(look: tuple[Callable[[Path], object], ...], path: Path) -> tuple[str, str]:
    """Every step is taken: what the first refuses, another may not."""
    found = "accepted", ""
    for step in look:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                step(path)
        except TfreconError as error:
            found = "ours", f"{type(error).__name__}: {error}"
        except BaseException as error:
            return f"not ours: {type(error).__name__}", traceback.format_exc()
    return found


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_CAP, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _watch(folder: Path, tell: Callable[..., None], name: str) -> None:
    """From here on, this process may read and write in `folder`, read Python's modules, and run nothing else."""
    os.chdir(folder)
    tempfile.tempdir = str(folder)
    modules = (*{os.path.realpath(p) for p in (sys.prefix, sys.base_prefix, *sysconfig.get_paths().values())},
               str(Path(tfrecon.__file__).parent), str(Path(__file__).parent), "/proc/meminfo", "/sys/fs/cgroup")
    compiles = name == fuzz_seeds.SHARDS  # AutoGraph turns Python into graphs by compiling it

    def inside(path: object, *roots: str) -> bool:
        path = os.path.realpath(os.fsdecode(path)) if isinstance(path, (str, bytes, os.PathLike)) else None
        return path is None or any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)

    def hook(event: str, arguments: tuple) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = bool(flags & WRITES) if flags else any(c in str(mode) for c in "wax+")
            bad = not inside(path, str(folder), *(() if writes else modules))
        elif event in CHANGES:
            bad = not all(inside(path, str(folder)) for path in arguments if isinstance(path, (str, bytes)))
        elif event == "exec":
            bad = not compiles and not _module(arguments[0], inside, modules)
        elif event == "compile":  # ast.literal_eval, by which NumPy reads a header, compiles and runs nothing
            bad = not compiles and arguments[1] not in ("<unknown>", b"<unknown>")
        else:
            bad = event.startswith(RUNS) and not (compiles and event.startswith(("ctypes.", "code.")))
        if bad:
            tell(-1, f"forbidden: {event}", repr(arguments)[:500] + "".join(traceback.format_stack(limit=12)))
            os._exit(3)

    os.makedirs(folder, exist_ok=True)
    sys.addaudithook(hook)


def _module(code: object, inside: Callable, modules: tuple[str, ...]) -> bool:
    """Whether code comes from a file of Python's own or a package's: an import."""
    place = getattr(code, "co_filename", "<string>")
    return place.startswith("<frozen ") or (not place.startswith("<") and inside(place, *modules))


# --- the server ---------------------------------------------------------------------------------------------------------


class Canary:
    """A folder that some seeds point to; `sang` says whether anything in it has been read."""

    def __init__(self, folder: Path):
        import fcntl

        self.sang = False
        signal.signal(signal.SIGIO, self._notice)
        self.handle = os.open(folder, os.O_RDONLY)
        fcntl.fcntl(self.handle, fcntl.F_NOTIFY, fcntl.DN_ACCESS | fcntl.DN_MULTISHOT)

    def _notice(self, *_: object) -> None:
        self.sang = True


def look_at_all(name: str, first: int, last: int, files: dict[str, bytes], folder: Path, canary: Canary) -> Iterator[dict]:
    """What became of each mutation; a child that dies takes one with it, and the next child goes on behind it."""
    at_once = last if name == fuzz_seeds.SHARDS else 1  # importing TensorFlow takes seconds
    number = first
    while number < last:
        canary.sang = False
        lines, end = _in_child(name, range(number, min(last, number + at_once)), files, folder)
        for line in lines:
            if line["outcome"] is None:
                number = line["number"]
        finished = [line for line in lines if line["outcome"] and line["number"] >= 0]
        if canary.sang:
            finished = [{**line, "outcome": "read outside"} for line in finished]
        yield from finished
        if not finished or finished[-1]["number"] < number:
            told = [line for line in lines if line["outcome"]][-1:]
            lost = {"name": name, "number": number, "outcome": end, "text": ""}
            yield {**lost, **{key: line[key] for line in told if line["number"] < 0 for key in ("outcome", "text")}}
        number += 1


def _in_child(name: str, numbers: range, files: dict[str, bytes], folder: Path) -> tuple[list[dict], str]:
    """(what it told, how it ended)."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        os.close(reading)

        def tell(number: int, outcome: str | None, text: str = "") -> None:
            line = {"name": name, "number": number, "outcome": outcome, "text": text}
            os.write(writing, json.dumps(line).encode() + b"\n")

        try:
            _child(name, numbers, files, folder, tell)
        except BaseException:
            tell(-1, "the child itself failed", traceback.format_exc())
            os._exit(4)
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        lines = [json.loads(line) for line in pipe]
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return lines, f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def main(folder: str, first: str, last: str, *names: str) -> None:
    top = Path(folder).resolve()
    for part in ("sound", "canary", "work"):
        (top / part).mkdir(parents=True, exist_ok=True)
    files = fuzz_seeds.written(top / "sound", top / "canary")
    for name in LOOKS:  # imports what the children need, once
        if name != fuzz_seeds.SHARDS:
            _outcome(LOOKS[name], top / "sound" / name)
    assert "tensorflow" not in sys.modules, "the server must not import TensorFlow: it would be forked with its threads"
    canary = Canary(top / "canary")
    for name in names or LOOKS:
        for line in look_at_all(name, int(first), int(last) + 1, {name: b"", **files}, top / "work", canary):
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
