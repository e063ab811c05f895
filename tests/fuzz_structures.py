"""HDF5 files of random structure: every layout, filter, kind of number, attribute and link the format has, under names we read.

`random_file` is for `fuzz_mutations.py`: whatever it makes is valid, and nothing in it need be what a reader expects.
"""

from __future__ import annotations

import io
from typing import Any

import h5py
import numpy as np
from fuzz_checksums import without_times

RANDOM = "hdf5-random"  # the kind of file whose mutations are made here
KEYS = ("kspace", "reconstruction_esc", "reconstruction_rss", "reconstruction", "mask", "masks", "sens_maps", "hu",
        "ismrmrd_header", "layers/a/vars/0", "layers/a/vars/1", "model_weights", "first/kernel", "a b\n\x1b[31m", "\u00e4",
        "x" * 300)
LABELS = ("max", "norm", "patient_id", "acquisition", "units", "tfrecon_card", "layer_names", "weight_names", "layer_names0",
          "backend", "keras_version", "task", "model", "acceleration", "mask_accelerations", "padding_left", "value_range")
SHAPES = ((), (0,), (1,), (7,), (12, 10), (3, 12, 10), (3, 12, 10), (3, 12, 10), (3, 8, 8), (2, 3, 12, 10), (3, 12, 10, 2),
          (3, 0, 10), (1, 1, 1, 2, 1, 3))
_COMPLEX = [("r", "<f4"), ("i", "<f4")]
NUMBERS: tuple[Any, ...] = ("<f4", "<f8", ">f4", "<f2", "<c8", "<c8", "<c8", "<c16", ">c8", "u1", "<i2", ">i8", "<u4", "?",
                            np.longdouble, _COMPLEX, [("real", "<f8"), ("imag", "<f8")],
                            [("a", "<i4"), ("b", "<f4", (2,)), ("c", "S3")])
OTHERS: tuple[Any, ...] = ("S5", h5py.string_dtype(), h5py.string_dtype("ascii", 4), h5py.ref_dtype, h5py.regionref_dtype, "V7",
                           h5py.vlen_dtype(np.int16), h5py.vlen_dtype(h5py.string_dtype()), h5py.enum_dtype({"no": 0, "yes": 1}),
                           h5py.opaque_dtype("M8[s]"), np.dtype((np.int16, (3,))))
FILTERS: tuple[dict[str, Any], ...] = (
    {}, {}, {"compression": "gzip"}, {"compression": "gzip", "shuffle": True}, {"compression": "lzf"}, {"fletcher32": True},
    {"scaleoffset": 2}, {"compression": "szip"}, {"shuffle": True, "fletcher32": True, "compression": "gzip"})


def random_file(rng: np.random.Generator) -> bytes:
    """A valid file; what the library itself would not make is left out of it."""
    options = {"libver": ("earliest", "latest")[rng.integers(2)], "userblock_size": int(rng.choice((0, 0, 0, 512, 2048))),
               "track_order": bool(rng.integers(2))}
    with h5py.File(out := io.BytesIO(), "w", **options) as file:
        if rng.random() < 0.7:
            file["kspace"] = (rng.standard_normal((3, 12, 10)) * (1 + 1j)).astype(np.complex64)
        for key in rng.choice(KEYS, rng.integers(1, 7)):
            _quietly(_object, file, str(key), rng)
        owners: list[Any] = [file]
        file.visititems(lambda _, item: owners.append(item))
        for owner in owners:
            for label in rng.choice(LABELS, rng.choice((0, 0, 1, 1, 4, 30))):
                _quietly(_label, owner, f"{label}{rng.integers(99)}" if rng.random() < 0.3 else str(label), rng)
    return without_times(out.getvalue())


def _quietly(make: Any, owner: Any, name: str, rng: np.random.Generator) -> None:
    """What h5py refuses to make, does not fit together or is there already."""
    try:
        make(owner, name, rng)
    except (TypeError, ValueError, RuntimeError, OSError, KeyError, AttributeError, OverflowError):
        return


