"""The index of volumes: which files are taken, which set aside, and in which words.

Row numbers are those of the list of bad inputs.
"""

import hashlib
import os

import h5py
import numpy as np
import pytest

from tfrecon.data.index import find_files, index_volumes
from tfrecon.errors import DataError, UsageError

KSPACE = np.ones((2, 6, 5), np.complex64)
IMAGES = np.ones((2, 4, 4), np.float32)


def write(path, attributes=(), **datasets):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs.update(dict(attributes))
        for key, value in datasets.items():
            file[key] = value
    return path


def only(path, **options):
    (volume,) = index_volumes(path, **options).volumes
    return volume


def refused(path, *fragments, **options):
    """Strict raises; alone in its folder the file leaves nothing to do, and the reason is listed."""
    for strict in (True, False):
        with pytest.raises(DataError) as caught:
            index_volumes(path, strict=strict, **options)
        for fragment in fragments:
            assert fragment in str(caught.value)


@pytest.fixture
def good(tmp_path):
    return write(tmp_path / "data" / "sub" / "good.h5", {"patient_id": "P1", "max": np.float32(2)}, kspace=KSPACE,
                 reconstruction_esc=IMAGES, mask=np.array([1, 0, 1, 0, 1], np.float32), ismrmrd_header="<xml/>")


def test_a_volume_tells_everything_the_header_holds(good):
    index = index_volumes(good.parents[1], target="reconstruction_esc")
    (volume,) = index.volumes
    assert (volume.path, volume.name, volume.kspace_key) == (str(good), "sub/good.h5", "kspace")
    assert (volume.slices, volume.coils, volume.height, volume.width) == (2, None, 6, 5)
    assert (volume.target_key, volume.target_shape) == ("reconstruction_esc", (4, 4))
    assert volume.attributes == {"patient_id": "P1", "max": 2.0} and volume.patient == "P1"
    assert volume.mask.dtype == bool and volume.mask.tolist() == [True, False, True, False, True]
    assert (index.slices, index.skipped, volume.notes) == (2, (), ())


def test_the_index_reads_headers_only_and_changes_nothing(good, monkeypatch):
    before = hashlib.sha256(good.read_bytes()).hexdigest()
    good.chmod(0o444)
    read, plain = [], h5py.Dataset.__getitem__
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda self, *a: read.append(self.name) or plain(self, *a))
    index_volumes(good, target="reconstruction_esc")
    assert read == ["/mask"] and before == hashlib.sha256(good.read_bytes()).hexdigest()


@pytest.mark.parametrize(("patient_id", "patient"), [(None, "a.h5"), ("", "a.h5"), (7, "7")])
def test_patient_falls_back_to_the_name(tmp_path, patient_id, patient):
    attributes = {} if patient_id is None else {"patient_id": patient_id}
    assert only(write(tmp_path / "a.h5", attributes, kspace=KSPACE)).patient == patient


@pytest.mark.parametrize("bad", [b"", b"<html>", b"\x89HDF\r\n\x1a\n"])
def test_rows_1_to_3_one_bad_file_is_set_aside_and_strict_raises(good, bad):
    (good.parent / "bad.h5").write_bytes(bad)
    index = index_volumes(good.parent)
    assert [v.name for v in index.volumes] == ["good.h5"] and [s.name for s in index.skipped] == ["bad.h5"]
    assert str(good.parent) not in index.skipped[0].reason
    with pytest.raises(DataError, match=r"bad\.h5"):
        index_volumes(good.parent, strict=True)


def test_row_5_target_missing_in_a_test_file(tmp_path):
    path = write(tmp_path / "a.h5", kspace=KSPACE, mask=np.ones(5))
    refused(path, "no key reconstruction_rss; found kspace, mask",
            "looks like a test split: no target; use reconstruct, not train", target="reconstruction_rss")
    assert only(path, target="kspace").target_key is None


def test_row_49_broken_target_is_not_taken_for_a_test_split(good):
    with h5py.File(good, "a") as file:
        file["rss"] = h5py.SoftLink("/rss")
    refused(good, "broken link rss", target="rss")


def test_row_5_target_of_the_other_track(good):
    refused(good, "no key reconstruction_rss", "choose reconstruction_esc as the target", target="reconstruction_rss")


