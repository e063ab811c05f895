"""NIfTI, PNG and HDF5 images, and finding them: told by content, nothing guessed about units, hostile files refused."""

import gzip
import struct
import sys
import zlib

import numpy as np
import pytest
from ct_tools import dicom, hdf5, head, nifti, png, series

from tfrecon.data import ImageReader, index_images
from tfrecon.data.ct import choose_window, parse_window, stem
from tfrecon.errors import DataError, NonFiniteError, ResourceError, UsageError

try:
    import nibabel
except ImportError:
    nibabel = None
needs_nibabel = pytest.mark.skipif(nibabel is None, reason="nibabel is not installed")


def read(path, **options):
    (volume,) = index_images(path, strict=True).volumes
    with ImageReader(**options) as reader:
        return volume, np.stack([reader.slice(volume, i) for i in range(volume.slices)])


def refused(path, *fragments, **options):
    with pytest.raises(DataError) as caught:
        index_images(path, strict=True, **options)
    assert "\n" not in str(caught.value) and "Secret" not in str(caught.value)
    for fragment in fragments:
        assert fragment in str(caught.value)


@needs_nibabel
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("dtype, slope", [
    (np.int16, None), (np.int16, 0.5), (np.float32, None), (np.float64, None), (np.int32, 1),
])
def test_nifti_slices_lie_along_the_last_axis(tmp_path, name, version, dtype, slope):
    images = head(3, 20, 14)
    volume, found = read(nifti(tmp_path / name, images, dtype, slope, 100 if slope else None, version=version))
    assert (volume.kind, volume.name, volume.format) == ("hu", name, "nifti") and "unit" in volume.notes[0]
    reference = np.moveaxis(nibabel.load(tmp_path / name).get_fdata(), -1, 0).swapaxes(1, 2)
    np.testing.assert_array_equal(found, reference.astype(np.float32))
    assert volume.rescale[0] == (slope or 1.0, 100.0 if slope else 0.0)


@needs_nibabel
def test_nifti_in_the_other_byte_order_and_of_other_shapes(tmp_path):  # rows 8, 10, 25
    images = head(2, 20, 14)
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    image = nibabel.Nifti1Image(np.moveaxis(images, 0, -1).swapaxes(0, 1).astype(">i2"), np.eye(4), header)
    nibabel.save(image, tmp_path / "b.nii")
    np.testing.assert_array_equal(read(tmp_path / "b.nii")[1], images)
    flat = nibabel.Nifti1Image(images[0].T.astype(np.int16), np.eye(4))
    nibabel.save(flat, tmp_path / "f.nii")
    np.testing.assert_array_equal(read(tmp_path / "f.nii")[1], images[:1])
    four = np.moveaxis(images, 0, -1).swapaxes(0, 1).astype(np.int16)[..., None]
    nibabel.save(nibabel.Nifti1Image(four, np.eye(4)), tmp_path / "t.nii")
    np.testing.assert_array_equal(read(tmp_path / "t.nii")[1], images)
    nibabel.save(nibabel.Nifti1Image(np.repeat(four, 2, -1), np.eye(4)), tmp_path / "s.nii")
    refused(tmp_path / "s.nii", "(14, 20, 2, 2)", "a file of its own")
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 4, 5), np.complex64), np.eye(4)), tmp_path / "c.nii")
    refused(tmp_path / "c.nii", "complex64", "real numbers")


@needs_nibabel
def test_a_nifti_of_bytes_is_grey(tmp_path):  # row 26
    volume, found = read(nifti(tmp_path / "a.nii", head() % 250, np.uint8))
    assert (volume.kind, volume.grey_range) == ("grey", (0.0, 255.0)) and found.max() > 100