def _object(file: h5py.File, key: str, rng: np.random.Generator) -> None:
    choice = rng.random()
    if choice < 0.65:
        _array(file, key, rng)
    elif choice < 0.75:
        _link(file, key, rng)
    elif choice < 0.85:
        layout = h5py.VirtualLayout((3, 12, 10), np.complex64)
        layout[:] = h5py.VirtualSource(".", "kspace", (3, 12, 10))
        file.create_virtual_dataset(key, layout)
    elif choice < 0.9:
        file[key] = np.dtype(NUMBERS[rng.integers(len(NUMBERS))])
    else:
        file.create_group(key)["vars/0"] = np.zeros(3, np.float32)


def _array(file: h5py.File, key: str, rng: np.random.Generator) -> None:
    shape, kinds = SHAPES[rng.integers(len(SHAPES))], NUMBERS if rng.random() < 0.8 else OTHERS
    dtype = np.dtype(kinds[rng.integers(len(kinds))])
    data = _values(file, shape, dtype, rng)
    if rng.random() < 0.05:
        file.create_dataset(key, data=h5py.Empty(dtype))
    elif rng.random() < 0.4 or not shape:
        file.create_dataset(key, shape, dtype, data)
    else:
        chunks = tuple(int(rng.integers(1, side + 2)) for side in shape)
        more = FILTERS[rng.integers(len(FILTERS))]
        space = file.create_dataset(key, shape, dtype, chunks=chunks, maxshape=[None] * len(shape),
                                    fillvalue=(None, 7)[rng.integers(2)], **more)
        if rng.random() < 0.8:
            space[...] = data


def _values(file: h5py.File, shape: tuple[int, ...], dtype: np.dtype, rng: np.random.Generator) -> Any:
    if h5py.check_ref_dtype(dtype):
        filled = np.empty(shape, dtype)
        filled[...] = file.ref if dtype == h5py.ref_dtype else file["kspace"].regionref[:1, 2:4]
        return filled
    if h5py.check_string_dtype(dtype):
        return np.full(shape, "a text"[: int(rng.integers(7))], dtype)
    if dtype.kind == "O":
        filled = np.empty(shape, dtype)
        for place in np.ndindex(shape):
            filled[place] = np.arange(int(rng.integers(4)), dtype=np.int16)
        return filled
    found = np.frombuffer(rng.bytes(int(np.prod(shape)) * dtype.itemsize), dtype).reshape(shape + dtype.shape)
    return found if rng.random() < 0.2 else np.zeros(shape, dtype)


def _link(file: h5py.File, key: str, rng: np.random.Generator) -> None:
    links = (h5py.SoftLink("/kspace"), h5py.SoftLink(f"/{key}"), h5py.SoftLink("nowhere"), h5py.ExternalLink("other.h5", "mask"),
             file["/"], h5py.SoftLink("mask/../.././/kspace"))
    file[key] = links[rng.integers(len(links))]


def _label(owner: Any, name: str, rng: np.random.Generator) -> None:
    shape, kinds = SHAPES[rng.choice((0, 0, 0, 1, 2, 3, 4))], NUMBERS if rng.random() < 0.4 else OTHERS
    if rng.random() < 0.3:
        owner.attrs[name] = ("a", "4", '{"model": 3, "builder": []}', "{", "\x1b[31m\n", "x" * 70_000)[rng.integers(6)]
    elif rng.random() < 0.1:
        owner.attrs[name] = h5py.Empty("f4")
    else:
        dtype = np.dtype(kinds[rng.integers(len(kinds))])
        owner.attrs.create(name, _values(owner.file, shape, dtype, rng), shape, dtype)


# --- sound files that hold what ours never do ---------------------------------------------------------------------------