LAYOUTS = {
    "keras_2": ({"layer_names": ["a"]}, ["dense/kernel"], "Keras weight file"),
    "keras_3": ({}, ["layers/dense/vars/0", "vars/0"], "Keras weight file"),
    "deepinpy": ({}, ["imgs", "ksp", "maps", "masks"], "DeepInPy layout (imgs, ksp, maps, masks): name its"),
    "ismrmrd": ({}, ["dataset/data"], "raw ISMRMRD"),
    "matlab": ({}, ["#refs#/a"], "MATLAB"),
    "result": ({}, ["reconstruction"], "holds images only"),
    "unknown": ({}, ["x"], "name its k-space with --key; found x"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_row_6_other_layouts_are_recognised(tmp_path, name):
    attributes, keys, fragment = LAYOUTS[name]
    refused(write(tmp_path / "a.h5", attributes, **dict.fromkeys(keys, np.ones(2))), "no key kspace", fragment)


def test_key_is_chosen_only_where_there_is_no_choice(tmp_path):
    one = write(tmp_path / "one.h5", kspace_8af=KSPACE)
    both = write(tmp_path / "both.h5", kspace_8af=KSPACE, kspace_4af=KSPACE)
    assert only(one).kspace_key == "kspace_8af"
    refused(both, "both kspace_4af and kspace_8af; name one of them with --key")
    assert only(both, kspace_key="kspace_4af").kspace_key == "kspace_4af"
    refused(one, "no key ksp; found kspace_8af", kspace_key="ksp")


def pairs(names, dtype, shape=(2, 6, 5)):
    return np.ones(shape, [(name, dtype) for name in names])


ACCEPTED = {  # array, sizes, words in the notes, complex_axis
    "row_8_one_slice": (KSPACE[0], (1, None, 6, 5), "one slice", None),
    "row_10_single_slice": (KSPACE[:1], (1, None, 6, 5), "", None),
    "row_11_odd_width": (np.ones((2, 45, 37), "c8"), (2, None, 45, 37), "", None),
    "row_12_smaller_than_any_crop": (np.ones((1, 1, 1), "c8"), (1, None, 1, 1), "", None),
    "coils": (np.ones((2, 3, 6, 5), "c8"), (2, 3, 6, 5), "", None),
    "row_19_real_last_axis": (np.ones((2, 6, 5, 2), "f4"), (2, None, 6, 5), "", "last"),
    "row_19_real_coils": (np.ones((2, 3, 6, 5, 2), "f4"), (2, 3, 6, 5), "", "last"),
    "row_20_real_stack": (np.ones((6, 5, 2), "f4"), (1, None, 6, 5), "one slice of (real, imaginary)", None),
    "row_22_half_pairs": (pairs("ri", "f2"), (2, None, 6, 5), "", None),
    "row_22_named_pairs": (pairs(("imag", "real"), ">f4"), (2, None, 6, 5), "", None),
    "row_23_complex128": (np.ones((2, 6, 5), "c16"), (2, None, 6, 5), "complex128, read as complex64", None),
    "row_23_float64": (np.ones((2, 6, 5, 2)), (2, None, 6, 5), "float64, read as complex64", "last"),
    "row_25_big_endian": (np.ones((2, 6, 5), ">c8"), (2, None, 6, 5), "", None),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_unusual_kspace_is_read_and_said_how(tmp_path, name):
    array, sizes, note, axis = ACCEPTED[name]
    volume = only(write(tmp_path / "a.h5", kspace=array), complex_axis=axis)
    assert (volume.slices, volume.coils, volume.height, volume.width) == sizes
    assert (note in " ".join(volume.notes)) and bool(note) == bool(volume.notes)


REFUSED = {
    "row_7_scalar": (3.0, "must be a 3-D or 4-D complex array, found a single float64 value"),
    "row_7_text": ("text", "must be a 3-D or 4-D complex array, found text"),
    "row_7_integers": (np.ones((2, 6, 5), int), "must be a 3-D or 4-D complex array, found int64 of shape (2, 6, 5)"),
    "row_7_null": (h5py.Empty("c8"), "found an empty dataset"),
    "row_8_five_axes": (np.ones((1, 2, 3, 4, 5), "c8"), "found shape (1, 2, 3, 4, 5)"),
    "row_8_one_axis": (np.ones(5, "c8"), "found shape (5,)"),
    "row_9_no_slices": (np.ones((0, 6, 5), "c8"), "no slices"),
    "no_width": (np.ones((2, 6, 0), "c8"), "is empty (shape (2, 6, 0))"),
    "row_19_real": (np.ones((2, 6, 5), "f4"), "is real (float32, shape (2, 6, 5)), expected complex"),
    "row_19_offer": (np.ones((2, 6, 5, 2), "f4"), "--complex-axis last"),
    "row_22_other_fields": (pairs("xy", "f4"), "must be a 3-D or 4-D complex array"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_kspace_that_cannot_be_meant_is_refused(tmp_path, name):
    array, fragment = REFUSED[name]
    refused(write(tmp_path / "a.h5", kspace=array), "a.h5: kspace", fragment)


def test_row_7_kspace_is_a_group_or_holds_arrays_of_varying_length(tmp_path):
    refused(write(tmp_path / "a.h5", **{"kspace/x": 1}), "a 3-D or 4-D complex array, found a group holding x")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("kspace", (2,), h5py.vlen_dtype("f4"))[0] = np.arange(2)
    refused(tmp_path / "b.h5", "references or arrays of varying length")


def test_rows_14_48_49_hostile_kspace_is_set_aside(good):
    with h5py.File(good.parent / "bomb.h5", "w") as file:
        file.create_dataset("kspace", (4000, 16, 4096, 4096), np.complex64, chunks=(1, 1, 64, 64))
    with h5py.File(good.parent / "link.h5", "w") as file:
        file["kspace"] = h5py.ExternalLink("good.h5", "/kspace")
        file["reconstruction_esc"] = IMAGES
    with h5py.File(good.parent / "loop.h5", "w") as file:
        file["kspace"] = h5py.SoftLink("/kspace")
    index = index_volumes(good.parent, target="reconstruction_esc")
    reasons = [s.reason for s in index.skipped]
    for reason, word in zip(reasons, ["never written", "another file", "broken link kspace"], strict=True):
        assert word in reason


@pytest.mark.parametrize(("images", "fragment"), [
    (IMAGES[:1], "row 39: has 1 slices, the k-space 2"),
    (IMAGES[0], "row 39: has 1 slices, the k-space 2"),
    (IMAGES.astype(np.complex64), "must be real images (slices, height, width), found complex64"),
    (np.ones((2, 1, 4, 4)), "found float64 of shape (2, 1, 4, 4)"),
    (np.ones((2, 0, 4)), "is empty"),
    ("text", "must be real images"),
])
def test_row_39_target_that_does_not_fit_is_refused(tmp_path, images, fragment):
    path = write(tmp_path / "a.h5", kspace=KSPACE, reconstruction_rss=images)
    refused(path, "reconstruction_rss", fragment.removeprefix("row 39: "), target="reconstruction_rss")


@pytest.mark.parametrize(("dtype", "note"), [
    (np.uint8, "uint8 (0 to 255), read as float32 with its values as they are"),
    (">i2", "(-32768 to 32767), read as float32"), (np.float64, "float64, read as float32"), (np.float32, ""),
])
def test_row_26_number_types_of_targets_are_noted(tmp_path, dtype, note):
    volume = only(write(tmp_path / "a.h5", kspace=KSPACE[0], rss=IMAGES[0].astype(dtype)), target="rss")
    assert volume.target_shape == (4, 4) and note in " ".join(volume.notes)


ROW = np.array([1, 0, 1, 0, 1])


@pytest.mark.parametrize("mask", [
    ROW, ROW.astype(bool), ROW.astype(np.float32), ROW.astype(np.uint8), ROW[None], ROW[None, :, None],
    np.tile(ROW, (6, 1)), np.tile(ROW, (1, 6, 1)), ROW.astype(">f8"),
], ids=lambda mask: f"{mask.dtype}{mask.shape}")
def test_row_29_masks_in_every_shape_in_use(tmp_path, mask):
    assert only(write(tmp_path / "a.h5", kspace=KSPACE, mask=mask)).mask.tolist() == ROW.astype(bool).tolist()


@pytest.mark.parametrize(("mask", "fragment"), [
    (np.ones(4), "row 28: has width 4, the k-space 5"),
    (np.ones(1), "row 28: has width 1, the k-space 5"),
    (np.ones((1, 1, 1)), "row 28: has width 1, the k-space 5"),
    (np.ones((6, 1)), "row 28: has width 1, the k-space 5"),
    (np.tile(ROW, (3, 1)), "row 29: must have the shape (W,), (1, W)"),
    (np.tile(ROW, (2, 6, 1)), "row 29: must have the shape"),
    (3, "row 29: must have the shape"),
    (np.eye(6, 5), "row 29: differs from row to row"),
    (ROW * 0.5, "row 29: must hold only 0 and 1, found float64 from 0.0 to 0.5"),
    (ROW * 255, "row 29: found int64 from 0 to 255"),
    (np.full(5, np.nan), "row 29: must hold only 0 and 1"),
    (ROW.astype(complex), "row 29: found complex128"),
    (ROW * 0, "row 30: is all zeros"),
])
def test_rows_28_to_30_masks_that_cannot_be_meant(tmp_path, mask, fragment):
    refused(write(tmp_path / "a.h5", kspace=KSPACE, mask=mask), "a.h5: mask", fragment.split(": ", 1)[1])


def test_row_30_mask_of_ones_is_noted(tmp_path):
    assert "acceleration 1" in only(write(tmp_path / "a.h5", kspace=KSPACE, mask=np.ones(5))).notes[0]


def test_row_41_folder_without_hdf5(tmp_path):
    for name in ("a.tar.gz", "b.txt", "c.txt", "d", ".hidden.h5"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"no \.h5 in .* \(4 other files: \.txt x2, \.tar\.gz x1, no ending x1\)"):
        find_files(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no other files"):
        find_files(tmp_path / "empty")


def test_row_42_missing_path(tmp_path):
    for path in (tmp_path / "no" / "where", [tmp_path / "no" / "where"]):
        with pytest.raises(DataError, match=f"does not exist; the nearest folder that exists is {tmp_path}$"):
            index_volumes(path)


def test_rows_42_to_44_odd_entries_are_set_aside_with_a_reason(good):
    top = good.parents[1]
    (top / "folder.h5").mkdir()
    write(top / "folder.h5" / "inside.h5", kspace=KSPACE)
    (top / "gone.h5").symlink_to("nowhere.h5")
    (top / "notes.txt").symlink_to("nowhere.txt")
    (top / "self").symlink_to("self")
    (top / "sub" / "up").symlink_to("..")
    (top / "again").symlink_to("sub")
    os.mkfifo(top / "pipe.h5")
    index = index_volumes(top)
    assert [v.name for v in index.volumes] == ["sub/good.h5"]
    reasons = {s.name: s.reason for s in index.skipped}
    expected = {"folder.h5": "a folder named like", "gone.h5": "dangling link", "self": "circle",
                "sub/up": "already visited", "again": "already visited", "pipe.h5": "not a regular file"}
    assert set(reasons) == set(expected)
    assert all(word in reasons[name] for name, word in expected.items())
    with pytest.raises(DataError, match="already visited"):
        index_volumes(top, strict=True)


def test_linked_folders_elsewhere_are_followed(good, tmp_path):
    (tmp_path / "view").mkdir()
    (tmp_path / "view" / "knee").symlink_to(good.parent)
    assert only(tmp_path / "view").name == "knee/good.h5"


def test_row_50_equal_names_in_subfolders_stay_apart_and_clash_in_a_list(tmp_path):
    paths = [write(tmp_path / part / "a.h5", kspace=KSPACE) for part in "xy"]
    assert [v.name for v in index_volumes(tmp_path).volumes] == ["x/a.h5", "y/a.h5"]
    with pytest.raises(DataError, match=r"x/a\.h5 and .*y/a\.h5 share the name a\.h5"):
        index_volumes(paths)
    assert [name for _, name in find_files([paths[0]])[0]] == ["a.h5"]
    with pytest.raises(DataError, match="no files given"):
        find_files([])


def test_row_51_names_of_every_kind(tmp_path):
    names = ["-lead.h5", "[a]*?.HDF5", "two words.h5", "größe-膝.hdf", "x" * 250 + ".h5", os.fsdecode(b"\xff.h5")]
    for name in names:
        write(tmp_path / name, kspace=KSPACE)
    assert [v.name for v in index_volumes(tmp_path).volumes] == sorted(names)
    assert only(os.fsencode(tmp_path / names[-1])).name == names[-1]


def test_options_are_checked_before_any_file(tmp_path):
    with pytest.raises(UsageError, match="complex_axis"):
        index_volumes(tmp_path / "nowhere", complex_axis="first")


def test_many_bad_files_make_a_short_message(tmp_path):
    for i in range(12):
        (tmp_path / f"{i:02}.h5").touch()
    with pytest.raises(DataError, match="no usable volume among 12 files: 00.h5: empty file.*; and 2 more"):
        index_volumes(tmp_path)


def test_row_90_patterns_and_names_from_a_list(tmp_path):
    for name in ("a.h5", "b.h5", "c[1].h5"):
        with h5py.File(tmp_path / name, "w") as file:
            file["kspace"] = np.ones((1, 32, 32), "complex64")
    assert [name for _, name in find_files(tmp_path / "[ab].h5")[0]] == ["a.h5", "b.h5"]
    assert [name for _, name in find_files(tmp_path / "c[1].h5")[0]] == ["c[1].h5"], "what exists is no pattern"
    with pytest.raises(DataError, match=r"the pattern .*x\*\.h5 matched 0 files"):
        find_files(tmp_path / "x*.h5")
    listed = f"\ufeff{tmp_path / 'a.h5'}\r\n{tmp_path / 'b.h5'}\r".split("\n")
    assert [name for _, name in find_files(listed)[0]] == ["a.h5", "b.h5"]
