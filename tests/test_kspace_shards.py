"""Shards of k-space: the batches of the HDF5 files, on a TPU without Python, the same training, the same table."""

import json
import shutil

import h5py
import numpy as np
import pytest
from cli_tools import TINY, arrays, call, disc, nan_slice, on_tpu, results, volume
from test_shards import WAYS, assert_same_batches, everything, python_in

from tfrecon.data import EpochClock, create_paired_dataset, index_volumes, masked_pairs, split
from tfrecon.data.kspace_shards import index_masked, write_kspace_shards
from tfrecon.data.kspace_shards.records import FRESH_MASKS
from tfrecon.data.shards.writing import _stand_ins
from tfrecon.data.splits import all_samples
from tfrecon.errors import DataError, UsageError
from tfrecon.physics import fft2c


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Files and their shards: sizes mixed, a NaN, masks of a file and of its slices, undersampled k-space, an empty slice."""
    top = tmp_path_factory.mktemp("kspace")
    for seed, (name, size) in enumerate({"a": (24, 20), "b": (24, 20), "c": (28, 22), "d": (24, 20), "e": (24, 20)}.items()):
        images = disc(3, *size, seed)
        images[0] *= name != "b"
        volume(top / "in" / f"{name}.h5", images=images)
    nan_slice(top / "in" / "a.h5")
    rng = np.random.default_rng(0)
    with h5py.File(top / "in" / "c.h5", "r+") as file:
        file["mask"] = np.arange(22) % 2 == 0
    with h5py.File(top / "in" / "d.h5", "r+") as file:
        file["masks"] = rng.random((3, 24, 20)) < 0.5
    with h5py.File(top / "in" / "e.h5", "r+") as file:
        file["kspace_4af"] = file["kspace"][()] * (np.arange(20) % 4 == 0)
        del file["kspace"]
    write_kspace_shards(index_volumes(top / "in", "reconstruction_esc"), top / "out", 2)
    return top


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Six volumes of one size, a patient each, and their shards with targets to be computed."""
    top = tmp_path_factory.mktemp("plain")
    for seed, name in enumerate("abcdef"):
        volume(top / "in" / f"{name}.h5", images=disc(3, 36, 32, seed), attributes={"patient_id": f"Doe^{9 - seed}"})
    write_kspace_shards(index_volumes(top / "in", "kspace"), top / "out", 3)
    return top


def by_content(dataset):
    return sorted(tuple(part.tobytes() for part in (one, other, *facts.values()))
                  for *pair, facts in dataset.unbatch().as_numpy_iterator() for one, other in [pair])


@WAYS
@pytest.mark.parametrize("options", [{}, {"mask_seed": 5, "mask_type": "equispaced", "crop": 16}, {"scaling": "symmetric"},
                                     {"scaling": "zero_filled_max_uncropped", "channels": 3}])
def test_pairs_and_facts_are_those_of_the_files(folders, options, way):
    files = masked_pairs(folders / "in", 1, metadata=True, **options)
    with way():
        shards = masked_pairs(folders / "out", 1, metadata=True, **options)
    assert int(files.cardinality()) == int(shards.cardinality()) == 15
    assert by_content(files) == by_content(shards)
    if way is not on_tpu:
        assert_same_batches(files, shards)


@pytest.mark.parametrize("options", [{"mask_seed": None}, {"mask_seed": 3, "scaling": "symmetric"},
                                     {"mask_seed": None, "drop_remainder": True, "crop": 12}])
def test_shuffled_batches_and_fresh_masks_are_those_of_the_files(folders, options):
    """Also of a part of the people, in samples of any order, and of the epochs after the first."""
    for index, other in zip(*(split(index_masked(folders / name), (0.6, 0.4), seed=1) for name in ("in", "out"))):
        samples = [sample for sample in all_samples(index) for _ in range(2)][::-1]
        pairs = [masked_pairs(part, 3, metadata=True, shuffle=True, seed=3, samples=samples, **options)
                 for part in (index, other)]
        for _ in range(3):
            assert_same_batches(*pairs)


