"""Shards: the batches of the HDF5 files, on a TPU without Python, splits, interrupted, damaged, foreign folders."""

import json
import shutil
import subprocess
import sys
import warnings
from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf
from cli_tools import ROOT, call, fingerprint, on_tpu, results

from tfrecon.cli import _error_inside
from tfrecon.cli.tasks import Part, task_of
from tfrecon.data import EpochClock, check_no_shared_patient, create_paired_dataset, index_magnitudes, split, superres_pairs
from tfrecon.data.shards import verify_shards
from tfrecon.data.shards.plan import _share_out
from tfrecon.data.splits import all_samples
from tfrecon.data.superres import index_shards, index_superres, write_shards
from tfrecon.errors import DataError, ResourceError, UsageError

RNG = np.random.default_rng(7)
NUMBERED = 8, 12  # height and width of images whose pixels tell where they come from


def write(path, images, **attributes):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["reconstruction_rss"] = images
        file.attrs.update(attributes)
    return path


def everything(dataset):
    """Every array of a dataset, batches joined."""
    return [np.concatenate(parts) for parts in zip(*dataset.as_numpy_iterator())]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """HDF5 files and their shards: sizes mixed, a patient on both ends, stated, wrong and missing maxima, NaN, no signal."""
    top = tmp_path_factory.mktemp("shards")
    content = [("a", 3, (12, 14), "x"), ("b", 2, (9, 20), "y"), ("c", 2, (12, 14), "z"), ("d", 2, (9, 20), "x"),
               ("e", 2, (16, 8), "w")]
    for name, slices, size, patient in content:
        images = RNG.random((slices, *size)).astype(np.float32) * 1e-3
        attributes = {} if name == "b" else {"max": float(images.max()) * 1.1}
        images[0] *= name != "e"
        if name == "a":
            images[1, 2, 3] = np.nan
        write(top / "in" / f"{name}.h5", images, patient_id=patient, **attributes)
    write_shards(index_magnitudes(top / "in"), top / "out", 3)
    return top


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """Shards of five patients with four slices each, every pixel with a value of its own."""
    top = tmp_path_factory.mktemp("numbered")
    size = 4 * NUMBERED[0] * NUMBERED[1]
    for k, name in enumerate("abcde"):
        images = np.arange(k * size, (k + 1) * size, dtype=np.float32).reshape(4, *NUMBERED)
        write(top / "in" / f"{name}.h5", images, patient_id=f"Doe^{name}")
    write_shards(index_magnitudes(top / "in"), top / "out", 3)
    return top / "out"


