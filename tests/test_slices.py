"""Slices as they leave a file: every way of storing them gives the same numbers, and none that are not finite."""

import hashlib
import os
import threading

import h5py
import numpy as np
import pytest

from tfrecon.data.index import index_volumes
from tfrecon.data.slices import SliceReader
from tfrecon.errors import DataError, UsageError

RNG = np.random.default_rng(0)
# Quarters are exact in float16, so every way of storing them must return exactly these numbers.
VALUES = (RNG.integers(-99, 99, (2, 3, 6, 5)) / 4 + 1j * RNG.integers(-99, 99, (2, 3, 6, 5)) / 4).astype(np.complex64)
IMAGES = RNG.integers(0, 99, (2, 4, 3)).astype(np.float32)


def volume_of(path, complex_axis=None, target=None, **datasets):
    with h5py.File(path, "w") as file:
        for key, value in datasets.items():
            file[key] = value
    return index_volumes(path, target=target, complex_axis=complex_axis).volumes[0]


def pair(values, names, dtype):
    stored = np.empty(values.shape, [(name, dtype) for name in names])
    for name in names:
        stored[name] = values.real if name.startswith("r") else values.imag
    return stored


def stacked(values, dtype):
    return np.stack([values.real, values.imag], -1).astype(dtype)


STORED = {
    "complex64": lambda v: v,
    "row_23_complex128": lambda v: v.astype("c16"),
    "row_25_big_endian": lambda v: v.astype(">c8"),
    "row_22_half_pairs": lambda v: pair(v, ("r", "i"), "f2"),
    "row_22_named_pairs": lambda v: pair(v, ("imag", "real"), "f4"),
    "row_22_big_endian_pairs": lambda v: pair(v, ("real", "imag"), ">f8"),
    "row_19_last_axis": lambda v: stacked(v, "f4"),
    "row_19_last_axis_float64": lambda v: stacked(v, ">f8"),
    "row_24_last_axis_float16": lambda v: stacked(v, "f2"),
}


@pytest.mark.parametrize("coils", [True, False], ids=["coils", "single"])
@pytest.mark.parametrize("name", STORED)
def test_every_way_of_storing_gives_the_same_slice(tmp_path, name, coils):
    values = VALUES if coils else VALUES[:, 0]
    volume = volume_of(tmp_path / "a.h5", kspace=STORED[name](values), complex_axis="last")
    with SliceReader(complex_axis="last") as reader:
        for i in range(2):
            found = reader.kspace(volume, i)
            assert found.dtype == np.complex64 and found.dtype.isnative and found.shape == values[i].shape
            np.testing.assert_array_equal(found, values[i])


@pytest.mark.parametrize("stored", [VALUES[0, 0], stacked(VALUES[0, 0], "f4")], ids=["row_8_2d", "row_20_hw2"])
def test_a_slice_without_a_slice_axis(tmp_path, stored):
    volume = volume_of(tmp_path / "a.h5", kspace=stored, rss=IMAGES[0], target="rss")
    with SliceReader() as reader:
        np.testing.assert_array_equal(reader.kspace(volume, 0), VALUES[0, 0])
        np.testing.assert_array_equal(reader.target(volume, 0), IMAGES[0])


@pytest.mark.parametrize("dtype", ["f4", ">f4", "f8", "f2", "u1", ">i2", "i8"])
def test_row_26_targets_keep_their_values(tmp_path, dtype):
    volume = volume_of(tmp_path / "a.h5", kspace=VALUES, rss=IMAGES.astype(dtype), target="rss")
    with SliceReader() as reader:
        found = reader.target(volume, 1)
    assert found.dtype == np.float32 and found.dtype.isnative
    np.testing.assert_array_equal(found, IMAGES[1])


def spoiled(part):
    values = VALUES[:, 0].copy()
    values[1, 2, 3] += part
    values[1, 0, 0] = np.nan
    return values


@pytest.mark.parametrize("part", [np.inf, -np.inf, complex(0, np.inf), complex(0, -np.inf)])
def test_row_15_values_that_are_not_finite_are_counted_and_located(tmp_path, part):
    values = spoiled(part)
    volume = volume_of(tmp_path / "a.h5", kspace=values)
    with SliceReader() as reader:
        np.testing.assert_array_equal(reader.kspace(volume, 0), values[0])
        with pytest.raises(DataError, match=r"a\.h5: kspace slice 1 has 1 NaN and 1 infinite values of 30.*--nan zero"):
            reader.kspace(volume, 1)


def test_row_15_zero_replaces_only_what_is_not_finite(tmp_path):
    values = spoiled(np.inf)
    volume = volume_of(tmp_path / "a.h5", kspace=values, rss=np.full((2, 2, 2), np.nan, "f4"), target="rss")
    with SliceReader(nan="zero") as reader:
        found = [reader.kspace(volume, 1) for _ in range(2)][1]
        assert (reader.target(volume, 0) == 0).all()
        assert reader.replaced == {("a.h5", "kspace", 1): 2, ("a.h5", "rss", 0): 4}
        assert reader.take_replaced("b.h5") == {} and reader.take_replaced("a.h5", "kspace") == {1: 2}
        assert reader.replaced == {}  # those of a file that is done are forgotten
    np.testing.assert_array_equal(found, np.where(np.isfinite(values[1]), values[1], 0))


@pytest.mark.parametrize("stored", [np.full((1, 2, 2), 1e300 + 0j), pair(np.full((1, 2, 2), np.inf), "ri", "f2")],
                         ids=["row_23_complex128", "row_24_float16"])
