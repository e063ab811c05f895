"""The parts that workers read of every batch: together the batches of one process, and nothing is read twice."""

import numpy as np
import pytest
from cli_tools import disc, volume

from tfrecon.data import EpochClock, SliceReader, create_paired_dataset, index_magnitudes, index_volumes
from tfrecon.data.kspace_shards import write_kspace_shards
from tfrecon.data.superres import write_shards

MASKED = {"target": "reconstruction_esc", "mask_seed": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    top = tmp_path_factory.mktemp("shares")
    for seed, name in enumerate("abc"):
        images = disc(5, 32, 32, seed)
        volume(top / "files" / f"{name}.h5", images=images, reconstruction_rss=np.abs(images).astype(np.float32))
    write_kspace_shards(index_volumes(top / "files", "reconstruction_esc"), top / "masked", 2)
    write_shards(index_magnitudes(top / "files"), top / "superres", 2)
    return top


def data(folder, task, kind, **options):
    path = folder / ("files" if kind == "files" else task)
    how = {"shuffle": True, "drop_remainder": True, "metadata": True, "clock": EpochClock(3), **options}
    return create_paired_dataset(path, task, 4, **(MASKED if task == "masked" else {"patch": 16}), **how)


@pytest.mark.parametrize("task", ["masked", "superres"])
@pytest.mark.parametrize("kind", ["files", "shards"])
def test_parts_make_up_the_batches(folder, task, kind):
    whole = list(data(folder, task, kind).as_numpy_iterator())
    parts = [list(data(folder, task, kind).own_part(number, 2).as_numpy_iterator()) for number in (0, 1)]
    assert len(whole) == len(parts[0]) == len(parts[1]) == 3
    for batch, *own in zip(whole, *parts):
        for index in (0, 1):
            np.testing.assert_array_equal(batch[index], np.concatenate([part[index] for part in own]))
        for name in batch[2]:
            np.testing.assert_array_equal(batch[2][name], np.concatenate([part[2][name] for part in own]))
    spec = data(folder, task, kind).own_part(1, 2).element_spec[0]
    assert spec.shape[0] == 2 and spec.shape[1:] == whole[0][0].shape[1:]


@pytest.mark.parametrize("task", ["masked", "superres"])
def test_files_are_read_for_the_own_part_alone(folder, task, monkeypatch):
    read, target = [], SliceReader.target
    own_scale = {} if task == "masked" else {"value_range": "slice"}  # that of a volume takes all of it
    part = data(folder, task, "files", metadata=False, **own_scale).own_part(0, 2)

    def counted(self, volume, i):
        read.append((volume.name, i))
        return target(self, volume, i)

    monkeypatch.setattr(SliceReader, "target", counted)
    list(part)
    assert len(read) == len(set(read)) == 6


def test_incomplete_batches_and_mixed_sizes_are_not_shared(folder):
    assert hasattr(data(folder, "masked", "files", drop_remainder=False, crop=16), "own_part") is False
    assert hasattr(data(folder, "masked", "shards", drop_remainder=False), "own_part") is False
    assert hasattr(data(folder, "masked", "files").map(lambda *batch: batch), "own_part") is False