def visited(dataset):
    """(slice number, top, left) of every patch of the numbered images."""
    corners = everything(dataset)[1][:, 0, 0, 0].astype(int)
    return [(int(n) // (NUMBERED[0] * NUMBERED[1]), *divmod(int(n) % (NUMBERED[0] * NUMBERED[1]), NUMBERED[1]))
            for n in corners]


def order(path, **options):
    return [n for n, *_ in visited(superres_pairs(path, 3, value_range="raw", **options))]


WAYS = pytest.mark.parametrize("way", [nullcontext, on_tpu])


@WAYS
@pytest.mark.parametrize("options", [
    {"batch_size": 1}, {"value_range": "slice", "size": (8, 16), "batch_size": 4}, {"value_range": "raw", "size": 20},
])
def test_pairs_scales_and_facts_are_those_of_the_files(folders, options, way):
    files = superres_pairs(folders / "in", metadata=True, **options)
    with way():
        shards = superres_pairs(folders / "out", metadata=True, **options)
    assert_same_batches(files, shards)


def assert_same_batches(one, other):
    """Batch by batch, bit by bit, their metadata included."""
    assert int(one.cardinality()) == int(other.cardinality())
    for batch, found in zip(one.as_numpy_iterator(), other.as_numpy_iterator(), strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, batch, found)


@pytest.mark.parametrize("options", [{"batch_size": 2}, {"batch_size": 3, "patch": 8, "drop_remainder": True},
                                     {"batch_size": 4, "patch": 24, "value_range": "slice"}])
def test_shuffled_batches_and_patches_are_those_of_the_files(folders, options):
    """Also of a part of the people, in samples of any order, and of the epochs after the first."""
    for index, other in zip(*(split(index_superres(folders / name), (0.7, 0.3), seed=2) for name in ("in", "out"))):
        samples = [sample for sample in all_samples(index) for _ in range(3)][::-1]
        pairs = [superres_pairs(part, metadata=True, shuffle=True, seed=3, samples=samples, **options) for part in (index, other)]
        for _ in range(3):
            assert_same_batches(*pairs)


def test_maxima_are_believed_as_those_of_the_files_are(tmp_path):
    """A middle slice without a signal, or whose neighbour takes its place, says less than the volume."""
    for name, middle in (("empty", 0.0), ("nan", np.nan)):
        images = RNG.random((3, 16, 16)).astype(np.float32)
        images[0, 3, 3], images[1] = 25, middle
        write(tmp_path / "in" / f"{name}.h5", images, patient_id=name, max=10.0)
    write_shards(index_magnitudes(tmp_path / "in"), tmp_path / "out")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        files = superres_pairs(tmp_path / "in", 2, metadata=True)
    assert_same_batches(files, superres_pairs(tmp_path / "out", 2, metadata=True))


def test_other_sizes_come_in_batches_of_their_own(folders):
    def by_content(dataset):
        return sorted((large.shape, large.tobytes()) for _, large in dataset.as_numpy_iterator())

    files = superres_pairs(folders / "in", 3)
    with on_tpu():
        shards = superres_pairs(folders / "out", 3)
    assert by_content(files) == by_content(shards)


def python_in(dataset):
    variant = tf.data.experimental.to_variant(dataset)
    graph = tf.compat.v1.GraphDef.FromString(
        tf.raw_ops.DatasetToGraphV2(input_dataset=variant, external_state_policy=1).numpy())
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return {node.op for node in nodes if "Py" in node.op}


@pytest.mark.parametrize("options", [{}, {"shuffle": True, "patch": 8, "metadata": True}])
def test_no_python_when_the_data_flow(folders, options):
    assert python_in(superres_pairs(folders / "in", size=16, **options)) == {"PyFunc"}
    with on_tpu():
        assert python_in(superres_pairs(folders / "out", size=16, **options)) == set()


def test_tpu_in_reach_is_enough(folders, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind] * (kind == "TPU"))
    assert python_in(superres_pairs(folders / "out", size=16)) == set()


@pytest.fixture(params=[nullcontext, on_tpu])
def either_way(request):
    with request.param():
        yield request.param


def test_order_depends_on_seed_and_epoch_alone(numbered, either_way):
    clock = EpochClock()
    tf.random.set_seed(0)
    dataset = superres_pairs(numbered, 3, value_range="raw", shuffle=True, clock=clock)
    first, second = ([n for n, *_ in visited(dataset)] for _ in range(2))
    tf.random.set_seed(99)
    assert order(numbered, shuffle=True, clock=EpochClock(1)) == second
    assert sorted(first) == list(range(20)) and first != second != order(numbered, shuffle=True, seed=1)
    places = [k for k, n in enumerate(first) if n < 4]
    assert max(places) - min(places) > 4  # the slices of one shard do not stay together


def test_epochs_follow_the_clock_and_a_skipped_beginning_changes_nothing(numbered, either_way):
    clock = EpochClock()
    dataset = superres_pairs(numbered, 2, shuffle=True, patch=4, seed=5, value_range="raw", clock=clock)
    first, second = visited(dataset), visited(dataset)
    assert clock.epoch == 2 and first != second
    clock.epoch = 1
    assert visited(dataset.skip(3)) == second[6:]
    clock.epoch = 0
    assert visited(dataset) == first and clock.start_pass() == 1 and clock.epoch == 2


def test_patches_are_cut_from_anywhere_in_the_slice(numbered, either_way):
    index = index_shards(numbered)
    dataset = superres_pairs(index, 4, patch=4, value_range="raw", samples=all_samples(index) * 20)
    found = visited(dataset)
    assert [n for n, *_ in found] == [*range(20)] * 20
    assert {top for _, top, _ in found} == set(range(5)) and {left for *_, left in found} == set(range(9))
    assert len({place for place in found if place[0] == 0}) > 10  # another patch at every visit
    small, large = next(dataset.as_numpy_iterator())
    np.testing.assert_array_equal(np.diff(large[..., 0], axis=2), 1)
    assert small.shape == (4, 1, 1, 1)


def test_slices_smaller_than_the_patch_are_padded(folders, either_way):
    dataset = superres_pairs(folders / "out", 3, patch=24, drop_remainder=True)
    assert dataset.element_spec[0].shape == (3, 6, 6, 1) and dataset.element_spec[1].shape == (3, 24, 24, 1)
    _, large = everything(dataset)
    assert int((large[3] != 0).sum()) == 9 * 20


