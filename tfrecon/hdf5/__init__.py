"""The one guarded way to open an HDF5 file that somebody else made.

HDF5 is more than arrays: a file can point at other files, load plugins from disk, declare terabytes in a kilobyte
or send a reader round in circles. Every reader of data and of weights comes through here. Files are only ever opened
for reading and without locks, and whatever is wrong becomes a `DataError` that begins with the file's name.
"""

import errno
import math
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager

import h5py
import numpy as np

from ..errors import DataError, TfreconError, shown
from .tasting import own_taster
from .texts import check_texts

# One chunk is decompressed as a whole however little of it is asked for. fastMRI volumes use chunks of one slice
# (2 to 60 MB); a whole volume in one chunk is rare but real, and 1 GiB still fits a free Colab machine.
MAX_CHUNK_BYTES = 2**30
# Below this size a declared but unstored array can hurt nobody, so well compressed masks and zeros pass.
ALWAYS_ALLOWED_BYTES = 2**28
# Deflate, the strongest common filter, cannot shrink below 1 byte in 1032; 1100 leaves room for odd last chunks.
MAX_COMPRESSION = 1100
# Attributes are labels; anything larger is data in the wrong place. 64 KiB is also HDF5's own limit for compact ones.
MAX_ATTRIBUTE_BYTES = 2**16
# HDF5 itself gives up after 16 soft links in a row.
MAX_SOFT_LINKS = 16
# deflate, shuffle, fletcher32, szip, nbit and scale-offset are in HDF5, LZF in h5py; others are plugins found on disk.
BUILT_IN_FILTERS = frozenset({1, 2, 3, 4, 5, 6, 32000})

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_LABEL_TYPES = (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING, h5py.h5t.ENUM)
_LIBRARY_ERRORS = (OSError, RuntimeError, KeyError, TypeError, ValueError, OverflowError)
_UNPACK = "unpack it and give the .h5 inside"
_NO_CODE = "it is never opened here as data, because unpickling can run code"
_DOWNLOAD = "download it again, signed in if the site needs it"
_MAGIC = (  # offset, first bytes, what it is, what to do
    (0, b"version https://git-lfs", "a git-LFS pointer, not the file itself", "run `git lfs pull` in its repository"),
    (0, b"\x1f\x8b", "a gzip archive", _UNPACK),
    (0, b"BZh", "a bzip2 archive", _UNPACK),
    (0, b"\xfd7zXZ\x00", "an xz archive", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"\x93NUMPY", "a NumPy .npy array", "save the array in an HDF5 file with h5py"),
    (0, b"MATLAB 5.0", "a MATLAB file older than version 7.3", "save it again with -v7.3"),
    (0, b"\x0e\x03\x13\x01", "an HDF4 file", "convert it with h4toh5"),
    (128, b"DICM", "a DICOM image", "DICOM holds images, not k-space; rename it to .dcm"),
    (344, b"n+1\x00", "a NIfTI image", "NIfTI holds images, not k-space; rename it to .nii"),
)
_ZIPPED = (  # a name found in the first entries of the zip, what it is, what to do
    (b"data.pkl", "a PyTorch file", _NO_CODE),
    (b"config.json", "a whole Keras model (.keras)", "give it as weights, not as data"),
    (b".npy", "a NumPy .npz archive", "save its arrays in an HDF5 file with h5py"),
)


@contextmanager
def guard(path: str | os.PathLike, doing: str) -> Iterator[None]:
    """Turns whatever h5py raises inside into a `DataError` saying which file and what was being done."""
    try:
        yield
    except TfreconError:
        raise
    except _LIBRARY_ERRORS as error:
        reason = str(error).strip("'\"").splitlines() or [type(error).__name__]
        raise DataError(
            f"{shown(path)}: {doing} failed ({reason[0]}); the file is damaged, download or copy it again"
        ) from error


