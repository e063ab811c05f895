"""Mutated files, each looked at in a process of its own: what `test_fuzz.py` runs, and what repeats one mutation.

    python tests/fuzzing.py FOLDER FIRST LAST [NAME ...]

makes the sound files of `fuzz_seeds.py` in FOLDER and looks at their mutations FIRST to LAST (`fuzz_mutations.py`), one line of
JSON each. This process imports what the looks need and forks a child for every mutation; TensorFlow, which cannot be forked, is
imported by a child that looks at one mutation after the other, until one ends it. A child is given MEMORY_CAP and SECONDS, and
ends itself when it is about to run code, or to touch a file outside of its folder. Memory beyond the cap is refused by the
system wherever it is asked for, in libhdf5 too; whoever asked must make an error of ours of that. What libhdf5 opens, Python
cannot see: a canary watches.
"""

from __future__ import annotations

import contextlib
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
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

for threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):  # before NumPy: a process is forked best with a single thread
    os.environ[threads] = "1"
sys.dont_write_bytecode = True

import fuzz_mutations  # noqa: E402
import fuzz_seeds  # noqa: E402
from fuzz_checksums import checksummed  # noqa: E402
from fuzz_looks import LOOKS, SHARDS, TENSORFLOW, TORCH, TRAPS  # noqa: E402

import tfrecon  # noqa: E402
from tfrecon.errors import TfreconError  # noqa: E402
from tfrecon.hdf5 import ALWAYS_ALLOWED_BYTES, MAX_CHUNK_BYTES, tasting  # noqa: E402
from tfrecon.weights import records  # noqa: E402

# Above what the process has: the largest chunk that `tfrecon.hdf5` lets pass, and an array that it lets anybody declare.
MEMORY_CAP = MAX_CHUNK_BYTES + ALWAYS_ALLOWED_BYTES
# Of the processor's time; a machine that does other things may take three times as long.
SECONDS = 20
FINE = ("accepted", "ours")
Tasks = list[tuple[str, int]]  # (name, number of the mutation)
RUNS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.", "socket.", "pty.", "pickle.find_class",
        "code.__new__", "webbrowser.", "ctypes.", "shutil.unpack_archive")
CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.symlink", "os.link", "os.chmod", "os.chown", "os.truncate")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


# --- a child ------------------------------------------------------------------------------------------------------------


def _child(tasks: Tasks, files: dict[str, bytes], folder: Path, tell: Callable[..., None]) -> None:
    """Look at mutations one after the other, telling each before and after."""
    now, looks, write = "", TRAPS | LOOKS | TORCH, fuzz_mutations.write
    if tasks[0][0] in TENSORFLOW:  # imported here alone: it cannot be forked
        import fuzz_tensorflow

        looks, spoil = fuzz_tensorflow.ready({name for name, _ in tasks}, files, folder)

        def write(name: str, number: int, _: object, folder: Path) -> Path:
            return spoil(name, fuzz_mutations.numbered(name, number) if number else None, folder)

    sys.stdout = sys.stderr = io.StringIO()
    limit_memory()
    watch(folder, tell, lambda: now in SHARDS)
    for now, number in tasks:
        tell(now, number, None)
        path = write(now, number, files, folder)
        limit_time()
        tell(now, number, *outcome(looks[now], path))


def outcome(look: tuple[Callable[[Path], object], ...], path: Path) -> tuple[str, str]:
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


def limit_time() -> None:
    """For what comes next."""
    signal.alarm(3 * SECONDS)
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + SECONDS, resource.RLIM_INFINITY))


def limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_CAP, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def watch(folder: Path, tell: Callable[..., None], compiles: Callable[[], bool]) -> None:
    """From here on, this process may read and write in `folder`, read Python's modules, and run nothing else.

    Args:
        compiles: whether what is looked at now is turned into a graph by AutoGraph, which compiles Python.
    """
    os.chdir(folder)
    tempfile.tempdir = str(folder)
    modules = (*{os.path.realpath(p) for p in (sys.prefix, sys.base_prefix, *sysconfig.get_paths().values())},
               str(Path(tfrecon.__file__).parent), str(Path(__file__).parent), str(records.folder()), "/proc/meminfo",
               "/sys/fs/cgroup")

    def inside(path: object, *roots: str) -> bool:
        path = os.path.realpath(os.fsdecode(path)) if isinstance(path, (str, bytes, os.PathLike)) else None
        return path is None or any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)

    def hook(event: str, arguments: tuple) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = bool(flags & WRITES) if flags else any(c in str(mode) for c in "wax+")
            bad = not inside(path, str(folder), os.devnull, *(() if writes else modules))
        elif event in CHANGES:
            bad = not all(inside(path, str(folder)) for path in arguments if isinstance(path, (str, bytes)))
        elif event == "exec":
            bad = not compiles() and not _module(arguments[0], inside, modules)
        elif event == "compile":  # ast.literal_eval, by which NumPy reads a header, compiles and runs nothing
            bad = not compiles() and arguments[1] not in ("<unknown>", b"<unknown>")
        elif event == "marshal.loads":  # by which Python imports, and a Lambda's code comes out of a Keras file
            bad = not sys._getframe(1).f_code.co_filename.startswith("<frozen importlib")
        elif event == "subprocess.Popen":
            bad = arguments[1] != tasting.COMMAND
        else:
            bad = event.startswith(RUNS) and not (compiles() and event.startswith(("ctypes.", "code.")))
        if bad:
            tell("", -1, f"forbidden: {event}", repr(arguments)[:500] + "".join(traceback.format_stack(limit=12)))
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