@needs_nibabel
def test_nifti_that_lies_about_its_size(tmp_path):  # row 14
    good = nifti(tmp_path / "a.nii", head(2, 20, 14))
    data = bytearray(good.read_bytes())
    (tmp_path / "cut.nii").write_bytes(data[:-10])
    refused(tmp_path / "cut.nii", "truncated", "1110", "1120")
    struct.pack_into("<4h", data, 40, 3, 16384, 16384, 30000)
    (tmp_path / "big.nii").write_bytes(data)
    refused(tmp_path / "big.nii", "truncated")
    (tmp_path / "bomb.nii.gz").write_bytes(gzip.compress(bytes(data)))
    refused(tmp_path / "bomb.nii.gz", "cannot unpack")
    struct.pack_into("<4h", data, 40, 3, -3, 5, 2)
    (tmp_path / "neg.nii").write_bytes(data)
    refused(tmp_path / "neg.nii", "empty")


@needs_nibabel
def test_a_gzip_bomb_is_unpacked_no_further_than_declared(tmp_path):
    raw = nifti(tmp_path / "a.nii", head(2, 20, 14)).read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(raw + bytes(2**26)))
    volume, _ = read(tmp_path / "b.nii.gz")
    with ImageReader() as reader:
        reader.slice(volume, 0)
        assert sum(map(len, reader._unpacked.values())) == len(raw)
    packed = gzip.compress(raw)
    (tmp_path / "c.nii.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match="truncated"):
        read(tmp_path / "c.nii.gz")


@needs_nibabel
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite(tmp_path, value):
    images = head(2, 20, 14)
    images[1, 3, 4] = value
    path = nifti(tmp_path / "a.nii", images, np.float32)
    with pytest.raises(NonFiniteError, match="slice 1 has 1 values"):
        read(path)
    assert read(path, nan="air")[1][1, 3, 4] == -1024
    with pytest.raises(UsageError, match="nan"):
        ImageReader(nan="zero")


@needs_nibabel
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_bit_flips_and_cuts_of_nifti(tmp_path, name):
    good, ends = nifti(tmp_path / name, head(2, 12, 10)).read_bytes(), {"read": 0, "refused": 0}
    rng = np.random.default_rng(0)
    for _ in range(150):
        data = bytearray(good[: rng.integers(1, len(good))] if rng.random() < 0.3 else good)
        for place in rng.integers(0, min(len(data), 400), 2):
            data[place] ^= 1 << rng.integers(8)
        (tmp_path / name).write_bytes(data)
        try:
            read(tmp_path / name)
            ends["read"] += 1
        except DataError as error:
            assert "\n" not in str(error)
            ends["refused"] += 1
    assert ends["refused"] > 20


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_keeps_its_levels_and_asks_for_a_window(tmp_path, dtype):  # rows 26, 82
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (7, 9)).astype(dtype)
    path = png(tmp_path / "a.png", image)
    volume, found = read(path)
    np.testing.assert_array_equal(found[0], image.astype(np.float32))
    bits = np.iinfo(dtype).bits
    with pytest.raises(DataError, match=f'grey levels \\({bits} bits\\), not Hounsfield units.*--window grey'):
        choose_window(None, volume)
    refused(path, "in Hounsfield units", "--window grey", window="brain")
    window = choose_window("grey", volume)
    assert (window.low, window.low + window.width) == (0, np.iinfo(dtype).max)
    assert window.to_network([0, np.iinfo(dtype).max]).tolist() == [-1, 1]
    assert choose_window("100,50", volume).low == 75  # numbers are meant in the file's own levels


def test_png_with_three_equal_channels_and_others(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (7, 9)).astype(np.uint8)
    rgb = np.repeat(grey[..., None], 3, -1)
    np.testing.assert_array_equal(read(png(tmp_path / "a.png", rgb))[1][0], grey)
    rgb[0, 0, 0] ^= 1
    refused(png(tmp_path / "b.png", rgb), "colours")
    refused(png(tmp_path / "c.png", np.dstack([rgb, grey])), "transparency")


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_png_bombs_and_damage(tmp_path):
    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(bomb)
    refused(tmp_path / "a.png", "30000 x 30000", "limit")
    good = png(tmp_path / "b.png", np.random.default_rng(0).integers(0, 256, (20, 30)).astype(np.uint8)).read_bytes()
    rng, ends = np.random.default_rng(0), {"read": 0, "refused": 0}
    for _ in range(150):
        data = bytearray(good[: rng.integers(1, len(good))] if rng.random() < 0.3 else good)
        for place in rng.integers(0, len(data), 3):
            data[place] ^= 1 << rng.integers(8)
        (tmp_path / "b.png").write_bytes(data)
        try:
            read(tmp_path / "b.png")
            ends["read"] += 1
        except DataError as error:
            assert "\n" not in str(error)
            ends["refused"] += 1
    assert ends["refused"] > 20