def file_error(path: str | os.PathLike, error: OSError) -> DataError:
    """The `DataError` for a path the operating system would not give us."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return DataError(f"{shown(path)}: {_what_is_missing(path)}; the nearest folder that exists is {_nearest(path)}")
    if isinstance(error, PermissionError):
        return DataError(f"{shown(path)}: no permission to read it ({_user()}; {_mode(path)}); "
                         "ask its owner, or change the mode with chmod")
    if error.errno == errno.ELOOP:
        return DataError(f"{shown(path)}: the symbolic links go in a circle; remove the link")
    return DataError(f"{shown(path)}: cannot be read ({error.strerror or error}); check the path and the disk")


def _what_is_missing(path: str | os.PathLike) -> str:
    if os.path.islink(path):
        return f"dangling link, its target {shown(os.readlink(path))} does not exist"
    return "does not exist"


def _nearest(path: str | os.PathLike) -> str:
    """The longest leading part of a path that exists."""
    parent = os.path.dirname(os.path.abspath(os.fsdecode(path)))
    while not os.path.exists(parent) and parent != os.path.dirname(parent):
        parent = os.path.dirname(parent)
    return shown(parent)


def _user() -> str:
    return f"user id {os.geteuid()}" if hasattr(os, "geteuid") else "this user"


def _mode(path: str | os.PathLike) -> str:
    """Mode and owner of the path, or of its folder when the folder hides it."""
    path = os.path.abspath(os.fsdecode(path))
    try:
        status = os.stat(path)
    except PermissionError:
        return _mode(os.path.dirname(path))
    except OSError as error:
        return str(error.strerror)
    return f"{shown(path)} has mode {stat.filemode(status.st_mode)} and owner id {status.st_uid}"


def open_hdf5(path: str | bytes | os.PathLike) -> h5py.File:
    """Opens a foreign HDF5 file for reading, or says in one sentence why it cannot be one.

    Args:
        path: the file. It is opened with mode "r" and `locking=False`, so a file that another program holds
            locked, or that lies on a network disk without locks, can be read.

    Returns:
        The open `h5py.File`, usable in a `with` statement.
    """
    path = os.fsdecode(path)
    try:
        status = os.stat(path)
        _check_regular(path, status)
        with open(path, "rb") as stream:
            _check_signature(path, stream, status.st_size)
        own_taster().check(path)
        return _open_unlocked(path)
    except TfreconError:
        raise
    except _LIBRARY_ERRORS as error:
        raise _open_error(path, error) from error


def _open_unlocked(path: str) -> h5py.File:
    """Without locks, unless this very process has the file open with them: HDF5 wants the same choice twice."""
    for locking in (False, None, True):
        try:
            return h5py.File(path, "r", locking=locking)
        except OSError as error:
            if "flag values don't match" not in str(error):
                raise
    return h5py.File(path, "r", locking="best-effort")


def _check_regular(path: str, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise DataError(f"{shown(path)}: is a folder, expected an HDF5 file; give a file inside it")
    if not stat.S_ISREG(status.st_mode):
        kind = stat.filemode(status.st_mode)
        raise DataError(f"{shown(path)}: is not a regular file ({kind}), expected an HDF5 file on disk")
    if status.st_size == 0:
        raise DataError(f"{shown(path)}: empty file (0 bytes), expected HDF5; download or copy it again")


def _check_signature(path: str, stream, size: int) -> None:
    """HDF5 may follow a user block, so its signature stands at byte 0, 512, 1024, 2048 and so on."""
    head = stream.read(4096)
    offset = 0
    while offset + len(_SIGNATURE) <= size:
        stream.seek(offset)
        if stream.read(len(_SIGNATURE)) == _SIGNATURE:
            return
        offset = max(512, 2 * offset)
    what, advice = _sniff(head)
    raise DataError(f"{shown(path)}: not an HDF5 file but {what}; {advice}")


def _sniff(head: bytes) -> tuple[str, str]:
    """What a file that is not HDF5 really is, and what to do about it."""
    for offset, magic, what, advice in _MAGIC:
        if head[offset:].startswith(magic):
            return what, advice
    if head.startswith(b"PK\x03\x04"):
        return next(((w, a) for name, w, a in _ZIPPED if name in head), ("a zip archive", _UNPACK))
    if re.match(rb"\x80[\x02-\x05]", head):
        return "a Python pickle (an old PyTorch file is one)", _NO_CODE
    if re.match(rb"\s*<(!doctype|html|head|body|\?xml)", head, re.IGNORECASE):
        return "a web page, perhaps an error or sign-in page saved under this name", _DOWNLOAD
    if not head.strip(b"\x00"):
        return "zero bytes at its beginning, as an interrupted download leaves them", _DOWNLOAD
    return _text_or_unknown(head)


def _text_or_unknown(head: bytes) -> tuple[str, str]:
    text = head[:60].decode("utf-8-sig", "replace").removesuffix("\ufffd")  # the cut may halve the last character
    if "\ufffd" not in text and all(c.isprintable() or c.isspace() for c in text):
        return f"plain text beginning {' '.join(text.split())!r}", _DOWNLOAD
    return f"something unknown (first bytes {head[:8].hex(' ')})", _DOWNLOAD


def _open_error(path: str, error: Exception) -> DataError:
    """HDF5 tells truncation and unfinished writers apart in its text only."""
    text = " ".join(str(error).split())
    expected = re.search(r"truncated file.*stored_eof = (\d+)", text)
    if expected:
        return DataError(f"{shown(path)}: truncated, has {os.path.getsize(path)} bytes of the {expected[1]} its header "
                         "declares; download it again")
    if "already open for write" in text:
        return DataError(f"{shown(path)}: another program is writing it, or stopped in the middle of writing; "
                         "wait, or clear the mark with `h5clear -s`")
    if isinstance(error, OSError) and error.errno is not None:
        return file_error(path, error)
    return DataError(f"{shown(path)}: HDF5 cannot open it ({text}); it is damaged, download it again")


def get_dataset(file: h5py.File, key: str, expected: str = "an array") -> h5py.Dataset:
    """The array under `key`, reached link by link and refused if it is not plainly stored in this file.

    Args:
        file: an open file from `open_hdf5`.
        key: name or path of the array.
        expected: how the error names what should have been there, for example "a 4-D complex array".
    """
    path = file.filename
    with guard(path, f"opening {shown(key)}"):
        found = _resolve(file["/"], key)
        if not isinstance(found, h5py.Dataset):
            raise DataError(f"{shown(path)}: {shown(key)} must be {expected}, found {_describe(found)}")
        _check_dataset(found, key)
    return found


def _describe(found: h5py.HLObject) -> str:
    return f"a group holding {keys_found(found)}" if isinstance(found, h5py.Group) else "a named type"


def keys_found(group: h5py.Group) -> str:
    """The names in a group, for an error message; long lists are cut."""
    names = [shown(name) for name in group]
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return (", ".join(names[:12]) or "nothing") + more


def _resolve(group: h5py.Group, key: str) -> h5py.HLObject:
    """Follows a path by hand, because h5py would walk into other files and through loops without a word."""
    here, parts, followed = group, key.split("/"), 0
    while parts:
        name = parts.pop(0)
        if name in ("", "."):
            continue
        link = _link(here, name, key)
        if isinstance(link, h5py.SoftLink):
            followed += 1
            if followed > MAX_SOFT_LINKS:
                raise _broken(group, key, "it leads round in a circle")
            here = group.file["/"] if link.path.startswith("/") else here
            parts = link.path.split("/") + parts
            key = key if followed > 1 else f"{key} -> {link.path}"
        else:
            here = here[name]
    return here


def _link(here: h5py.HLObject, name: str, key: str) -> h5py.HardLink | h5py.SoftLink:
    """The link called `name`; its absence and links out of the file are refused."""
    # `name in here` would follow the link, even into another file.
    exists = isinstance(here, h5py.Group) and here.id.links.exists(name.encode("utf-8", "surrogateescape"))
    link = here.get(name, getlink=True) if exists else None
    if isinstance(link, h5py.HardLink | h5py.SoftLink):
        return link
    path = shown(here.file.filename)
    if link is not None:
        raise DataError(f"{path}: {shown(key)} is a link into another file ({shown(link.filename)}), which is refused; "
                        "copy the data into this file")
    if " -> " in key:
        raise _broken(here, key, "its target is not in the file")
    inside = keys_found(here) if isinstance(here, h5py.Group) else "an array, which holds no keys"
    raise DataError(f"{path}: no key {shown(key)}; found {inside}")


def _broken(group: h5py.HLObject, key: str, why: str) -> DataError:
    path = shown(group.file.filename)
    return DataError(f"{path}: broken link {shown(key)}: {why}; the file is damaged, get it again")


def _check_dataset(dataset: h5py.Dataset, key: str) -> None:
    """Refuses what is stored elsewhere, needs foreign code or is larger than it can be. Reads no data."""
    where = f"{shown(dataset.file.filename)}: {shown(key)}"
    properties = dataset.id.get_create_plist()
    layout = properties.get_layout()
    # Asked first: finding out even the shape of a virtual dataset can open the files it is made of.
    if layout == h5py.h5d.VIRTUAL or properties.get_external_count():
        raise DataError(f"{where} is kept in other files (virtual or external storage), which is refused; "
                        "copy the data into this file, for example with h5repack")
    _check_filters(properties, where)
    if isinstance(dataset.id.get_type(), h5py.h5t.TypeCompoundID) and _overlaps(dataset.dtype):
        raise DataError(f"{where} has numbers that lie over each other ({dataset.dtype}); the file is damaged, get it again")
    if layout != h5py.h5d.COMPACT:
        _check_size(dataset, where, layout)


def _check_filters(properties: h5py.h5p.PropDCID, where: str) -> None:
    for number in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(number)
        if code not in BUILT_IN_FILTERS:
            raise DataError(f"{where} is compressed with the plugin filter {code} {name.decode('utf-8', 'replace')!r}, "
                            "which would load code from disk; write it again with gzip or uncompressed")


def _overlaps(dtype: np.dtype) -> bool:
    """Whether a damaged number got more bytes than it has room: HDF5 would write over the next one and past the array's end."""
    fields = sorted((offset, offset + kind.itemsize) for kind, offset, *_ in (dtype.fields or {}).values())
    inner = any(_overlaps(kind.base) for kind, *_ in (dtype.fields or {}).values())
    begins = [begin for begin, _ in fields[1:]] + [dtype.itemsize]
    return inner or any(end > begin for (_, end), begin in zip(fields, begins))