def test_computed_targets_and_options_decided_at_conversion(plain, tmp_path):
    assert_same_batches(*(masked_pairs(plain / name, 4, "kspace", metadata=True, shuffle=True) for name in ("in", "out")))
    kspace = np.fft.ifftshift(fft2c(disc(3)), axes=(-2, -1))
    real = volume(tmp_path / "real.h5", images=disc(3), kspace=np.stack([kspace.real, kspace.imag], -1))
    options = {"complex_axis": "last", "shift": True}
    write_kspace_shards(index_volumes(real, "reconstruction_esc", complex_axis="last"), tmp_path / "out", **options)
    for one, other in zip(everything(masked_pairs(tmp_path / "real.h5", **options)), everything(masked_pairs(tmp_path / "out"))):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("options", [{}, {"shuffle": True, "mask_seed": None, "metadata": True, "drop_remainder": True}])
def test_no_python_when_the_data_flow_and_shapes_are_static(plain, options):
    assert python_in(masked_pairs(plain / "in", target="kspace", **options)) == {"PyFunc"}
    with on_tpu():
        shards = masked_pairs(plain / "out", **options)
    assert python_in(shards) == set()
    assert shards.element_spec[0].shape[1:] == (32, 32, 1) and (shards.element_spec[0].shape[0] == 8) == bool(options)


def columns_sampled(dataset):
    """For each target, by its bytes, the columns that its k-space keeps in the input (raw units, uncropped)."""
    found = {}
    for small, large in dataset.unbatch().as_numpy_iterator():
        spectrum = np.abs(np.fft.fftshift(np.fft.fft2(small[..., 0]))).sum(0)
        found[large.tobytes()] = tuple(spectrum > 1e-3 * spectrum.max())
    return found


@WAYS
def test_fresh_masks_depend_on_seed_epoch_and_slice_alone(tmp_path, way):
    """Real non-negative images, so that the magnitude does not disturb which columns of the k-space are seen."""
    rng = np.random.default_rng(0)
    images = (5 + rng.random((12, 32, 32))).astype(np.float32)
    volume(tmp_path / "in" / "a.h5", kspace=fft2c(images.astype(np.complex64)), reconstruction_esc=images)
    write_kspace_shards(index_volumes(tmp_path / "in", "reconstruction_esc"), tmp_path / "out")

    def masks(epoch, seed=0, **options):
        with way():
            return columns_sampled(masked_pairs(tmp_path / "out", 4, mask_seed=None, seed=seed, scaling="none", crop=32,
                                                clock=EpochClock(epoch), **options))

    first = masks(0)
    assert len(set(first.values())) > 6 and first == masks(0)
    for other in (masks(1), masks(0, seed=1)):
        assert other.keys() == first.keys() and sum(other[key] != first[key] for key in first) > 6
    assert FRESH_MASKS > 1000


def test_more_than_a_hundred_patients_keep_their_order():
    class Person:
        def __init__(self, patient):
            self.patient = patient

    names = [f"{n:03d}" for n in range(120)]
    stand_ins = _stand_ins([Person(name) for name in reversed(names)])
    assert [stand_ins[name] for name in names] == sorted(stand_ins.values())


ENLARGING = ("srrescycgan", "--preset", "small", "--set", "filters=2", "--set", "n_blocks=1", "--batch-size", 2, "--crop", 16)


@pytest.mark.parametrize("words", [("unet_gan", *TINY), pytest.param(ENLARGING, marks=pytest.mark.slow)], ids=lambda w: w[0])
def test_training_on_shards_gives_the_table_of_the_files(capsys, plain, tmp_path, tiny_unet, words):
    """Shuffled, with fresh masks or patches, interrupted: the same people, losses, scores and weights, bit by bit."""
    model, *options = words
    task, key = ("masked", "--target") if model == "unet_gan" else ("superres", "--key")
    converted = call(capsys, "convert", plain / "in", tmp_path / "shards", "--task", task, key, "reconstruction_esc", "--shards",
                     2, "--json")
    assert converted.code == 0 and converted.json()["slices"] == 18
    runs = []
    for data, epochs in ((plain / "in", (2,)), (tmp_path / "shards", (1, 2))):
        out = tmp_path / f"run_{data.name}"
        for number in epochs:
            more = ("--resume",) if out.exists() else ()
            result = call(capsys, "train", model, "--data", data, "--out", out, *options, "--epochs", number, "--seed", 4, *more)
            assert result.code == 0, result.err
        runs.append([json.loads((out / name).read_text()) for name in ("run.json", "history.json")])
    (one, history), (other, found) = runs
    assert one["data"]["validation"] == other["data"]["validation"]
    table = {name: value for name, value in one.items() if name.startswith(("best_", "baseline_"))}
    assert len(table) == 3 and table.items() <= other.items()
    assert [{**row, "seconds": 0} for row in history] == [{**row, "seconds": 0} for row in found] and len(history) == 2
    weights = [arrays(tmp_path / name / "generator.weights.h5") for name in ("run_in", "run_shards")]
    for name in weights[0]:
        np.testing.assert_array_equal(weights[0][name], weights[1][name], name)