def write_odd(folder: Any, kspace: np.ndarray, target: np.ndarray) -> None:
    """k-space that is read as any other, with around it whatever HDF5 can hold."""
    _dense(folder / "kspace-dense", kspace, target)
    _types(folder / "kspace-types", kspace, target)
    _filters(folder / "kspace-filters", kspace, target)
    with h5py.File(folder / "kspace-loops", "w", userblock_size=512) as file:
        file["kspace"], file["reconstruction_esc"] = h5py.SoftLink("/one/kspace"), target
        file["one/kspace"] = kspace
        file["one/up"], file["one/again"] = file["/"], file["one"]
        file["round"], file["about"] = h5py.SoftLink("about"), h5py.SoftLink("round")
        file.attrs["max"] = 1.5


def _dense(path: Any, kspace: np.ndarray, target: np.ndarray) -> None:
    """So many attributes and names that HDF5 keeps them in heaps and trees of their own."""
    with h5py.File(path, "w", libver="latest", track_order=True) as file:
        file["kspace"], file["reconstruction_esc"] = kspace, target
        for owner in (file, file["kspace"]):
            for number in range(40):
                owner.attrs[f"label {number}"] = (number, "a text", number / 3)[number % 3]
        for number in range(20):
            file[f"extra {number}"] = h5py.SoftLink("/kspace") if number % 2 else np.float32(number)
        file.attrs["patient_id"], file.attrs["max"] = "someone", 1.5
    path.write_bytes(without_times(path.read_bytes()))


def _types(path: Any, kspace: np.ndarray, target: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file["kind"] = np.dtype([("real", ">f8"), ("imag", ">f8")])
        numbers = file.create_dataset("kspace", kspace.shape, file["kind"])
        pairs = np.zeros(kspace.shape, numbers.dtype)
        pairs["real"], pairs["imag"] = kspace.real, kspace.imag
        numbers[...] = pairs
        file["reconstruction_esc"], file["mask"] = target.astype(">f8"), np.arange(10) % 2 == 0
        file["texts"], file["references"] = ["one", "another"], np.array([file.ref, numbers.ref], h5py.ref_dtype)
        file.create_dataset("lists", (2,), h5py.vlen_dtype(np.int16))[...] = [np.arange(3, dtype=np.int16)] * 2
        for owner in (file, numbers):
            owner.attrs["region"] = numbers.regionref[0, :2]
            owner.attrs.create("enumeration", 1, dtype=h5py.enum_dtype({"no": 0, "yes": 1}))
            owner.attrs["texts"], owner.attrs["opaque"] = ["one", "another"], np.void(b"\1\2\3")
            owner.attrs["numbers"], owner.attrs["max"] = np.arange(6.0).reshape(2, 3), 1.5


def _filters(path: Any, kspace: np.ndarray, target: np.ndarray) -> None:
    """Scale-offset, n-bit and szip, whose parameters stand in the header."""
    with h5py.File(path, "w") as file:
        pairs = kspace.view(np.float32).reshape(*kspace.shape, 2)
        chunks = (1, *pairs.shape[1:])
        szip = {"compression": "szip"} if h5py.h5z.filter_avail(h5py.h5z.FILTER_SZIP) else {"compression": "lzf"}
        file.create_dataset("kspace", data=kspace, chunks=chunks[:-1], shuffle=True, fletcher32=True, compression="lzf")
        file.create_dataset("reconstruction_esc", data=target, chunks=(1, *target.shape[1:]), **szip)
        file.create_dataset("reconstruction_rss", data=target, chunks=(1, *target.shape[1:]), scaleoffset=3)
        file.create_dataset("reconstruction", data=target, chunks=(3, 2, 5), fletcher32=True, compression="gzip")
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((2, 12, 10))
        properties.set_filter(5)  # n-bit
        properties.set_obj_track_times(False)
        few = h5py.h5t.STD_U8LE.copy()
        few.set_precision(3)
        space = h5py.h5s.create_simple((3, 12, 10))
        masks = h5py.h5d.create(file.id, b"masks", few, space, properties)
        masks.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ones((3, 12, 10), np.uint8))