def test_hdf5_images_by_key(tmp_path):
    images = head(2)
    volume, found = read(hdf5(tmp_path / "a.h5", hu=images, other=images))
    np.testing.assert_array_equal(found, images)
    assert volume.notes == () and volume.kind == "hu"
    volume, _ = read(hdf5(tmp_path / "b.h5", reconstruction=images[0].astype("i2")))
    assert "unit" in volume.notes[0] and volume.slices == 1
    assert index_images(hdf5(tmp_path / "c.h5", scan=images), key="scan").slices == 2
    refused(hdf5(tmp_path / "d.h5", hu=np.zeros((0, 4, 5))), "no slices")  # row 9
    refused(hdf5(tmp_path / "e.h5", hu=np.zeros((2, 3, 4, 5))), "(slices, H, W)")
    refused(hdf5(tmp_path / "f.h5", hu=np.zeros((2, 3, 4), complex)), "complex128")


def test_raw_data_are_pointed_to_what_is_supported(tmp_path):  # row 83
    refused(hdf5(tmp_path / "a.h5", **{"dataset/data": np.zeros(3), "dataset/xml": "x"}), "ISMRMRD", "NIfTI (.nii, .nii.gz)")
    refused(hdf5(tmp_path / "b.h5", kspace=np.zeros((2, 3, 4), complex)), "k-space", "masked")


@pytest.mark.parametrize("content, fragment", [
    (b"", "empty file"), (b"\xff\xd8\xff\xe0", "JPEG"), (b"II*\x00", "TIFF"), (b"NRRD0004", "NRRD"),
    (b"hello", "68 65 6c 6c"),
    (gzip.compress(b"x" * 400, mtime=0), "without a NIfTI"), (b"version https://git-lfs.github.com", "git lfs pull"),
    (bytes(344) + b"ni1\0", "pair"),
])
def test_other_files_are_named_for_what_they_are(tmp_path, content, fragment):
    (tmp_path / "a.nii").write_bytes(content)
    refused(tmp_path / "a.nii", fragment)


def test_content_tells_the_format_and_folders_keep_relative_names(tmp_path):  # rows 50, 51
    png(tmp_path / "sub" / "übung [1] *.png", np.zeros((4, 5), np.uint8))
    png(tmp_path / "-dash.png", np.zeros((4, 5), np.uint8)).rename(tmp_path / "-dash.dcm")
    hdf5(tmp_path / "sub" / "x", hu=head(1))
    (tmp_path / "readme.txt").write_text("x")
    (tmp_path / "empty.dcm").write_bytes(b"")
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.dcm").symlink_to(tmp_path / "nowhere")
    index = index_images(tmp_path)
    assert [(v.name, v.format) for v in index.volumes] == [
        ("-dash.dcm", "png"), ("sub/x", "hdf5"), ("sub/übung [1] *.png", "png")]
    assert {s.name for s in index.skipped} == {"empty.dcm", "loop", "gone.dcm"}
    with pytest.raises(DataError, match="gone.dcm|empty.dcm|loop"):
        index_images(tmp_path, strict=True)


def test_nothing_to_read(tmp_path):  # rows 41, 42
    (tmp_path / "a.tar.gz").write_bytes(b"x")
    refused(tmp_path, "no images in", ".tar.gz x1", "DICOM")
    refused(tmp_path / "nowhere", "does not exist")
    refused([], "no files given")
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(DataError, match="empty file"):
        index_images(tmp_path)


def test_equal_names_from_a_list_are_refused(tmp_path):  # row 50
    paths = [png(tmp_path / d / "a.png", np.zeros((4, 5), np.uint8)) for d in "xy"]
    refused(paths, "share the name a.png")


def test_missing_packages_are_named(tmp_path, monkeypatch):
    (tmp_path / "a.nii").write_bytes(bytes(344) + b"n+1\0" + bytes(100))
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(ResourceError, match=r"nibabel.*tfrecon\[dicom\]"):
        index_images(tmp_path)