def look_at_all(tasks: Tasks, files: dict[str, bytes], folder: Path, canary: Canary) -> Iterator[dict]:
    """What became of each mutation; a child that dies takes one with it, and the next child goes on behind it."""
    while tasks:
        canary.sang = False
        at_once = tasks if tasks[0][0] in TENSORFLOW else tasks[:1]  # importing it takes seconds
        lines, end = in_child(lambda tell, tasks=at_once: _child(tasks, files, folder, tell))
        begun = [line for line in lines if line["outcome"] is None]
        finished = [line for line in lines if line["outcome"] and line["number"] >= 0]
        if canary.sang:
            finished = [{**line, "outcome": "read outside"} for line in finished]
        yield from finished
        done = len(finished)
        if done < len(at_once):
            name, number = at_once[done]
            when = "" if len(begun) > done else "before it was looked at"
            lost = {"name": name, "number": number, "outcome": end, "text": when}
            yield {**lost, **{key: line[key] for line in lines[-1:] if line["number"] < 0 for key in ("outcome", "text")}}
            done += 1
        tasks = tasks[done:]


def in_child(look: Callable[[Callable[..., None]], None]) -> tuple[list[dict], str]:
    """(what `look` told in a process of its own, how that ended)."""
    reading, writing = os.pipe()
    taster = tasting.own_taster()
    taster.start()  # here, where one serves many children
    process = os.fork()
    if not process:
        os.close(reading)
        taster.owner, taster._process.poll = os.getpid(), lambda: None  # of its end its parent alone is told
        os.dup2(2, 1)  # what the libraries print must not stand between our lines

        def tell(name: str, number: int, outcome: str | None, text: str = "") -> None:
            line = {"name": name, "number": number, "outcome": outcome, "text": text}
            os.write(writing, json.dumps(line).encode() + b"\n")

        try:
            look(tell)
        except BaseException:
            tell("", -1, "the child itself failed", traceback.format_exc())
            os._exit(4)
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        lines = [json.loads(line) for line in pipe]
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return lines, f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def main(folder: str, first: str, last: str, *names: str) -> None:
    names = names or (*LOOKS, *TENSORFLOW)
    files, work, canary = prepared(folder, names)
    tasks = [(name, number) for name in names for number in range(int(first), int(last) + 1)]
    for line in look_at_all(tasks, files, work, canary):
        print(json.dumps(line), flush=True)


def prepared(folder: str, names: Iterable[str]) -> tuple[dict[str, bytes], Path, Canary]:
    """(sound files by name, the folder to look in, what watches); this process knows all that children need to."""
    top = Path(folder).resolve()
    for part in ("sound", "canary", "work"):
        (top / part).mkdir(parents=True, exist_ok=True)
    files = fuzz_seeds.written(top / "sound", top / "canary")
    canary = Canary(top / "canary")
    for name in names:
        _prepare(name, {**LOOKS, **TORCH}.get(name, ()), files, top / "work")
    return {**dict.fromkeys(TRAPS, b""), **files}, top / "work", canary


def _prepare(name: str, look: tuple[Callable[[Path], object], ...], files: dict[str, bytes], folder: Path) -> None:
    """Import what the children need, and find out what they would find out each, once."""
    if look:
        with contextlib.redirect_stdout(sys.stderr):
            outcome(look, fuzz_mutations.write(name, 0, files, folder))
    for content in fuzz_mutations.parts(name, files).values():
        checksummed(content)
    assert "tensorflow" not in sys.modules, "the server must not import TensorFlow: it would be forked with its threads"


if __name__ == "__main__":
    main(*sys.argv[1:])