def test_row_24_overflow_of_a_cast_is_not_silent(tmp_path, stored):
    volume = volume_of(tmp_path / "a.h5", kspace=stored)
    with SliceReader() as reader, pytest.raises(DataError, match="0 NaN and 4 infinite values"):
        reader.kspace(volume, 0)


def test_row_24_large_finite_values_pass(tmp_path):
    volume = volume_of(tmp_path / "a.h5", kspace=np.full((1, 2, 2), 3e38 + 3e38j, np.complex64))
    with SliceReader() as reader:
        assert np.isfinite(reader.kspace(volume, 0)).all()


@pytest.mark.parametrize("shape", [(6, 5), (3, 4, 7)])
def test_row_40_shift_moves_the_corner_to_the_centre(tmp_path, shape):
    values = np.zeros((1, *shape), np.complex64)
    values[..., 0, 0] = 1
    volume = volume_of(tmp_path / "a.h5", kspace=values)
    with SliceReader(shift=True) as reader:
        found = reader.kspace(volume, 0)
    assert (found[..., shape[-2] // 2, shape[-1] // 2] == 1).all() and found.sum() == values.sum()


def test_row_4_damaged_chunk_is_a_data_error_with_the_slice(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", data=VALUES, chunks=(1, 3, 6, 5), fletcher32=True)
        place = file["kspace"].id.get_chunk_info(1).byte_offset
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    volume = index_volumes(path).volumes[0]
    with SliceReader() as reader:
        np.testing.assert_array_equal(reader.kspace(volume, 0), VALUES[0])
        with pytest.raises(DataError, match=r"a\.h5: reading slice 1 of kspace failed"):
            reader.kspace(volume, 1)


@pytest.mark.parametrize("opened", [False, True], ids=["before_opening", "while_open"])
def test_row_89_file_that_vanishes_or_changes_is_noticed(tmp_path, opened):
    path = tmp_path / "a.h5"
    volume = volume_of(path, kspace=VALUES)
    with SliceReader() as reader:
        if opened:
            reader.kspace(volume, 0)
        path.rename(tmp_path / "b.h5")
        with pytest.raises(DataError, match="does not exist"):
            reader.kspace(volume, 0)
        again = volume_of(path, kspace=VALUES[:, :2] * 2)
        with pytest.raises(DataError, match="changed since it was indexed"):
            reader.kspace(volume, 0)
        np.testing.assert_array_equal(reader.kspace(again, 0), VALUES[0, :2] * 2)


def test_other_arrays_under_the_same_stamp_are_noticed(tmp_path):
    path = tmp_path / "a.h5"
    volume = volume_of(path, kspace=VALUES, rss=IMAGES, target="rss")
    volume_of(path, kspace=VALUES[:, :2], rss=IMAGES[:, :2])
    object.__setattr__(volume, "stamp", None)
    with SliceReader() as reader:
        with pytest.raises(DataError, match="kspace now has the shape"):
            reader.kspace(volume, 0)
        with pytest.raises(DataError, match="rss now has the shape"):
            reader.target(volume, 0)


def test_few_files_stay_open_and_close_closes_all(tmp_path):
    volumes = [volume_of(tmp_path / f"{i}.h5", kspace=VALUES + i) for i in range(4)]
    before = len(os.listdir("/proc/self/fd"))
    with SliceReader(max_open_files=2) as reader:
        for i in (0, 1, 0, 2, 3, 0):
            np.testing.assert_array_equal(reader.kspace(volumes[i], 1), VALUES[1] + i)
            assert len(os.listdir("/proc/self/fd")) <= before + 2
    assert len(os.listdir("/proc/self/fd")) == before


def test_threads_do_not_close_each_others_files(tmp_path):
    volumes = [volume_of(tmp_path / f"{i}.h5", kspace=VALUES + i) for i in range(3)]
    wrong = []

    def work(start):
        for n in range(60):
            i = (start + n) % 3
            if not np.array_equal(reader.kspace(volumes[i], 0), VALUES[0] + i):
                wrong.append(i)

    with SliceReader(max_open_files=1) as reader:
        threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_row_47_reading_leaves_a_read_only_file_untouched(tmp_path):
    path = tmp_path / "a.h5"
    volume = volume_of(path, kspace=VALUES, rss=IMAGES, target="rss")
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    path.chmod(0o444)
    with SliceReader(nan="zero", shift=True) as reader:
        reader.kspace(volume, 0)[:] = 0
        reader.target(volume, 1)[:] = 0
        assert reader.target(volume, 1).any()
    assert before == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("options", [{"nan": "ignore"}, {"complex_axis": "first"}, {"max_open_files": 0}])
def test_options_out_of_range(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        SliceReader(**options)


def test_slices_and_targets_that_do_not_exist(tmp_path):
    volume = volume_of(tmp_path / "a.h5", kspace=VALUES)
    with SliceReader() as reader:
        for i in (-1, 2):
            with pytest.raises(UsageError, match=f"0 to 1 for a.h5, received {i}"):
                reader.kspace(volume, i)
        with pytest.raises(UsageError, match="without a target"):
            reader.target(volume, 0)


def test_reader_and_index_must_agree_on_the_complex_axis(tmp_path):
    volume = volume_of(tmp_path / "a.h5", kspace=stacked(VALUES, "f4"), complex_axis="last")
    with SliceReader() as reader, pytest.raises(DataError, match="--complex-axis last"):
        reader.kspace(volume, 0)
