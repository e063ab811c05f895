"""Records of shards at their places: where they begin, what lies there, and what happens when it is no longer that."""

import json
import os
import re

import numpy as np
import pytest
import tensorflow as tf
from test_shards import WAYS, everything, write

from tfrecon.cli import _error_inside
from tfrecon.data import index_magnitudes, superres_pairs
from tfrecon.data.shards.framing import record_offsets
from tfrecon.data.superres import index_shards, write_shards
from tfrecon.data.superres.shard_records import PictureRecords
from tfrecon.errors import DataError, UsageError


@pytest.fixture
def folder(tmp_path):
    """Two shards of three slices each; a slice's values say which it is."""
    for k, name in enumerate("ab"):
        images = np.broadcast_to(np.arange(3 * k, 3 * k + 3, dtype=np.float32)[:, None, None], (3, 16, 12))
        write(tmp_path / "in" / f"{name}.h5", images, patient_id=name)
    write_shards(index_magnitudes(tmp_path / "in"), tmp_path / "out", 2)
    return tmp_path / "out"


def shard_of(folder):
    return sorted(folder.glob("*.tfrecord"))[1]


def records_of(path):
    return list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())


def replaced(path, records):
    """The shard with other records; the manifest agrees about its size."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    rows = json.loads((path.parent / "shards.json").read_text())
    rows["shards"][1]["bytes"] = path.stat().st_size
    (path.parent / "shards.json").write_text(json.dumps(rows))


def told(dataset):
    """The error that a user is told when this is read."""
    with pytest.raises(tf.errors.OpError) as caught:
        everything(dataset)
    return str(_error_inside(caught.value))


def test_offsets_are_where_tensorflow_finds_the_records(folder):
    index = index_shards(folder)
    offsets = record_offsets(index, {1})
    assert (offsets[:3] == -1).all()
    expected = records_of(shard_of(folder))
    for offset, record in zip(offsets[3:], expected, strict=True):
        content = shard_of(folder).read_bytes()[offset + 12 :]
        assert content.startswith(record)


def test_every_slice_is_found_wherever_it_is_wanted(folder):
    samples = [(1, 2), (0, 0), (1, 0), (1, 2), (0, 1)]
    large = everything(superres_pairs(index_shards(folder), 2, value_range="raw", samples=samples))[1]
    assert large[:, 0, 0, 0].tolist() == [5, 0, 3, 5, 1]


def test_parts_of_batches_read_their_own_records_alone(folder, monkeypatch):
    visited = []
    draw = PictureRecords.draw
    monkeypatch.setattr(PictureRecords, "draw", lambda self, visit: visited.append(tuple(visit)) or draw(self, visit))
    part = superres_pairs(folder, 4, shuffle=True, drop_remainder=True, value_range="raw").own_part(1, 2)
    visited.clear()  # of the looks at the first record
    (_, large), = part.as_numpy_iterator()
    assert sorted(3 * number + i for number, i, *_ in visited) == sorted(large[:, 0, 0, 0].tolist()) and len(visited) == 2


@pytest.mark.parametrize("change, message", [
    (lambda records: records[:2], "bytes"), (lambda records: [*records, records[0][:9]], "expected 3 records that fill"),
    (lambda records: [records[1], records[0], records[2]], "a record of slice 1 of volume 1 where another one should be"),
])
def test_records_that_are_not_those_of_the_manifest(folder, change, message):
    replaced(shard_of(folder), change(records_of(shard_of(folder))))
    with pytest.raises((DataError, tf.errors.InvalidArgumentError)) as caught:
        everything(superres_pairs(folder, 1))
    assert message in str(_error_inside(caught.value) or caught.value)


@WAYS
def test_lengths_that_lie(folder, way):
    """TensorFlow would ask for as much memory as a length says, if its checksum were right."""
    path = shard_of(folder)
    whole = path.read_bytes()
    for length, message in ((2**64 - 1, "said to take"), (2**63, "said to take"), (len(whole) - 48, "said to take"),
                            (0, "said to take"), (1, "said to take")):
        path.write_bytes(length.to_bytes(8, "little") + whole[8:])
        with pytest.raises(DataError, match=message), way():
            superres_pairs(folder)


def test_samples_there_are_not(folder):
    for samples in ([(0, 3)], [(1, -1)], [(-1, 0)], [(99, 0)]):
        with pytest.raises(UsageError, match="There is no slice"):
            superres_pairs(index_shards(folder), samples=samples)


def test_folders_whose_names_are_no_text(folder):
    odd = folder.parent / os.fsdecode(b"n\xff\xfe [a] x")
    folder.rename(odd)
    assert everything(superres_pairs(odd, 2, value_range="raw"))[1][:, 0, 0, 0].tolist() == list(range(6))


def test_what_the_system_says_of_a_shard_is_told_with_its_name(folder):
    dataset = superres_pairs(folder, 1)
    os.unlink(shard_of(folder))
    (folder / "slices-00001-of-00002.tfrecord").mkdir()
    assert re.search("slices-00001-of-00002.tfrecord: cannot be read .*Is a directory", told(dataset))


def test_shards_that_change_when_they_are_read(folder):
    """Between two looks of `check_unchanged`, which every epoch begins with."""
    path, dataset = shard_of(folder), superres_pairs(folder, 1)
    whole = path.read_bytes()
    assert len(everything(dataset)[0]) == 6
    third = len(whole) // 3
    for content, message in [(whole[third:] + whole[:third], "where another one should be"), (b"", "cannot be read"),
                             (whole[: third + 5], "cannot be read"), (whole[:-9], "truncated record"),
                             (whole[:300] + b"?" + whole[301:], "corrupted record")]:
        path.write_bytes(content)
        assert message in told(dataset)
    os.unlink(path)
    assert "vanished; bring the shard back" in told(dataset)
