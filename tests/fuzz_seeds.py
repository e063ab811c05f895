"""The sound files and folders that `fuzzing.py` mutates: one of every kind a user gives, small, and the same bytes every time.

Those of TensorFlow's are made in `fuzz_tensorflow.py`.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
import zlib
from pathlib import Path
from types import SimpleNamespace

import ct_tools
import fuzz_runs
import fuzz_structures
import h5py
import numpy as np
from fuzz_checksums import without_times

from tfrecon.weights import save_weights

LEGACY = Path(__file__).parent / "golden" / "legacy"
TORCH = Path(__file__).parent / "golden" / "torch"


def written(folder: Path, canary: Path) -> dict[str, bytes]:
    """Write every file into the folder under its name; the files by name.

    Args:
        canary: a folder for files that nobody may read, which links in one of the seeds point to.
    """
    rng = np.random.default_rng(0)
    for write in (_volumes, _images, _keras, _tensors, _dicom, _nifti, _png):
        write(folder, rng)
    _links(folder, canary, rng)
    fuzz_structures.write_odd(folder, _complex(rng, 3, 12, 10), rng.random((3, 8, 8), np.float32))
    fuzz_runs.write(folder, rng)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _complex(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def _volumes(folder: Path, rng: np.random.Generator) -> None:
    """k-space in one piece, deflated in chunks, and of several coils in HDF5's newer layout."""
    labels = {"max": 1.5, "norm": 2.0, "patient_id": "someone", "acquisition": "CORPD_FBK"}
    with h5py.File(folder / "kspace", "w") as file:
        file["kspace"], file["mask"] = _complex(rng, 3, 12, 10), np.arange(10) % 2 == 0
        file["reconstruction_esc"] = rng.random((3, 8, 8), np.float32)
        file.attrs.update(labels)
        file["kspace"].attrs["note"] = "a text of any length"
    with h5py.File(folder / "kspace-gzip", "w") as file:
        packed = {"compression": "gzip", "shuffle": True}
        file.create_dataset("kspace", data=_complex(rng, 3, 12, 10), chunks=(1, 12, 10), **packed)
        file.create_dataset("reconstruction_esc", data=rng.random((3, 8, 8), np.float32), chunks=(1, 4, 8), **packed)
        file.create_dataset("masks", data=np.ones((3, 12, 10), np.uint8), chunks=(2, 12, 10), fletcher32=True)
        file["ismrmrd_header"] = "<xml/>"
        file.attrs.update(labels)
    with h5py.File(folder / "kspace-coils", "w", libver="latest") as file:
        for key in ("kspace", "sens_maps"):
            file.create_dataset(key, data=_complex(rng, 2, 3, 12, 10), chunks=(1, 3, 12, 10), compression="gzip")
        file.create_dataset("reconstruction_esc", data=rng.random((2, 8, 8), np.float32), maxshape=(None, 8, 8))
        file.attrs.update(labels)
    (folder / "kspace-coils").write_bytes(without_times((folder / "kspace-coils").read_bytes()))


def _links(folder: Path, canary: Path, rng: np.random.Generator) -> None:
    """Links, external storage and a virtual array, all leading to files elsewhere, beside k-space that is sound."""
    with h5py.File(canary / "other.h5", "w") as file:
        file["mask"] = file["reconstruction_esc"] = file["sens_maps"] = np.ones((3, 8, 8), np.float32)
    (canary / "numbers").write_bytes(bytes(768))
    with h5py.File(folder / "kspace-links", "w") as file:
        file["stored"] = _complex(rng, 3, 12, 10)
        file["kspace"] = h5py.SoftLink("/stored")
        file["reconstruction_esc"] = h5py.ExternalLink(canary / "other.h5", "mask")
        file.create_dataset("reconstruction_rss", (3, 8, 8), np.float32, external=[(str(canary / "numbers"), 0, 768)])
        properties, space = h5py.h5p.create(h5py.h5p.DATASET_CREATE), h5py.h5s.create_simple((3, 8, 8))
        properties.set_obj_track_times(False)  # the same bytes every time
        properties.set_virtual(space, bytes(canary / "other.h5"), b"mask", space)
        h5py.h5d.create(file.id, b"reconstruction", h5py.h5t.IEEE_F32LE, space, properties)


def _images(folder: Path, rng: np.random.Generator) -> None:
    with h5py.File(folder / "magnitudes", "w") as file:
        images = rng.random((3, 16, 12), np.float32)
        file.create_dataset("reconstruction_rss", data=images, chunks=(1, 16, 12), compression="gzip")
        file.attrs.update({"max": 1.0, "patient_id": "someone"})
    with h5py.File(folder / "hu", "w") as file:
        file.create_dataset("hu", data=ct_tools.head(2, 12, 10).astype(np.int16), chunks=(1, 12, 10), compression="lzf")
        file.attrs["units"] = "HU"