@pytest.mark.parametrize("window, expected", [
    ("brain", (40, 80)), ("Soft Tissue", (50, 400)), ("head-wide", (300, 1400)), ((-600, 1500), (-600, 1500)),
    ("40,80", (40, 80)), (np.array([1, 2]), (1, 2)),
])
def test_windows_by_name_and_numbers(window, expected):
    found = parse_window(window)
    assert (found.centre, found.width) == expected


@pytest.mark.parametrize("window", ["brian", (40, 0), (40, -80), (np.nan, 80), (40,), (1, 2, 3), 40, "40;80", object()])
def test_no_windows(window):
    with pytest.raises(UsageError, match="one of brain.*received"):
        parse_window(window)


def test_window_maps_hounsfield_units_and_writes_back_what_it_never_showed():
    window = parse_window("brain")
    values = np.array([-1024, 0, 40, 80, 1500.5], np.float32)
    seen = window.to_network(values)
    assert seen.dtype == np.float32 and seen.tolist() == [-1, -1, 0, 1, 1]
    np.testing.assert_array_equal(window.write_back(values, seen, seen), values)
    np.testing.assert_allclose(window.write_back(values, seen, seen + 0.5), values + 20)


def test_grey_is_no_window_for_hounsfield_units(tmp_path):
    path = hdf5(tmp_path / "a.h5", hu=head(1))
    refused(path, "Hounsfield units", "expected grey levels", window="grey")


@pytest.mark.parametrize("name, expected", [
    ("a/b.nii.gz", "a/b"), ("b.DCM", "b"), ("x.h5", "x"), ("series-01", "series-01"), ("a.b.png", "a.b"), (".png", ".png"),
    ("d/.nii", "d/.nii"), ("v1.5", "v1.5"),
])
def test_stems(name, expected):
    assert stem(name) == expected


def test_splits_hold_for_image_volumes(tmp_path):
    pytest.importorskip("pydicom")
    from tfrecon.data import check_no_shared_patient, folds, pseudonyms, split, split_slices

    for i in range(4):
        series(tmp_path / f"scan{i}", head(3), SeriesInstanceUID=f"1.2.{i}", PatientID=f"SECRET-{i // 2}")
    dicom(tmp_path / "other.dcm", head(1)[0].astype("<i2"), PatientID="SECRET-9")
    index = index_images(tmp_path, "bone")
    for parts in [split(index, (0.5, 0.5), s) for s in range(4)] + folds(index, 3):
        check_no_shared_patient(*parts)
        assert sorted(v.name for p in parts for v in p.volumes) == [v.name for v in index.volumes]
        assert all(part.window == "bone" for part in parts)
    names = pseudonyms(index.volumes)
    assert len(set(names.values())) == 3 and names["scan0"] == names["scan1"]
    with pytest.raises(DataError, match="other.dcm") as caught:
        check_no_shared_patient(index, index)
    assert "SECRET" not in str(caught.value)
    with pytest.raises(UsageError, match="allow_leak=True"):
        split_slices(index, (0.5, 0.5))
    train, test = split_slices(index, (0.7, 0.3), allow_leak=True)
    assert len(train) == 9 and not set(train) & set(test) and sorted(train + test) == train + test
    with pytest.raises(UsageError, match="sum to 1"):
        split_slices(index, (0.7, 0.7), allow_leak=True)


def test_pngs_of_one_folder_count_as_one_person(tmp_path):
    for folder in "ab":
        for i in range(2):
            png(tmp_path / folder / f"{i}.png", np.zeros((4, 5), np.uint8))
    patients = [v.patient for v in index_images(tmp_path).volumes]
    assert len(set(patients)) == 2 and patients[0] == patients[1]


def test_files_that_are_no_images_are_counted_once(tmp_path):
    for name in ("a.h5", "b.h5"):
        hdf5(tmp_path / name, scan=np.zeros((2, 8, 8), np.float32))
    with pytest.raises(DataError, match="no usable image among 2 files"):
        index_images(tmp_path)
