"""Volumes through one model: across their borders, read ahead, each failure its own, nothing kept of what is done."""

import subprocess
import sys
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from cli_tools import ROOT, arrays, call, disc, volume

from tfrecon.errors import DataError, ResourceError
from tfrecon.reconstruction.batches import Batching, Work, each_volume


@dataclass
class Volume:
    name: str
    slices: int
    side: int = 4

    @property
    def height(self):
        return self.side

    width = height


class Folder:
    """Volumes of images that know where they come from, and a model whose answer depends on the place in the batch."""

    def __init__(self, *slices, side=None, batch_size=4, workers=0):
        self.volumes = [Volume(f"v{k}", n, (side or {}).get(k, 4)) for k, n in enumerate(slices)]
        self.batching = Batching(self.model, batch_size, lambda volume: volume.side, workers)
        self.written, self.batches, self.threads, self.complete = {}, [], set(), set()
        self.bad, self.bad_result = set(), set()

    def model(self, images):
        self.batches.append(images.shape)
        return images + 0.1 * np.arange(len(images))[:, None, None] + len(images)

    def prepare(self, volume):
        self.threads.add(threading.current_thread())
        if volume.name in self.bad:
            raise DataError(f"{volume.name}: bad")
        images = [np.full((volume.side, volume.side), 100.0 * int(volume.name[1:]) + i) for i in range(volume.slices)]

        def finish(outputs):
            if volume.name in self.bad_result:
                raise DataError("bad result")
            self.written[volume.name] = np.stack(outputs)
            return "done"

        return Work(Path(volume.name), finish, images)

    def outcomes(self, strict=False):
        return each_volume(self.volumes, lambda v: Path(v.name) if v.name in self.complete else None, self.prepare, strict,
                           self.batching)


def test_batches_cross_the_borders_and_answers_come_home():
    folder = Folder(3, 2, 1, 5, 4)
    outcomes = list(folder.outcomes())
    assert [(o.name, o.note, o.error) for o in outcomes] == [(f"v{k}", "done", "") for k in range(5)]
    assert [shape[0] for shape in folder.batches] == [4, 4, 4, 4]  # the last one filled up
    for k, values in enumerate(folder.written.values()):
        places = (sum((3, 2, 1, 5, 4)[:k]) + np.arange(len(values))) % 4
        np.testing.assert_allclose(values[:, 0, 0], 100.0 * k + np.arange(len(values)) + 0.1 * places + 4)
    assert all(o.seconds > 0 for o in outcomes)


def test_a_small_folder_is_one_small_batch():
    folder = Folder(1, 1)
    assert len(list(folder.outcomes())) == 2 and folder.batches == [(2, 4, 4)]
    folder = Folder(5)
    assert len(list(folder.outcomes())) == 1 and folder.batches == [(3, 4, 4)] * 2  # not a full one and nearly an empty one


def test_shapes_do_not_mix():
    folder = Folder(3, 3, 3, 3, side={1: 6, 2: 6})
    list(folder.outcomes())
    assert folder.batches == [(3, 4, 4), (3, 6, 6), (3, 6, 6), (3, 4, 4)]


@pytest.mark.parametrize("workers", [0, 2])
def test_results_do_not_depend_on_what_is_complete_or_fails(workers):
    whole = Folder(3, 2, 1, 5, 4)
    list(whole.outcomes())
    part = Folder(3, 2, 1, 5, 4, workers=workers)
    part.complete, part.bad, part.bad_result = {"v1"}, {"v2"}, {"v4"}
    outcomes = {o.name: o for o in part.outcomes()}
    assert outcomes["v1"].note == "complete already" and outcomes["v2"].error == "v2: bad"
    assert outcomes["v4"].error == "bad result" and outcomes["v4"].path is None
    assert part.written.keys() == {"v0", "v3"}
    for name, values in part.written.items():
        np.testing.assert_array_equal(values, whole.written[name])


def test_a_model_that_fails_fails_the_volumes_of_that_batch_alone():
    folder = Folder(3, 3, 4)
    folder.model = None

    def model(images):
        if (images >= 200).all():
            raise DataError("too large")
        return images

    folder.batching = Batching(model, 4, lambda volume: volume.side)
    assert [o.error for o in folder.outcomes()] == ["", "", "too large"]