def _keras(folder: Path, rng: np.random.Generator) -> None:
    """By our own writer around what Keras would write; the same within a `.keras` archive; two files of Keras 2."""
    arrays = {f"layers/{layer}/vars/{k}": rng.standard_normal(shape).astype(np.float32)
              for layer in ("conv2d", "conv2d_1", "batch_normalization") for k, shape in enumerate([(3, 3, 2, 4), (4,)])}

    def save(path: str) -> None:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array

    model = SimpleNamespace(weights=[SimpleNamespace(numpy=lambda array=array: array) for array in arrays.values()],
                            save_weights=save)
    card = {"model": "unet_gan", "builder": {"width": 4}, "acceleration": 4, "scaling": "slice"}
    save_weights(model, folder / "x.weights.h5", card).rename(folder / "keras")
    _zip(folder / "keras-archive", {"metadata.json": b'{"keras_version": "3.10.0"}', "config.json": b'{"class_name": "Model"}',
                                    "model.weights.h5": (folder / "keras").read_bytes()}, zipfile.ZIP_STORED)
    for name, source in (("legacy", "nested_part_frozen.h5"), ("legacy-whole", "whole_model.h5")):
        (folder / name).write_bytes((LEGACY / source).read_bytes())


def _zip(path: Path, members: dict[str, bytes], compression: int) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)  # ZipInfo by itself is of 1980


def _tensors(folder: Path, rng: np.random.Generator) -> None:
    arrays = {"first.weight": rng.standard_normal((4, 2, 3, 3)).astype(np.float32), "first.bias": np.zeros(4, np.float32),
              "steps": np.arange(3), "fortran": np.asfortranarray(rng.random((3, 2)))}
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, kind in (("first.weight", "F32"), ("first.bias", "F32"), ("steps", "I64"), ("fortran", "F64")):
        header[name] = {"dtype": kind, "shape": arrays[name].shape, "data_offsets": [len(data), len(data) + arrays[name].nbytes]}
        data += arrays[name].tobytes()
    text = json.dumps(header).encode()
    (folder / "safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    members = {}
    for name, array in arrays.items():
        np.save(out := io.BytesIO(), array)
        members[f"{name}.npy"] = out.getvalue()
    _zip(folder / "npz", members, zipfile.ZIP_STORED)
    _zip(folder / "npz-deflated", members, zipfile.ZIP_DEFLATED)
    for name in ("state.pth", "before_1_6.pth", "nested.ckpt"):
        (folder / f"torch-{Path(name).stem}").write_bytes((TORCH / name).read_bytes())


def _dicom(folder: Path, rng: np.random.Generator) -> None:
    import pydicom
    from pydicom.uid import ImplicitVRLittleEndian, RLELossless

    images = ct_tools.head(2, 12, 10).astype("<i2")
    ct_tools.dicom(folder / "dicom", images[0], SOPInstanceUID="1.2.3.4.5", ImagePositionPatient=[0, 0, 5.0])
    ct_tools.dicom(folder / "dicom-frames", images, SOPInstanceUID="1.2.3.4.6", syntax=ImplicitVRLittleEndian)
    packed = pydicom.dcmread(folder / "dicom")
    packed.compress(RLELossless, generate_instance_uid=False)
    pydicom.dcmwrite(folder / "dicom-rle", packed, enforce_file_format=True)


def _nifti(folder: Path, rng: np.random.Generator) -> None:
    """Plain, packed in two members as some programs write it, and packed with a gibibyte of nothing behind the images."""
    import nibabel

    image = nibabel.Nifti1Image(ct_tools.head(2, 12, 10).astype(np.int16).T, np.eye(4))
    image.header.set_slope_inter(1, 0)
    content = image.to_bytes()
    (folder / "nifti").write_bytes(content)
    members = [gzip.compress(part, mtime=0) for part in (content[:500], content[500:])]
    (folder / "nifti-gz").write_bytes(b"".join(members))
    (folder / "nifti-bomb").write_bytes(b"".join(members) + gzip.compress(bytes(2**24), mtime=0) * 64)
    (folder / "nifti-2").write_bytes(nibabel.Nifti2Image(rng.random((10, 12, 2)).astype(">f4"), np.eye(4)).to_bytes())


def _png(folder: Path, rng: np.random.Generator) -> None:
    """16 bits; colours that are grey, with texts beside; and images that unpack to more than they say."""
    levels = rng.integers(0, 2**16, (12, 10), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    (folder / "png").write_bytes(png(10, 12, 16, 0, [(b"IDAT", zlib.compress(rows))]))
    colours = zlib.compress(b"".join(b"\0" + np.repeat(row.astype(np.uint8), 3).tobytes() for row in levels))
    texts = [(b"tEXt", b"Comment\0a text"), (b"zTXt", b"Comment\0\0" + zlib.compress(b"a text")), (b"gAMA", bytes(4)),
             (b"iCCP", b"profile\0\0" + zlib.compress(bytes(500))), (b"tRNS", bytes(6)), (b"pHYs", bytes(9))]
    (folder / "png-colours").write_bytes(png(10, 12, 8, 2, [*texts, (b"IDAT", colours[:50]), (b"IDAT", colours[50:])]))
    bomb = [(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**26))), (b"IDAT", zlib.compress(rows + bytes(2**26)))]
    (folder / "png-bomb").write_bytes(png(10, 12, 16, 0, bomb))


def png(width: int, height: int, bits: int, colour: int, chunks: list[tuple[bytes, bytes]]) -> bytes:
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)), *chunks, (b"IEND", b"")]
    parts = [struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