def test_what_shards_cannot_honour_is_refused(capsys, folders, plain, tmp_path):
    for options, message in [({"combine": "rss"}, "received combine"), ({"shift": True}, "received shift"),
                             ({"nan": "zero"}, "received nan"), ({"kspace_key": "other"}, "received kspace_key"),
                             ({"target": "reconstruction_rss"}, "converted from reconstruction_esc")]:
        with pytest.raises(UsageError, match=message):
            masked_pairs(folders / "out", **options)
    with pytest.raises(DataError, match=r"shards for the task 'masked', expected 'superres'; .*--task superres"):
        create_paired_dataset(plain / "out", "superres")
    for options in ({"kspace_key": "kspace_4af"}, {"complex_axis": "last"}):
        with pytest.raises(UsageError, match=f"received {next(iter(options))}"):
            masked_pairs(index_masked(folders / "out"), **options)
    with pytest.raises(UsageError, match="There is no slice 3"):
        masked_pairs(index_masked(folders / "out"), samples=[(0, 3)])
    images = np.stack([disc()] * 3, 1)
    volume(tmp_path / "coils" / "a.h5", kspace=images, reconstruction_esc=np.abs(disc()).astype(np.float32))
    assert "coil axis (3 coils)" in call(capsys, "convert", tmp_path / "coils", tmp_path / "o", "--task", "masked").err
    undersampled = tmp_path / "undersampled"
    undersampled.mkdir()
    shutil.copy(folders / "in" / "e.h5", undersampled)
    volume(undersampled / "a.h5", images=disc(3))  # one that is whole comes first
    refused = call(capsys, "convert", undersampled, tmp_path / "o", "--task", "masked", "--target", "kspace")
    assert refused.code and "would equal the input" in refused.err and results(tmp_path / "o") == []
    assert "--shift is for --task masked" in call(capsys, "convert", plain / "in", tmp_path / "o", "--shift").err


@pytest.mark.parametrize(("name", "value", "message"), [
    ("image_height", 31, "bytes together"), ("width", 4000, "bytes together"), ("kspace_key", 7, "expected a text"),
    ("key", "kspace", "bytes together"), ("image_width", True, "whole number from 1"),
])
def test_manifest_that_lies(folders, tmp_path, name, value, message):
    shutil.copytree(folders / "out", tmp_path / "out")
    rows = json.loads((tmp_path / "out" / "shards.json").read_text())
    for row in rows["volumes"] if name == "key" else rows["volumes"][:1]:
        row[name] = value
    (tmp_path / "out" / "shards.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=message):
        everything(masked_pairs(tmp_path / "out", 1))


def test_records_that_lie(folders, tmp_path):
    """A record whose arrays have other sizes, whose mask is cut or whose numbers are not finite is refused, not read."""
    import tensorflow as tf

    changes = {"columns": b"\0" * 8, "target": b"\0\0\xc0\x7f" * 400, "mask": b"\1" * 3, "maximum": b"\0" * 7}
    for place, (name, content) in enumerate(changes.items()):
        out = tmp_path / str(place)
        shutil.copytree(folders / "out", out)
        path = next(out.glob("*-00000-*.tfrecord"))
        records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
        example = tf.train.Example.FromString(records[0])
        example.features.feature[name].bytes_list.value[0] = content
        with tf.io.TFRecordWriter(str(path)) as writer:
            for record in [example.SerializeToString(), *records[1:]]:
                writer.write(record)
        rows = json.loads((out / "shards.json").read_text())
        rows["shards"][0]["bytes"] = path.stat().st_size
        (out / "shards.json").write_text(json.dumps(rows))
        with pytest.raises(DataError, match="NaN or infinity" if name == "target" else "another size|bytes together"):
            masked_pairs(out, 1)