def test_samples_in_an_order_of_their_own_need_shuffling_on_a_tpu(numbered):
    index, chosen = index_shards(numbered), [(4, 1), (0, 2), (0, 2)]
    assert sorted(order(index, samples=chosen, shuffle=True)) == [2, 2, 17]
    assert order(index, samples=chosen) == [17, 2, 2]
    with on_tpu():
        assert sorted(order(index, samples=chosen, shuffle=True)) == [2, 2, 17]
        with pytest.raises(UsageError, match="first to the last"):
            superres_pairs(index, samples=chosen)


def test_split_by_patient_reads_its_own_slices_only(numbered, either_way):
    parts = split(index_shards(numbered), (0.6, 0.4), seed=1)
    found = [order(part) for part in parts]
    assert sorted(found[0] + found[1]) == list(range(20)) and len(found[0]) == 12
    for part, numbers in zip(parts, found):
        assert numbers == [4 * "abcde".index(v.name[0]) + i for v in part.volumes for i in range(4)]
    assert sorted(order(parts[1], shuffle=True)) == found[1]
    check_no_shared_patient(*parts)
    with pytest.raises(DataError, match="both training and validation"):
        check_no_shared_patient(index_shards(numbered), parts[1])


def test_pseudonyms_of_two_conversions_are_different_people(folders, numbered):
    check_no_shared_patient(index_shards(folders / "out"), index_shards(numbered))


def test_patients_stay_together_and_identifiers_stay_at_home(folders, numbered):
    shards = {v.name: v.shard for v in index_shards(folders / "out").volumes}
    assert shards["a.h5"] == shards["d.h5"] and set(shards.values()) == {0, 1, 2}
    assert not any(b"Doe" in path.read_bytes() for path in numbered.iterdir())


@pytest.mark.parametrize("sizes, shards", [([1] * 9, 4), ([100, 1, 1, 1], 3), ([1, 1, 1, 100], 3), ([5], 1), ([3, 3], 2)])
def test_every_shard_gets_neighbours_and_none_is_empty(sizes, shards):
    numbers = _share_out(sizes, shards)
    assert sorted(numbers) == numbers and set(numbers) == set(range(shards))


def test_shards_of_about_the_same_size():
    loads = np.bincount(_share_out([4, 6, 5, 5, 7, 3, 5, 5, 4, 6], 5), [4, 6, 5, 5, 7, 3, 5, 5, 4, 6])
    assert loads.max() <= 13 and loads.min() >= 7


def test_same_images_same_bytes(folders, tmp_path):
    write_shards(index_magnitudes(folders / "in"), tmp_path / "again", 3)
    assert results(tmp_path / "again") == ["shards.json", *(f"slices-0000{k}-of-00003.tfrecord" for k in range(3))]
    for name in results(tmp_path / "again"):
        assert (tmp_path / "again" / name).read_bytes() == (folders / "out" / name).read_bytes()


def test_interrupted_conversion_is_not_taken_for_complete(folders, tmp_path, monkeypatch):
    out, index = tmp_path / "out", index_magnitudes(folders / "in")
    shutil.copytree(folders / "out", out)
    (out / "mine.txt").write_text("kept")
    (out / ".slices-00000-of-00009.tfrecord.123.part").write_bytes(b"half")

    def stop(text):
        if text.startswith("[2/3]"):
            raise KeyboardInterrupt

    with pytest.raises(UsageError, match="not empty"):
        write_shards(index, out)
    with pytest.raises(KeyboardInterrupt):
        write_shards(index, out, 3, overwrite=True, progress=stop)
    assert results(out) == ["mine.txt", "slices-00000-of-00003.tfrecord", "slices-00001-of-00003.tfrecord"]
    with pytest.raises(DataError, match="interrupted"):
        superres_pairs(out)
    write_shards(index, out, 1, overwrite=True)
    assert results(out) == ["mine.txt", "shards.json", "slices-00000-of-00001.tfrecord"]


def test_full_disk_leaves_no_manifest_and_no_half_shard(folders, tmp_path, monkeypatch):
    class Full(tf.io.TFRecordWriter):
        def write(self, record):
            raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.io, "TFRecordWriter", Full)
    with pytest.raises(ResourceError, match="No space left"):
        write_shards(index_magnitudes(folders / "in"), tmp_path / "out")
    assert results(tmp_path / "out") == []


