"""Broken and hostile weight files: cut anywhere, flipped anywhere, or made to deceive. Never a crash, never half a load."""

import json
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from test_weights_formats import named, write_checkpoint, write_npz, write_safetensors
from weight_files import LEGACY, nested, network, refused, unchanged, values

from tfrecon.errors import WeightsError
from tfrecon.weights import load_weights, look_into, save_weights


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """One good file of every format that is a single file and is read without PyTorch."""
    folder = tmp_path_factory.mktemp("good")
    network(1).save(folder / "archive.keras")
    (folder / "archive.keras").rename(folder / "archive")
    save_weights(network(1), folder / "x.weights.h5").rename(folder / "keras")
    write_safetensors(folder / "safetensors", named(network(1)))
    write_npz(folder / "npz", named(network(1)))
    found = {name: (folder / name).read_bytes() for name in ("archive", "keras", "safetensors", "npz")}
    return {**found, "legacy": (LEGACY / "nested_part_frozen.h5").read_bytes()}


def outcome(model, path):
    """Load: all (True) or a clear error and nothing changed (False); anything else fails the test."""
    before = values(model)
    try:
        report = load_weights(model, path)
    except WeightsError as error:
        assert "\n" not in str(error) and str(error).startswith(str(path))
        assert unchanged(model, before)
        return False
    assert report.loaded == report.total
    assert all(np.isfinite(v).all() for v in values(model))
    return True


@pytest.mark.parametrize("kind", ["archive", "keras", "legacy", "safetensors", "npz"])
def test_cut_anywhere(tmp_path, good, kind):
    data, path = good[kind], tmp_path / "cut"
    model = nested() if kind == "legacy" else network(0)
    for length in [*range(0, 64, 7), *np.linspace(64, len(data) - 1, 24).astype(int)]:
        path.write_bytes(data[:length])
        assert not outcome(model, path), f"{kind} cut to {length} bytes of {len(data)} loaded"


@pytest.mark.parametrize("kind", ["archive", "keras", "legacy", "safetensors", "npz"])
def test_flipped_anywhere(tmp_path, good, kind):
    """Flips inside the numbers may load; nothing may crash, hang, or leave half."""
    path, rng = tmp_path / "flipped", np.random.default_rng(5)
    model = nested() if kind == "legacy" else network(0)
    for start in (600, len(good[kind])):  # headers have the most to break
        for _ in range(12):
            data = bytearray(good[kind])
            for at in rng.integers(0, start, 3):
                data[at] ^= 1 << rng.integers(8)
            path.write_bytes(data)
            outcome(model, path)


def test_checkpoints_cut_and_flipped(tmp_path):
    prefix, rng = write_checkpoint(tmp_path / "model", named(network(1)), slots=False), np.random.default_rng(6)
    model = network(0)
    for part in (Path(f"{prefix}.index"), next(tmp_path.glob("*.data-*"))):
        good = part.read_bytes()
        for length in np.linspace(0, len(good) - 1, 12).astype(int):
            part.write_bytes(good[:length])
            assert not outcome(model, prefix), f"{part.name} cut to {length}"
        for at in rng.integers(0, len(good), 25):
            part.write_bytes(good[:at] + bytes([good[at] ^ (1 << rng.integers(8))]) + good[at + 1 :])
            outcome(model, prefix)
        part.write_bytes(good)
    assert outcome(model, prefix)


def header(text, data=b"", length=None):
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape=(2,), begin=0, end=8, dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


SAFETENSORS = {
    "header longer than the file": (header({"a": entry()}, length=10**7), "truncated"),
    "no json": (header(b"{nonsense}", bytes(8)), "damaged"),
    "deep json": (header(b'{"a":' + b"[" * 200_000, bytes(8)), "damaged"),
    "number of 5000 digits": (header(b'{"a":' + b"9" * 5000 + b"}", bytes(8)), "damaged"),
    "a list": (header({"a": [1]}, bytes(8)), "damaged"),
    "outside of the file": (header({"a": entry((2,), 8, 16)}, bytes(8)), "gaps"),
    "longer than the file": (header({"a": entry((4,), 0, 16)}, bytes(8)), "truncated or damaged"),
    "bytes left over": (header({"a": entry()}, bytes(12)), "truncated or damaged"),
    "overlapping": (header({"a": entry(), "b": entry()}, bytes(8)), "overlap"),
    "negative": (header({"a": entry((2,), -8, 0)}, bytes(8)), "at least 0"),
    "backwards": (header({"a": entry((2,), 8, 0)}, bytes(8)), "cannot have"),
    "shape and bytes": (header({"a": entry((3,))}, bytes(8)), "cannot have"),
    "absurd shape": (header({"a": entry((2**62, 2**62))}, bytes(8)), "cannot have"),
    "shape of truth values": (header({"a": entry((True, True), 0, 4)}, bytes(4)), "whole numbers"),
    "shape of fractions": (header({"a": entry((2.0,))}, bytes(8)), "whole numbers"),
    "unknown type": (header({"a": entry(dtype="F8_E4M3")}, bytes(8)), "not known"),
    "no shape": (header({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8)), "damaged"),
    "name twice": (header(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
                          b'"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', bytes(8)), "twice"),
}


