"""The two forms of a comparison, small on phantoms and full on data at hand, and the split of their people."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..options import count, say
from ..runs import FREE_BUT_EPOCHS, RECORD, SETTINGS, WEIGHTS, begin_run, check_out, check_same_data, check_settings
from ..tasks import Part, Task

NETWORKS = "networks"  # below --out: a folder for each network, as `train` leaves it
_DATA = "data"
# Of the people: to train on, to choose the epoch by, to judge by. 0.3 is what seed 000 judged by.
_SHARES = (0.55, 0.15, 0.3)


@dataclass(frozen=True)
class Parts:
    """People to train on, to choose the epoch by, and to judge by; nobody is in two of them."""

    train: Part
    validation: Part
    test: Part
    judged: str  # file or folder the judged volumes lie under

    @property
    def names(self) -> set[str]:
        """Of the volumes to judge by."""
        return {volume.name for volume in self.test.volumes}

    def sentence(self) -> str:
        """Who is where, for a table."""
        told = [f"{_told(self.train)} to train on", f"{_told(self.validation)} to choose the epoch by",
                f"{_told(self.test)} judged"]
        return f"by patient, nobody on two sides: {'; '.join(told)}"

    def facts(self) -> dict[str, Any]:
        from ..train import data_facts

        return data_facts(train=self.train, validation=self.validation, test=self.test)


def _told(part: Part) -> str:
    people = len({v.patient for v in part.volumes})
    return f"{people} {'person' if people == 1 else 'people'} ({len(part.volumes)} volumes, {part.slices} slices)"


def add_form(parser: argparse.ArgumentParser, size: int = 96, smallest: int = 64, volumes: int = 12, slices: int = 6,
             test: bool = True) -> None:
    """--data, --test, --out, and what phantoms are made where there are no data."""
    parser.add_argument("--data", metavar="DIR", help="data for the full form (none: phantoms, the small form)")
    if test:
        parser.add_argument("--test", metavar="DIR", help="data of other people to judge by (a part of --data, by patient)")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for table.md, figures, run.json and networks/")
    add_phantoms(parser, size, smallest, volumes, slices)


def add_phantoms(parser: argparse.ArgumentParser, size: int, smallest: int, volumes: int, slices: int) -> None:
    def at_least(least: int) -> Any:
        def value(text: str) -> int:
            if count(text) < least:
                raise argparse.ArgumentTypeError(f"must be at least {least}, received {text}")
            return count(text)

        return value

    group = parser.add_argument_group("phantoms (small form)")
    group.add_argument("--volumes", type=at_least(4), default=volumes, metavar="N",
                       help=f"at least 4; two are of one person ({volumes})")
    group.add_argument("--slices", type=count, default=slices, metavar="N", help=f"per volume ({slices})")
    group.add_argument("--size", type=at_least(smallest), default=size, metavar="N",
                       help=f"side of the images, at least {smallest} ({size})")


def perceptual(arguments: argparse.Namespace) -> bool:
    """Whether perceptual losses are taken: always but under preset `small`, which does without VGG unless it is given."""
    return arguments.preset != "small" or arguments.vgg_weights is not None


def settle(arguments: argparse.Namespace, small: Mapping[str, Any], full: Mapping[str, Any]) -> None:
    """Fill in what the form decides, where the command line does not."""
    for name, value in (full if arguments.data else small).items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)


def begin(arguments: argparse.Namespace, task: Task, plan: Callable[[Any], Any]) -> Any:
    """Check the folder, find the data or make phantoms, note the settings; returns what `plan` makes of the data's index.

    Data at hand are planned with before anything is written: a mistake leaves no folder that stands in the way.
    """
    out = check_place(arguments)
    if not arguments.data:
        note(out, arguments)
        return plan(task.index(_phantoms(arguments, task, out)))
    from ..train import data_facts

    index = task.index(arguments.data)
    planned, digest = plan(index), data_facts(data=Part(index))["digest"]
    if arguments.resume:
        check_same_data(out, digest)
    note(out, arguments, digest)
    return planned


def check_place(arguments: argparse.Namespace) -> Path:
    """The folder for the results, once it is sure that they may stand there."""
    from ...errors import UsageError

    out = Path(arguments.out)
    for path in (arguments.data, getattr(arguments, "test", None), getattr(arguments, "train", None)):
        check_out(out, path)
    check_settings(out, arguments, FREE_BUT_EPOCHS)
    taken = [name for name in (NETWORKS, _DATA) if (out / name).exists()]
    if taken and not (out / SETTINGS).exists():
        raise UsageError(f"{out} holds {' and '.join(taken)} but no run of ours ({SETTINGS}). Name another folder.")
    return out


def note(out: Path, arguments: argparse.Namespace, digest: str = "") -> None:
    """Remove what a former comparison left, unless it is to be resumed, and note the settings of this one."""
    if not arguments.resume:
        for name in (RECORD, WEIGHTS, "checkpoint/state-*.weights.h5"):  # what a later --resume would take for its own
            for old in out.glob(f"{NETWORKS}/**/{name}"):
                old.unlink()
    begin_run(out, arguments, FREE_BUT_EPOCHS, digest)


def parts_of(arguments: argparse.Namespace, task: Task, index: Any) -> Parts:
    """The people of the data, split."""
    from ...data import check_no_shared_patient, split

    path = getattr(arguments, "test", None)
    if path is None:
        return Parts(*map(Part, split(index, _SHARES, arguments.seed)), data_path(arguments))
    test = task.index(path)
    check_no_shared_patient(index, test)
    rest = sum(_SHARES[:2])
    return Parts(*map(Part, split(index, [share / rest for share in _SHARES[:2]], arguments.seed)), Part(test), path)


def data_path(arguments: argparse.Namespace) -> str:
    """Where the data lie, the phantoms if there are no others."""
    return arguments.data or str(Path(arguments.out) / _DATA)


def _phantoms(arguments: argparse.Namespace, task: Task, out: Path) -> str:
    """Those of the demo; their folder."""
    from ...data import write_demo_ct, write_demo_volumes
    from ..demo import keep_only

    folder, make = out / _DATA, write_demo_ct if task.record.task == "blur" else write_demo_volumes
    keep_only(make(folder, arguments.volumes, arguments.slices, arguments.size, arguments.seed), folder)
    say(f"made {arguments.volumes} phantom volumes in {folder}")
    return str(folder)
