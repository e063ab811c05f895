"""The guarded way into HDF5: each test makes the real bad file. Row numbers are those of the list of bad inputs."""

import fcntl
import gzip
import hashlib
import io
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from tfrecon import hdf5
from tfrecon.errors import DataError, shown
from tfrecon.hdf5 import check_tree, get_dataset, open_hdf5, read_attributes

ROOT = Path(__file__).resolve().parents[1]
NOBODY = 65534


def write(path, **datasets):
    with h5py.File(path, "w") as file:
        for key, value in datasets.items():
            file[key] = value
    return path


@pytest.fixture
def good(tmp_path):
    return write(tmp_path / "good.h5", kspace=np.arange(24, dtype=np.complex64).reshape(2, 3, 4))


def refused(path, *fragments):
    """Opening must fail with one line that names the file and every fragment."""
    with pytest.raises(DataError) as caught:
        open_hdf5(path)
    message = str(caught.value)
    assert "\n" not in message
    for fragment in (shown(path), *fragments):
        assert fragment in message
    return message


def refused_inside(path, key, *fragments):
    """Both the single look-up and the walk through everything must refuse."""
    with open_hdf5(path) as file:
        for call in (lambda: get_dataset(file, key), lambda: check_tree(file)):
            with pytest.raises(DataError) as caught:
                call()
            for fragment in (str(path), key, *fragments):
                assert fragment in str(caught.value)


def archive(kind):
    stream = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=stream, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("file1.h5"))
    else:
        with zipfile.ZipFile(stream, "w") as file:
            file.writestr(kind, b"0" * 32)
    return stream.getvalue()