@pytest.mark.parametrize("kind", SAFETENSORS)
def test_hostile_safetensors(tmp_path, kind):
    content, fragment = SAFETENSORS[kind]
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    refused(network(), path, fragment)


def test_safetensors_with_empty_tensors_and_none(tmp_path):
    write_safetensors(tmp_path / "x", {"a": np.zeros((0, 3), np.float32)})
    assert look_into(tmp_path / "x").arrays == [("a", (0, 3), "F32")]
    write_safetensors(tmp_path / "y", {})
    assert look_into(tmp_path / "y").arrays == []


def npy(array=None, text=None, data=b""):
    """The bytes of an .npy entry, or one with a header of its own."""
    import io

    out = io.BytesIO()
    if text is None:
        np.save(out, array, allow_pickle=True)
        return out.getvalue()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + data


class Code:
    """Unpickled, it leaves a file behind."""

    path = ""

    def __reduce__(self):
        return (open, (Code.path, "w"))


def test_npz_with_code_is_not_unpickled(tmp_path):
    Code.path = str(tmp_path / "ran")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", npy(np.array([Code()], dtype=object)))
    (tmp_path / "ran").unlink(missing_ok=True)
    refused(network(), tmp_path / "x.npz", "never unpickled")
    assert not (tmp_path / "ran").exists()


NPZ = {
    "declares more than it holds": (npy(text="{'descr':'<f4','fortran_order':False,'shape':(10**11,)}\n".replace(
        "10**11", "100000000000")), "declares more"),
    "header that is code": (npy(text="__import__('os').system('touch ran')\n"), "damaged"),
    "header without end": (npy(text="{'descr':'<f4','fortran_order':False,'shape':(3,)\n"), "damaged"),
    "header cut": (b"\x93NUMPY\x01\x00\xff", "damaged"),
    "no array": (b"hello", "damaged"),
}


@pytest.mark.parametrize("kind", NPZ)
def test_hostile_npz(tmp_path, kind):
    content, fragment = NPZ[kind]
    with zipfile.ZipFile(tmp_path / "x", "w") as archive:
        archive.writestr("a.npy", content)
    refused(network(), tmp_path / "x", fragment)


@pytest.mark.parametrize("member", ["a.npy", "model.weights.h5"])
def test_archives_that_unpack_without_end(tmp_path, monkeypatch, member):
    """Zeros packed to a thousandth: no trained network compresses so. (From 256 MiB on; here from 1 MB.)"""
    monkeypatch.setattr("tfrecon.weights.keras_files.ALWAYS_ALLOWED_BYTES", 10**6)
    text = "{'descr':'<f4','fortran_order':False,'shape':(750000,)}\n"
    with zipfile.ZipFile(tmp_path / "x", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, npy(text=text, data=bytes(3_000_000)))
    refused(network(), tmp_path / "x", "which no weights do")


def test_npz_with_a_name_twice(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(tmp_path / "x", "w") as archive:
        for _ in range(2):
            archive.writestr("a.npy", npy(np.ones(2)))
    refused(network(), tmp_path / "x", "twice")


def test_interrupted_assignment_is_undone(monkeypatch):
    """Ctrl-C between two variables: Keras' own loader would leave the first ones changed."""
    model, tensors = network(0), named(network(1))
    before, kind, seen = values(model), type(model.weights[5]), []
    original = kind.assign

    def assign(self, value):
        seen.append(self)
        if len(seen) == 6:
            raise KeyboardInterrupt
        return original(self, value)

    monkeypatch.setattr(kind, "assign", assign)
    with pytest.raises(KeyboardInterrupt):
        load_weights(model, tensors)
    assert len(seen) > 6 and unchanged(model, before)


def test_hdf5_group_that_contains_itself(tmp_path):
    path = tmp_path / "x.h5"
    path.write_bytes((LEGACY / "nested_part_frozen.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        file["round"] = file["/"]
    assert outcome(nested(), path)