def test_what_cannot_be_used_is_left_out_or_refused(tmp_path):
    good = np.ones((2, 8, 8), np.float32)
    write(tmp_path / "in" / "a.h5", good, max=0.1)
    write(tmp_path / "in" / "b.h5", good * np.nan)
    index = index_magnitudes(tmp_path / "in")
    written = write_shards(index, tmp_path / "out")
    assert [v.name for v in written.volumes] == ["a.h5"] and "attribute max is 0.1" in written.volumes[0].notes[0]
    assert [s.name for s in written.skipped] == ["b.h5"] and "NaN" in written.skipped[0].reason
    np.testing.assert_allclose(everything(superres_pairs(tmp_path / "out"))[1], 255)  # by its real maximum
    assert everything(superres_pairs(tmp_path / "out", value_range="raw"))[1].max() == 1
    with pytest.raises(DataError, match="NaN"):
        write_shards(index, tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict").exists()


LIES = [
    ("shards", 0, "name", "../slices-00000-of-00003.tfrecord", "is called"),
    ("shards", 0, "name", "/etc/hostname", "is called"), ("shards", 1, "name", None, "is called"),
    ("shards", 0, "slices", 9, "said to hold 9"), ("shards", 0, "slices", True, "whole number"),
    ("shards", 0, "bytes", -1, "whole number"), ("shards", 0, "bytes", 2.5, "whole number"),
    ("shards", 0, "bytes", 10**40, "whole number"), ("shards", 0, "bytes", 9_000, "bytes"),
    ("shards", 0, "sha256", 0, "a text"),
    ("volumes", 0, "slices", 4, "said to hold"), ("volumes", 0, "slices", 0, "whole number"),
    ("volumes", 0, "height", 2**40, "whole number"), ("volumes", 0, "height", 9_000, "said to hold"),
    ("volumes", 0, "shard", 3, "whole number from 0 to 2"), ("volumes", 0, "shard", 1, "said to hold"),
    ("volumes", 0, "patient", "", "a text"), ("volumes", 0, "name", "b.h5", "share a name"),
    ("volumes", 0, "notes", "none", "list of texts"), ("volumes", 0, "key", ["x"], "a text"),
    (None, None, "slices", 12, "shards hold"), (None, None, "version", 2, "version"), (None, None, "task", "blur", "task"),
    (None, None, "shards", [], "list of objects"), (None, None, "volumes", {"0": 1}, "list of objects"),
]


@pytest.mark.parametrize("group, place, name, value, message", LIES)
def test_manifest_that_lies(folders, tmp_path, group, place, name, value, message):
    shutil.copytree(folders / "out", tmp_path / "out")
    path = tmp_path / "out" / "shards.json"
    rows = json.loads(path.read_text())
    (rows if group is None else rows[group][place])[name] = value
    path.write_text(json.dumps(rows))
    with pytest.raises(DataError, match=message):
        index_shards(tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"[1]", b"null", b"<html>403", b"\xff\xfe", b"[" * 100_000, b'{"shards": 1}'])
def test_manifest_that_is_none(folders, tmp_path, content):
    shutil.copytree(folders / "out", tmp_path / "out")
    (tmp_path / "out" / "shards.json").write_bytes(content)
    with pytest.raises(DataError):
        superres_pairs(tmp_path / "out")


def test_shards_that_are_missing_cut_off_or_lead_elsewhere(folders, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(folders / "out", out)
    shard = sorted(out.glob("*.tfrecord"))[1]
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-10])
    with pytest.raises(DataError, match=f"{len(whole) - 10} bytes, expected {len(whole)}"):
        superres_pairs(out)
    shard.unlink()
    with pytest.raises(DataError, match="does not exist"):
        superres_pairs(out)
    (tmp_path / "elsewhere").write_bytes(whole)
    shard.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="no regular file"):
        superres_pairs(out)
    with pytest.raises(DataError, match="give its folder"):
        superres_pairs(shard)


def test_flipped_bit_is_told_from_data(folders, tmp_path):
    shutil.copytree(folders / "out", tmp_path / "out")
    last, first = (sorted((tmp_path / "out").glob("*.tfrecord"))[k] for k in (-1, 0))
    _flip(last, -100)
    with pytest.raises(DataError, match="1 of 3 shards differ.*00002-of-00003"):
        verify_shards(index_shards(tmp_path / "out"))
    with pytest.raises(tf.errors.DataLossError) as caught:
        everything(superres_pairs(tmp_path / "out", 1, size=8))
    assert isinstance(_error_inside(caught.value), DataError) and "damaged" in str(_error_inside(caught.value))
    _flip(first, 100)
    with pytest.raises(DataError, match="first record to be read cannot be used.*corrupted"):
        superres_pairs(tmp_path / "out")


