"""The command line: `tfrecon COMMAND ...`. Commands are thin and import what they need when they run."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from .. import __version__, errors
from ..errors import ResourceError, TfreconError, did_you_mean, shown
from .config import expanded

_COMMANDS = ("demo", "doctor", "inspect", "check", "mask", "train", "reconstruct", "evaluate", "compare", "report", "reproduce",
             "export", "verify", "convert", "models", "weights")
_INTERRUPTED = 130


def entry() -> None:
    """`main` as a program. After an error it ends at once: where the data pipeline raised it, threads of TensorFlow may still
    wait for Python's lock, and the interpreter's own end was seen to wait for them forever.
    """
    from .memory import watched

    _open_closed_streams()
    try:
        with watched(sys.argv[1:]):
            code = main()
    except KeyboardInterrupt:  # before a command has begun
        code = _INTERRUPTED
    if code:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(code)
    sys.exit(0)


def _open_closed_streams() -> None:
    """Where a caller closed some, the next file opened would take their place, and what is said would go into it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 for as long as the process lives


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 ok, 1 a check failed, 2 usage, 3 data, 4 weights, 5 resources, 130
    interrupted. Errors of ours are one line; `--debug` shows where they came from.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    parser, commands = _parser()
    if words[:1] == ["train"]:
        try:
            words = expanded(words, commands["train"])
        except TfreconError as error:
            return _fail(argparse.Namespace(command="train", debug="--debug" in words), error, error.exit_code)
    arguments = parser.parse_args(words)
    arguments.argv = words
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    from .memory import advice
    from .process import prepare

    prepare()
    try:
        code = arguments.run(arguments) or 0
        _flush()
        return code
    except TfreconError as error:
        return _fail(arguments, error, error.exit_code)
    except KeyboardInterrupt as error:
        return _fail(arguments, error, _INTERRUPTED, "interrupted")
    except BrokenPipeError:
        _discard_stdout()  # nobody reads the rest; not an error
        return 0
    except MemoryError as error:
        return _fail(arguments, error, ResourceError.exit_code, f"out of memory; {advice(arguments)}")
    except OSError as error:
        return _fail(arguments, error, ResourceError.exit_code)
    except Exception as error:
        if _is_shortage(error):
            return _fail(arguments, error, ResourceError.exit_code, f"out of device memory; {advice(arguments)}")
        ours = _error_inside(error)
        if ours is not None:
            return _fail(arguments, error, ours.exit_code, str(ours))
        return _fail(arguments, error, 1, f"unexpected {type(error).__name__}: {error} (--debug shows more)")


def _fail(arguments: argparse.Namespace, error: BaseException, code: int, text: str | None = None) -> int:
    if arguments.debug:
        traceback.print_exc()
    message = " ".join((text or str(error)).split())
    if code == _INTERRUPTED and hasattr(arguments, "resume"):
        message += f"; go on with: {_resume_line(arguments.argv)}"
    print(f"tfrecon {arguments.command}: {shown(message)}", file=sys.stderr)
    return code


def _resume_line(argv: Sequence[str]) -> str:
    """The command line that goes on with an interrupted run, ready to be pasted into a shell."""
    words = [word for word in argv if word not in ("--overwrite", "--resume")]
    command = 2 if words[0] == "reproduce" else 1  # with the name of what is reproduced
    return shlex.join(["tfrecon", *words[:command], "--resume", *words[command:]])  # not last: all after "--" is a file


def _is_shortage(error: Exception) -> bool:
    """Whether TensorFlow ran out of memory, told without importing it. Its convolutions on processors have no better words."""
    name = type(error).__name__
    return name == "ResourceExhaustedError" or (name == "AbortedError" and "could not create a primitive" in str(error))


def _error_inside(error: Exception) -> TfreconError | None:
    """The error of ours that TensorFlow wrapped up as text when the data pipeline raised it, or said itself of a shard."""
    if type(error).__name__ == "DataLossError" and (place := re.search(r"\w+ record at \d+", str(error))):
        return errors.DataError(f"a shard is damaged ({place[0]}); copy the shards anew, or convert the data again")
    if place := re.search(r"(?:^|: )((?:(?!: ).)*\.tfrecord); ([^\n\[]*)", str(error)):  # what the system says of a shard
        reason = "vanished" if "No such file" in place[2] else f"cannot be read ({place[2].strip()})"
        return errors.DataError(f"{place[1]}: {reason}; bring the shard back and go on with --resume")
    # TensorFlow quotes the record; bytes that are no text then break Python's reading of the sentence itself.
    text = error.object.decode("utf-8", "replace") if isinstance(error, UnicodeDecodeError) else str(error)
    unread = re.search(r"parse example input|parse serialized Example|ParseSingleExample|Dataset was empty", text)
    if unread and type(error).__name__ in ("UnicodeDecodeError", "InvalidArgumentError"):
        return errors.DataError("a record of a shard cannot be read; copy the shards anew, or convert the data again")
    kinds = "|".join(name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, TfreconError))
    found = re.search(rf"\b({kinds}): (.*?)\s*\nTraceback \(most recent call last\)", str(error), re.DOTALL)
    found = found or re.search(r"assertion failed: \[(\w+): (.*?)\]", str(error))
    kind = getattr(errors, found[1], None) if found else None
    return kind(found[2]) if isinstance(kind, type) and issubclass(kind, TfreconError) else None


def _flush() -> None:
    """Here and not at exit, where nobody could say what went wrong."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError:  # a full disk behind a redirection
        _discard_stdout()
        raise


def _discard_stdout() -> None:
    """Python would complain at exit about what it still holds for a stdout that takes nothing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    """argparse's, naming the choice a mistyped word was near to; subcommands get it too."""

    def error(self, message: str) -> Any:
        wrong = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        near = did_you_mean(wrong[1], [word.strip("' ") for word in wrong[2].split(",")]) if wrong else ""
        super().error(message + near)


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser, and those of the commands by name."""
    parser = _Parser(
        prog="tfrecon",
        description="Train, apply and judge image-reconstruction networks. Start with `tfrecon demo`.",
        epilog="Exit codes: 0 ok, 1 a check failed, 2 usage, 3 data, 4 weights, 5 resources, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"tfrecon {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in _COMMANDS:
        module = import_module(f".{name}", __name__)
        # --conf for --config would be read too late: its file says what the other words are.
        command = commands.add_parser(name, help=module.HELP, description=module.__doc__, allow_abbrev=name != "train")
        module.configure(command)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        command.set_defaults(run=module.run)
    return parser, commands.choices
