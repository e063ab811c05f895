"""Hostile files: mutations of sound ones, each in a process of its own, must be read or be refused by an error of ours.

Never a crash (one inside libhdf5 counts as ours), never code of a file run, never a look at another file, never more memory
than the cap of `fuzzing.py`, never without end.
"""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import fuzzing
import pytest
from cli_tools import ROOT
from fuzz_looks import LOOKS, TENSORFLOW, TORCH, TRAPS
from fuzz_mutations import mutated
from fuzz_seeds import written
from fuzz_structures import RANDOM

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and the canary are Linux's")
SHORT, LONG = 2, 70  # mutations of each kind in the default set, and with the slow one
# Sound files that need not be accepted, and what is said of them.
MISSING = {"kspace-links": "refused", "png-bomb": "cannot be read", "hdf5-random": ""}
FAMILIES = {"files": tuple(LOOKS), "torch": tuple(TORCH), "tensorflow": TENSORFLOW}
BRIEF = {**FAMILIES, "tensorflow": ("shards", "loaded-keras", "resumed")}  # building a network takes seconds
needs_torch = pytest.mark.skipif(not find_spec("torch"), reason=f"needs PyTorch: {', '.join(TORCH)}")
SOME = [pytest.param(names, id=family, marks={"torch": needs_torch, "tensorflow": pytest.mark.slow}.get(family, ()))
        for family, names in BRIEF.items()]
EVERY = [pytest.param(name, marks=needs_torch if family == "torch" else ()) for family in FAMILIES for name in FAMILIES[family]]


def outcomes(folder, first, last, *names):
    """What `fuzzing.py` says of every mutation, and that it left none out."""
    command = [sys.executable, fuzzing.__file__, str(folder), str(first), str(last), *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    told = [(line["name"], line["number"]) for line in lines]
    assert told == [(name, i) for name in names for i in range(first, last + 1)], done.stderr[-3000:]
    return lines


def check(lines):
    bad = [line for line in lines if line["outcome"] not in fuzzing.FINE]
    repeat = f"python {Path(fuzzing.__file__).relative_to(ROOT)} FOLDER"
    told = [f"{line['name']}, mutation {line['number']}: {line['outcome']}\n{line['text'][-1500:]}\n"
            f"repeat: {repeat} {line['number']} {line['number']} {line['name']}" for line in bad]
    assert not bad, f"{len(bad)} of {len(lines)} mutations\n" + "\n\n".join(told[:10])


@pytest.mark.parametrize("names", SOME)
def test_sound_files_and_some_mutations(tmp_path, names):
    lines = outcomes(tmp_path, 0, SHORT, *names)
    for line in lines:
        if line["number"] == 0 and line["outcome"] != "accepted":
            assert MISSING.get(line["name"], "?") in line["text"], line
    check(lines)


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_many_mutations(tmp_path, name):
    assert len(LOOKS) * (LONG - SHORT) >= 2000
    check(outcomes(tmp_path, SHORT + 1, LONG, name))


def by_hypothesis(folder, examples, *names):
    """What `fuzz_hypothesis.py` says of each kind."""
    pytest.importorskip("hypothesis")
    command = [sys.executable, str(Path(fuzzing.__file__).with_name("fuzz_hypothesis.py")), str(folder), str(examples), *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["name"] for line in lines] == list(names), done.stderr[-3000:]
    return lines


def test_hypothesis_notices_what_must_never_be(tmp_path):
    names = [*list(TRAPS)[:4], "kspace"]
    found = by_hypothesis(tmp_path, 5, *names)
    assert [line["outcome"] for line in found] == [*names[:4], "fine"] and found[-1]["examples"] >= 5
    assert not (ROOT / ".hypothesis").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_mutations_by_hypothesis(tmp_path, name):
    (found,) = by_hypothesis(tmp_path, 60, name)
    assert found["outcome"] == "fine", f"{found['outcome']}\n{found['text'][-1500:]}"


def test_what_must_never_be_is_noticed(tmp_path):
    assert {line["name"]: line["outcome"] for line in outcomes(tmp_path, 0, 0, *TRAPS)} == {name: name for name in TRAPS}


def test_a_mutation_is_known_by_its_number(tmp_path):
    (tmp_path / "canary").mkdir()
    files = []
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        files.append(written(tmp_path / folder, tmp_path / "canary"))
    assert files[0] == files[1] and {name.split("/")[0] for name in files[0]} == {*LOOKS, *TORCH} - {RANDOM}
    for name in (*LOOKS, *TORCH):
        assert mutated(name, 7, files[0]) == mutated(name, 7, files[1])
        assert len({str(mutated(name, i, files[0])) for i in range(5)}) > 3