def _flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def rewrite(path, records, name, value, place=1):
    """Write records with one value of one of them changed."""
    records = [tf.train.Example.FromString(record) for record in records]
    feature = records[place].features.feature[name]
    (feature.bytes_list if isinstance(value, bytes) else feature.int64_list).value[0] = value
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record.SerializeToString())


@WAYS
def test_records_that_lie(tmp_path, way):
    """In the place of sound ones after the dataset was made, as their size would show before."""
    write(tmp_path / "in" / "a.h5", np.ones((2, 8, 8), np.float32))
    write_shards(index_magnitudes(tmp_path / "in"), tmp_path / "out")
    path = tmp_path / "out" / "slices-00000-of-00001.tfrecord"
    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    with way():
        dataset = superres_pairs(tmp_path / "out", 1)
    for name, value, message in [
        ("volume", 1, "volume 1, which the manifest does not know"), ("volume", -1, "volume -1, which the manifest"),
        ("slice", 2, "slice 2, which volume 0 does not have"), ("height", 4, "slice 1 of volume 0 has another size"),
        ("image", bytes(252), "another size"), ("maximum", b"0", "another size"),
        ("image", np.full(64, np.nan, "<f4").tobytes(), "NaN or infinity"),
        ("stated", np.array(np.inf, "<f8").tobytes(), "NaN or infinity"),
    ]:
        rewrite(path, records, name, value)
        with pytest.raises(tf.errors.InvalidArgumentError, match=message) as caught:
            everything(dataset)
        ours = _error_inside(caught.value)
        assert isinstance(ours, DataError) and message in str(ours) and "]" not in str(ours)
    rewrite(path, records, "slice", 2, place=0)
    with pytest.raises(DataError, match=r"first record to be read cannot be used \(a record of slice 2, which volume 0 does not"):
        superres_pairs(tmp_path / "out")
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record.replace(b"slice", b"slick"))
    with pytest.raises(DataError, match=r"to be read cannot be used \([^{}]*Feature: slice .* required[^{}]*\); copy it anew"):
        superres_pairs(tmp_path / "out")


# A record whose image is of a kind there is none of.
_UNKNOWN = b"\n\x0f\n\r\n\x05image\x12\x04J\x02\x01\x01"


@pytest.mark.parametrize("record", [b"\x86\xff\n" * 9, b"plain text", b"", tf.train.Example().SerializeToString() + b"\n\x00",
                                    _UNKNOWN])