DISGUISES = {
    "html": (b"\n<!DOCTYPE html><html>403</html>", "a web page"),
    "xml": (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "a web page"),
    "gzip": (gzip.compress(b"x"), "gzip archive; unpack"),
    "tar": (archive("tar"), "tar archive; unpack"),
    "zip": (archive("file1.h5"), "zip archive; unpack"),
    "pytorch": (archive("archive/data.pkl"), "a PyTorch file"),
    "keras": (archive("config.json"), "a whole Keras model"),
    "npz": (archive("kspace.npy"), "a NumPy .npz"),
    "npy": (b"\x93NUMPY\x01\x00", "a NumPy .npy"),
    "pickle": (pickle.dumps([1, 2]), "a Python pickle"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "json": (b'{"error": "not found"}', 'plain text beginning \'{"error": "not found"}\''),
    "utf8": ("größe".encode() * 40, "plain text"),
    "dicom": (bytes(128) + b"DICM", "a DICOM image"),
    "nifti": (b"\x5c\x01" + bytes(342) + b"n+1\x00", "a NIfTI image"),
    "matlab": (b"MATLAB 5.0 MAT-file", "-v7.3"),
    "zeros": (bytes(2000), "zero bytes"),
    "noise": (b"\xde\xad\xbe\xef" * 9, "first bytes de ad be ef"),
}


@pytest.mark.parametrize("name", DISGUISES)
def test_row_3_says_what_a_disguised_file_really_is(tmp_path, name):
    path = tmp_path / "file1.h5"
    content, fragment = DISGUISES[name]
    path.write_bytes(content)
    refused(path, "not an HDF5 file", fragment)


def test_row_2_empty_file(tmp_path):
    path = tmp_path / "a.h5"
    path.touch()
    refused(path, "empty file (0 bytes)")


def test_row_1_truncated_file_states_both_sizes(good):
    content = good.read_bytes()
    good.write_bytes(content[:1500])
    refused(good, "truncated", f"1500 bytes of the {len(content)}", "download it again")


def test_row_1_every_cut_is_refused_in_our_words(good):
    content = good.read_bytes()
    for size in range(0, len(content), 61):
        good.write_bytes(content[:size])
        refused(good)


def test_row_1_cut_file_whose_header_was_mended_still_fails_before_reading(good):
    content = bytearray(good.read_bytes())
    with h5py.File(good) as file:
        cut = file["kspace"].id.get_offset() + 8
    content[40:48] = cut.to_bytes(8, "little")  # the superblock's end-of-file address
    good.write_bytes(content[:cut])
    with open_hdf5(good) as file, pytest.raises(DataError, match="kspace.*the file is damaged"):
        get_dataset(file, "kspace")


def test_row_42_missing_path_names_the_nearest_folder(tmp_path):
    refused(tmp_path / "no" / "such" / "a.h5", "does not exist", f"nearest folder that exists is {tmp_path}")
    assert not (tmp_path / "no").exists()  # row 47: h5py's mode "a" would create the file


def test_row_42_dangling_link(tmp_path):
    (tmp_path / "a.h5").symlink_to("gone.h5")
    refused(tmp_path / "a.h5", "dangling link, its target gone.h5", str(tmp_path))


def test_row_44_link_to_itself(tmp_path):
    (tmp_path / "a.h5").symlink_to("a.h5")
    refused(tmp_path / "a.h5", "circle")


def test_row_51_name_longer_than_the_disk_allows(tmp_path):
    refused(tmp_path / ("x" * 300 + ".h5"), "cannot be read (File name too long)")


def test_row_43_folder_and_pipe_are_not_opened(tmp_path):
    (tmp_path / "a.h5").mkdir()
    refused(tmp_path / "a.h5", "is a folder")
    os.mkfifo(tmp_path / "b.h5")  # opening a pipe would wait for ever
    refused(tmp_path / "b.h5", "not a regular file")


def test_row_51_unprintable_path_is_escaped_and_undecodable_one_opens(good, tmp_path):
    odd = os.fsencode(tmp_path) + b"/-\xff [*] \xc3\xa9.h5"
    os.link(good, odd)
    with open_hdf5(odd) as file:
        assert get_dataset(file, "kspace").shape == (2, 3, 4)
    refused(os.fsencode(tmp_path) + b"/new\nline\xff.h5", r"new\nline\udcff.h5")


# Root may read everything, so it becomes somebody else; only after the imports, for its Python may be out of reach.
AS_ANOTHER_USER = f"""
import os, sys
from tfrecon.data.index import index_volumes
from tfrecon.hdf5 import open_hdf5
if os.geteuid() == 0:
    os.setgroups([]), os.setgid({NOBODY}), os.setuid({NOBODY})
for call, path in ((open_hdf5, "a.h5"), (open_hdf5, "shut/b.h5"), (index_volumes, ".")):
    try:
        call(os.path.join(sys.argv[1], path))
    except ValueError as error:
        print(error)
"""


def test_row_45_unreadable_file_states_user_and_mode(good):
    folder = Path(tempfile.mkdtemp())
    try:
        (folder / "shut").mkdir()
        shutil.copy(good, folder / "a.h5")
        for path, mode in ((folder, 0o755), (folder / "shut", 0o000), (folder / "a.h5", 0o000)):
            path.chmod(mode)
        done = subprocess.run([sys.executable, "-W", "error", "-c", AS_ANOTHER_USER, folder],
                              cwd=ROOT, capture_output=True, text=True, check=True)
    finally:
        (folder / "shut").chmod(0o755)
        shutil.rmtree(folder)
    file, inside, index = done.stdout.splitlines()
    assert f"user id {os.geteuid() or NOBODY}" in file and "has mode ----------" in file
    assert "no permission" in inside and "shut has mode d---------" in inside
    assert "no usable volume" in index and "a.h5: no permission" in index and "shut: no permission" in index


def test_row_46_locked_by_another_program(good):
    with open(good, "rb+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with open_hdf5(good) as file:
            assert get_dataset(file, "kspace")[1, 2, 3] == 23


@pytest.mark.parametrize("locking", [None, True, False, "best-effort"])
@pytest.mark.parametrize("mode", ["r", "r+"])
def test_row_46_already_open_in_this_process(good, mode, locking):
    with h5py.File(good, mode, locking=locking), open_hdf5(good) as file:
        assert get_dataset(file, "kspace")[1, 2, 3] == 23


def test_row_46_unfinished_writer_is_named(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["x"] = np.ones(3)
        file.flush()
        copy = path.read_bytes()  # as a killed writer leaves it
    path.write_bytes(copy)
    refused(path, "h5clear -s")


def test_row_47_inputs_are_never_written(good):
    before = hashlib.sha256(good.read_bytes()).hexdigest(), good.stat().st_mtime_ns
    good.chmod(0o444)
    with open_hdf5(good) as file:
        check_tree(file)
        read_attributes(file)
        assert file.mode == "r"
        with pytest.raises(ValueError):
            file.create_group("new")
    assert before == (hashlib.sha256(good.read_bytes()).hexdigest(), good.stat().st_mtime_ns)


def test_user_block_before_the_signature_is_allowed(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", userblock_size=1024) as file:
        file["kspace"] = np.arange(3)
    with open_hdf5(path) as file:
        assert list(get_dataset(file, "kspace")) == [0, 1, 2]


def external_link(file, tmp_path):
    write(tmp_path / "other.h5", kspace=np.ones(3))
    file["kspace"] = h5py.ExternalLink("other.h5", "/kspace")


def external_link_on_the_way(file, tmp_path):
    external_link(file, tmp_path)
    file["kspace2"] = h5py.SoftLink("/kspace")


def external_storage(file, tmp_path):
    file.create_dataset("kspace", (8,), "u1", external=[("/etc/hostname", 0, 8)])


def virtual_dataset(file, tmp_path):
    write(tmp_path / "other.h5", kspace=np.ones(3))
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "kspace", (3,))
    file.create_virtual_dataset("kspace", layout)


def plugin_filter(file, tmp_path):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((4,))
    properties.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file.id, b"kspace", h5py.h5t.NATIVE_FLOAT, space, properties)
    file["kspace"][:] = 1


def soft_loop(file, tmp_path):
    file["kspace"], file["b"] = h5py.SoftLink("/b"), h5py.SoftLink("/kspace")


def soft_dangling(file, tmp_path):
    file["kspace"] = h5py.SoftLink("/gone/away")


def bomb_chunked(file, tmp_path):
    file.create_dataset("kspace", (4000, 16, 4096, 4096), np.complex64, chunks=(1, 1, 64, 64))[0, 0, 0, 0] = 1


def bomb_empty(file, tmp_path):
    file.create_dataset("kspace", (4000, 16, 4096, 4096), np.complex64, chunks=(1, 1, 64, 64))


def bomb_contiguous(file, tmp_path):
    file.create_dataset("kspace", (4000, 16, 4096, 4096), np.complex64)


def bomb_chunk(file, tmp_path):
    file.create_dataset("kspace", (1, 2**14, 2**14), np.complex64, chunks=True, maxshape=(None,) * 3)
    del file["kspace"]
    data = file.create_dataset("kspace", (1, 8, 8), "u1", chunks=(2, 2**15, 2**15), maxshape=(None,) * 3, compression=9)
    data.id.write_direct_chunk((0, 0, 0), b"x\x9c")


MALICE = [
    (48, external_link, ["link into another file (other.h5)"]),
    (48, external_link_on_the_way, ["link into another file"]),
    (48, external_storage, ["kept in other files"]),
    (48, virtual_dataset, ["kept in other files"]),
    (48, plugin_filter, ["plugin filter 32015"]),
    (49, soft_loop, ["broken link", "circle"]),
    (49, soft_dangling, ["broken link kspace -> /gone/away", "not in the file"]),
    (14, bomb_chunked, ["declares 8589934592000 bytes"]),
    (14, bomb_empty, ["never written"]),
    (14, bomb_contiguous, ["never written"]),
    (14, bomb_chunk, ["chunks of 2147483648 bytes"]),
]


@pytest.mark.parametrize(("row", "make", "fragments"), MALICE, ids=[f"row_{r}_{m.__name__}" for r, m, _ in MALICE])
def test_hostile_structure_is_refused(tmp_path, row, make, fragments):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        make(file, tmp_path)
    refused_inside(path, "kspace", *fragments)


def test_row_14_well_compressed_real_arrays_pass(tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("zeros", data=np.zeros((64, 128, 128), np.float32), compression=9, chunks=(16, 128, 128))
        file.create_dataset("lzf", data=np.ones((4, 4)), compression="lzf", shuffle=True, fletcher32=True)
        file.create_dataset("nothing", (0, 4, 4), "f4")
        file["null"] = h5py.Empty("f4")
    monkeypatch.setattr(hdf5, "ALWAYS_ALLOWED_BYTES", 0)
    with open_hdf5(path) as file:
        check_tree(file)
        assert get_dataset(file, "zeros").shape == (64, 128, 128)


def test_row_49_soft_links_inside_the_file_and_group_cycles_are_fine(good):
    with h5py.File(good, "a") as file:
        group = file.create_group("a/b")
        group["up"] = file["/"]
        group["relative"] = h5py.SoftLink("c")
        group["c"] = h5py.SoftLink("/kspace")
    with open_hdf5(good) as file:
        check_tree(file)
        assert get_dataset(file, "a/b/up/a/b/relative").shape == (2, 3, 4)


def test_row_5_missing_key_lists_what_is_there(good):
    with open_hdf5(good) as file:
        for key in ("reconstruction_rss", "kspace/x", "a/b"):
            with pytest.raises(DataError, match=f"no key {key}; found"):
                get_dataset(file, key)
        with pytest.raises(DataError, match="found kspace$"):
            get_dataset(file, "mask")


def test_row_7_group_where_an_array_belongs(good):
    with h5py.File(good, "a") as file:
        file.create_group("g/inner")
    with open_hdf5(good) as file, pytest.raises(DataError, match="g must be a mask, found a group holding inner"):
        get_dataset(file, "g", "a mask")


@pytest.mark.parametrize("kind", ["vlen", "text", "fixed", "compound", "reference", "big_endian", "bool", "scalar"])
def test_every_type_of_array_can_be_looked_up(tmp_path, kind):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = {
            "vlen": np.array([np.arange(2), np.arange(3)], object), "text": "<xml/>", "fixed": np.bytes_(b"abc"),
            "compound": np.zeros(2, [("r", "f2"), ("i", "f2")]), "reference": file.ref, "big_endian": np.ones(2, ">c8"),
            "bool": np.array([True]), "scalar": 3,
        }[kind]
        types = {"vlen": h5py.vlen_dtype(np.int32), "reference": h5py.ref_dtype}
        file.create_dataset("x", data=data, dtype=types.get(kind))
    with open_hdf5(tmp_path / "a.h5") as file:
        check_tree(file)
        get_dataset(file, "x")[()]


def test_attributes_become_plain_values_and_odd_ones_are_left_out(good):
    with h5py.File(good, "a") as file:
        file.attrs.update({"max": np.float32(0.5), "n": np.int64(3), "flag": True, "one": np.array([[7]], ">i2"),
                           "text": "café", "bytes": np.bytes_(b"AXT2\xff"), "array": np.arange(3), "complex": 1j,
                           "long": "x" * 70_000, "empty": h5py.Empty("f4"), "ref": file.ref})
        file["kspace"].attrs["unit"] = "V"
    with open_hdf5(good) as file:
        found = read_attributes(file)
        assert read_attributes(file["kspace"]) == {"unit": "V"}
    assert found == {"max": 0.5, "n": 3, "flag": True, "one": 7, "text": "café", "bytes": "AXT2\ufffd"}
    assert {type(v) for v in found.values()} == {float, int, bool, str}