def _check_size(dataset: h5py.Dataset, where: str, layout: int) -> None:
    """An array cannot be much larger than what the file stores for it."""
    size = dataset.id.get_type().get_size()
    declared = math.prod(dataset.shape) * size if dataset.shape is not None else 0
    stored = dataset.id.get_storage_size()
    sizes = f"{where} {dataset.shape} declares {declared} bytes"
    if declared and not stored:
        raise DataError(f"{sizes}, but the data was never written (a full disk leaves such files); get the file again")
    if layout == h5py.h5d.CONTIGUOUS:
        end = (dataset.id.get_offset() or 0) + stored
        if declared > stored or end > os.path.getsize(dataset.file.filename):
            raise DataError(f"{sizes}, more than the file holds; the file is damaged, get it again")
        return
    chunk = math.prod(dataset.chunks) * size
    if chunk > MAX_CHUNK_BYTES:
        raise DataError(f"{where} has chunks of {chunk} bytes, the limit is {MAX_CHUNK_BYTES}; "
                        "write it again with one slice per chunk")
    if declared > max(ALWAYS_ALLOWED_BYTES, MAX_COMPRESSION * stored):
        raise DataError(f"{sizes} but stores only {stored}, which no real volume does; write it again without the gaps")


def check_tree(file: h5py.File) -> None:
    """Walks everything in the file, refusing what `get_dataset` refuses; used for weight files, read by other code."""
    with guard(file.filename, "walking through the file"):
        seen, pending = set(), [file["/"]]
        while pending:
            group = pending.pop()
            for key in group:
                found = _resolve(group, key)
                address = h5py.h5o.get_info(found.id).addr
                if address in seen:  # groups may contain each other, so a walk without memory need not end
                    continue
                seen.add(address)
                if isinstance(found, h5py.Dataset):
                    _check_dataset(found, f"{group.name}/{key}".replace("//", "/"))
                elif isinstance(found, h5py.Group):
                    pending.append(found)


def read_attributes(owner: h5py.File | h5py.Dataset) -> dict[str, bool | int | float | str]:
    """The attributes that are plain numbers or strings; large ones and odd types are left out."""
    with guard(owner.file.filename, "listing attributes"):
        names = list(owner.attrs)
    found = {name: _attribute(owner, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _attribute(owner: h5py.File | h5py.Dataset, name: str) -> bool | int | float | str | None:
    """One attribute as a Python value, None for what cannot be one; one broken label must not cost a volume."""
    try:
        stored = owner.attrs.get_id(name)
        # A damaged type makes the library itself crash while it reads; labels are of plain types.
        if stored.get_storage_size() > MAX_ATTRIBUTE_BYTES or stored.get_type().get_class() not in _LABEL_TYPES:
            return None
        check_texts(owner, stored)
        value = np.asarray(owner.attrs[name])
    except _LIBRARY_ERRORS:
        return None
    return _plain(value.reshape(-1)[0]) if value.size == 1 else None  # MATLAB writes scalars as (1, 1)


def _plain(value: object) -> bool | int | float | str | None:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace") if len(value) <= MAX_ATTRIBUTE_BYTES else None
    return value if isinstance(value, bool | int | float) else None