def test_strict_stops_and_other_errors_pass():
    folder = Folder(2, 2, 2, workers=1)
    folder.bad = {"v1"}
    with pytest.raises(DataError, match="v1: bad"):
        list(folder.outcomes(strict=True))
    full = Folder(2)
    full.prepare = lambda volume: Work(Path("x"), lambda outputs: (_ for _ in ()).throw(ResourceError("disk full")), [np.ones(1)])
    with pytest.raises(ResourceError, match="disk full"):
        list(full.outcomes())


def test_others_read_ahead_but_no_further_than_said():
    folder, started = Folder(*[2] * 9, workers=2), []
    prepare = folder.prepare
    folder.prepare = lambda volume: (started.append(volume.name), prepare(volume))[1]
    for done, outcome in enumerate(folder.outcomes(), start=1):
        assert outcome.note == "done" and len(started) <= done + 1 + 2
    assert threading.main_thread() in folder.threads and len(folder.threads) > 1  # the first one by itself


def test_nothing_of_what_is_done_stays_in_memory():
    folder, alive = Folder(*[3] * 20, workers=1), []
    prepare, most = folder.prepare, 0

    def seen(volume):
        work = prepare(volume)
        alive.extend(map(weakref.ref, work.images))
        return Work(work.path, lambda outputs: "done", work.images)

    folder.prepare = seen
    for _ in folder.outcomes():
        most = max(most, sum(image() is not None for image in alive))
    assert 0 < most <= 3 * 4  # the one that is done, the one half in a batch, one ahead and one that is being read


def test_command_batches_across_files_and_resumes_to_the_same(capsys, tmp_path, tiny_unet):
    for seed, name in enumerate("abcd"):
        volume(tmp_path / "data" / f"{name}.h5", images=disc(3, 36, 32, seed))
    trained = call(capsys, "train", "--data", tmp_path / "data", "--out", tmp_path / "run", "--preset", "small", "--width", 2,
                   "--batch-size", 2, "--epochs", 1)
    assert trained.code == 0, trained.err
    words = ("reconstruct", tmp_path / "data", tmp_path / "out", "--weights", tmp_path / "run" / "generator.weights.h5")
    first = call(capsys, *words, "--json")
    assert first.code == 0 and all(seconds >= 0 for seconds in first.json()["seconds_each"].values())
    whole = {name: arrays(tmp_path / "out" / f"{name}.h5") for name in "abcd"}
    for name in "bd":
        (tmp_path / "out" / f"{name}.h5").unlink()
    assert call(capsys, *words, "--resume", "--workers", 0).code == 0
    for name in "abcd":
        for key, values in arrays(tmp_path / "out" / f"{name}.h5").items():
            np.testing.assert_array_equal(values, whole[name][key])
    assert "whole number from 0 to 64" in call(capsys, *words, "--workers", "-1").err


@pytest.mark.slow
def test_peak_memory_does_not_grow_with_the_number_of_files(tmp_path):
    """300 volumes take no more than 30; each of them is 9 MB of k-space."""
    for k in range(300):
        path = tmp_path / "many" / f"{k:03d}.h5"
        volume(path, images=disc(8, 384, 384)) if k == 0 else path.hardlink_to(tmp_path / "many" / "000.h5")
    (tmp_path / "few").mkdir()
    for k in range(30):
        (tmp_path / "few" / f"{k:03d}.h5").hardlink_to(tmp_path / "many" / "000.h5")
    peaks = []
    for name in ("few", "many"):
        code = ("import resource, sys; from tfrecon.cli import main; code = main(sys.argv[1:]); "
                "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)")
        words = ["reconstruct", tmp_path / name, tmp_path / f"out_{name}", "--model", "zero_filled", "--workers", 2]
        done = subprocess.run([sys.executable, "-c", code, *map(str, words)], cwd=ROOT, capture_output=True, text=True,
                              timeout=580)
        assert done.returncode == 0, done.stderr[-2000:]
        peaks.append(int(done.stdout.split()[-1]))
    assert peaks[1] < 1.1 * peaks[0], peaks
