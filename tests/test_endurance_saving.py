"""Killed by -9 while it saves and does nothing else: every state under its final name is whole, and the newest is kept."""

import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from cli_tools import ROOT

KILLS = 12
# One number fills every variable of a state, so that a mixture of two states shows.
SAVING = """
import sys
import tfrecon
from tfrecon.training.callbacks import Checkpoint
trainer = tfrecon.create("unet_gan", preset="small", width=24)
checkpoint = Checkpoint(sys.argv[1])
checkpoint.set_model(trainer)
number = checkpoint.restore(trainer)[0]
print(number, flush=True)
while True:
    number += 1
    for variable in trainer.every_variable:
        variable.assign(variable * 0 + number)
    checkpoint.save(number, 0)
    print(number, flush=True)
"""


SEEN: set[str] = set()  # what former processes left


def begun(folder):
    """Wait until some of a state is on the disk, under its temporary name."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for path in (folder / "checkpoint").glob(".*.part"):
            with suppress(OSError):
                if path.name not in SEEN and path.stat().st_size:
                    SEEN.add(path.name)
                    return


def killed_while_saving(folder, seconds):
    """The number of the last state that was said to be saved; without seconds it is killed within the writing of a file."""
    with subprocess.Popen([sys.executable, "-c", SAVING, folder], cwd=ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True) as process:
        former = [process.stdout.readline(), process.stdout.readline()]  # what it began with, and its first state
        assert former[1], "it ended before it was killed"
        if seconds is None:
            begun(Path(folder))
        else:
            time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        numbers = [*former, *process.stdout]
    assert process.returncode == -signal.SIGKILL
    return int(numbers[-1])


@pytest.mark.slow
def test_saving_killed_again_and_again_keeps_the_newest_state_whole(tmp_path):
    import tfrecon
    from tfrecon.training.callbacks import Checkpoint

    trainer, rng, said, cut = tfrecon.create("unet_gan", preset="small", width=24), np.random.default_rng(4), 0, set()
    for kill in range(KILLS):
        former, said = said, killed_while_saving(tmp_path, None if kill % 2 else float(rng.uniform(0.2, 2)))
        assert said >= former, "a state that was saved is lost"
        states = sorted((tmp_path / "checkpoint").glob("state-*.weights.h5"))
        assert 1 <= len(states) <= 2 and not list(tmp_path.rglob("*.lock"))
        for path in states:  # the older one too, where it was killed before removing it
            number = int(path.name[6:11])
            trainer.load_weights(str(path))
            for variable in trainer.every_variable:
                np.testing.assert_array_equal(variable.numpy(), np.full(variable.shape, number, variable.dtype), variable.path)
        newest, _ = Checkpoint(tmp_path).restore(trainer)
        assert newest == number >= said
        cut.update(path.name for path in (tmp_path / "checkpoint").glob(".*.part*"))
    assert len(cut) >= KILLS // 3, "too few kills fell into the writing"