@WAYS
def test_records_that_are_none(tmp_path, record, way):
    """TensorFlow's own sentence quotes the bytes, and Python cannot even read it where they are no text."""
    write(tmp_path / "in" / "a.h5", np.ones((2, 8, 8), np.float32))
    write_shards(index_magnitudes(tmp_path / "in"), tmp_path / "out")
    path = tmp_path / "out" / "slices-00000-of-00001.tfrecord"
    first = next(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    with way():
        dataset = superres_pairs(tmp_path / "out", 1)
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(first)
        writer.write(record)
    with pytest.raises((tf.errors.InvalidArgumentError, UnicodeDecodeError)) as caught:
        everything(dataset)
    assert "record of a shard cannot be read" in str(_error_inside(caught.value))


def test_arguments_shards_cannot_honour(folders):
    with pytest.raises(UsageError, match="made finite"):
        superres_pairs(folders / "out", nan="zero")
    with pytest.raises(UsageError, match="converted from reconstruction_rss"):
        create_paired_dataset(folders / "out", "superres", target="reconstruction")
    with pytest.raises(UsageError, match="made for reconstruction_rss"):
        superres_pairs(index_shards(folders / "out"), target="reconstruction")
    with pytest.raises(UsageError, match="from 1 to 4, as there are 4 patients"):
        write_shards(index_magnitudes(folders / "in"), folders / "new", 5)
    assert index_superres(folders / "out" / "shards.json", "reconstruction_rss", strict=True).slices == 11


MIRRORED = """
import sys
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfrecon.data import superres_pairs
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
make = lambda: superres_pairs(sys.argv[1], 4, shuffle=True, patch=4, drop_remainder=True)
expected = np.concatenate([large for _, large in make().as_numpy_iterator()])
with strategy.scope():
    shared = strategy.experimental_distribute_dataset(make())
parts = [strategy.experimental_local_results(large) for _, large in shared]
assert all([part.shape == (2, 4, 4, 1) for part in pair] and len(pair) == 2 for pair in parts)
np.testing.assert_array_equal(np.concatenate([np.concatenate(pair) for pair in parts]), expected)
"""


@pytest.mark.slow
def test_two_devices_share_the_batches_of_one(numbered):
    done = subprocess.run([sys.executable, "-c", MIRRORED, str(numbered)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_command_converts_and_says_what_it_did(folders, tmp_path, capsys):
    before = fingerprint(folders / "in")
    report = call(capsys, "convert", folders / "in", tmp_path / "out", "--shards", 2, "--json")
    assert report.code == 0 and "[2/2] slices-00001-of-00002.tfrecord" in report.err and "have NaN" in report.err
    expected = sum(p.stat().st_size for p in (tmp_path / "out").glob("*.tfrecord"))
    assert report.json() == {"slices": 11, "volumes": 5, "shards": 2, "bytes": expected, "skipped": {},
                             "output": str(tmp_path / "out")}
    again = call(capsys, "convert", folders / "in", tmp_path / "out")
    assert again.code == 2 and "not empty" in again.err
    again = call(capsys, "convert", folders / "in", tmp_path / "out", "--overwrite")
    assert again.code == 0 and again.out.startswith("11 slices of 5 volumes in 1 shards")
    assert fingerprint(folders / "in") == before


def test_command_refuses_and_leaves_out(folders, tmp_path, capsys):
    for name in ("a.h5", "b.h5"):
        (tmp_path / "in").mkdir(exist_ok=True)
        shutil.copy(folders / "in" / name, tmp_path / "in" / name)
    (tmp_path / "in" / "bad.h5").write_bytes(b"<html>403")
    assert "--shards N" in call(capsys, "convert", "--help").out
    same = call(capsys, "convert", tmp_path / "in", tmp_path / "in", "--overwrite")
    assert same.code == 2 and "OUT is IN" in same.err
    assert call(capsys, "convert", tmp_path / "nothing", tmp_path / "out").code == 3
    assert call(capsys, "convert", tmp_path / "in", tmp_path / "out", "--strict").code == 3
    assert not (tmp_path / "out").exists()
    skipped = call(capsys, "convert", tmp_path / "in", tmp_path / "out")
    assert skipped.code == 3 and "skipped bad.h5" in skipped.err and "5 slices of 2 volumes" in skipped.out


def test_task_of_the_commands_takes_shards(numbered):
    arguments = Namespace(model="srrescycgan", preset="small", target=None, strict=False, max_volumes=4, crop=None, visits=2,
                          batch_size=2, value_range=None, seed=3, set=[])
    task = task_of(arguments)
    index = task.index(str(numbered))
    train, validation = map(Part, split(index, (0.5, 0.5)))
    assert task.sizes(train) == {NUMBERED: 8}
    assert int(task.dataset(train, True, 8, clock=EpochClock()).cardinality()) == 8
    facts = [facts for *_, facts in task.dataset(validation, False, None)]
    assert len(facts) == 8 and facts[0].keys() == {"scale", "offset", "data_range"}
    arguments.target = "reconstruction_esc"
    with pytest.raises(UsageError, match="converted from reconstruction_rss"):
        task.index(str(numbered))


@pytest.mark.slow
def test_training_on_shards_resumes_where_it_stopped(tmp_path, capsys):
    for name in "abcd":
        write(tmp_path / "in" / f"{name}.h5", RNG.random((3, 24, 20)).astype(np.float32), patient_id=name)
    shards = tmp_path / "out"
    assert call(capsys, "convert", tmp_path / "in", shards, "--shards", 2).code == 0
    tiny = ("train", "--data", shards, "--model", "srrescycgan", "--preset", "small", "--set", "filters=2", "--set",
            "n_blocks=1", "--batch-size", 2, "--crop", 16)
    assert call(capsys, *tiny, "--out", tmp_path / "one", "--epochs", 2).code == 0
    assert call(capsys, *tiny, "--out", tmp_path / "two", "--epochs", 1).code == 0
    assert call(capsys, *tiny, "--out", tmp_path / "two", "--epochs", 2, "--resume").code == 0
    assert Path(tmp_path / "one" / "history.json").read_text() == Path(tmp_path / "two" / "history.json").read_text()
