"""Golden files: inputs and the answers they had when a network was exported."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, shown
from ..files import write_whole

_LIMIT = 2 * 2**30  # bytes of all arrays together


@dataclass(frozen=True)
class Case:
    """One call: named inputs and the output expected, float arrays."""

    inputs: dict[str, np.ndarray]
    output: np.ndarray


def write_golden(path: Any, cases: list[Case]) -> Path:
    """Write cases into an .npz, completely or not at all."""
    arrays = {f"{number}/in/{name}": x for number, case in enumerate(cases) for name, x in case.inputs.items()}
    arrays |= {f"{number}/out": case.output for number, case in enumerate(cases)}
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return write_whole(path, content.getvalue())


def read_golden(path: Any) -> list[Case]:
    """Read what `write_golden` wrote; nothing is unpickled.

    Raises:
        DataError: missing, damaged, too large, or no golden file.
    """
    where = shown(path)
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
            if size > _LIMIT:
                raise DataError(f"{where}: its arrays take {size} bytes, expected at most {_LIMIT}")
            arrays = {info.filename.removesuffix(".npy"): _array(archive.read(info)) for info in archive.infolist()}
    except DataError:
        raise
    except Exception as error:  # zipfile and NumPy's reader of headers raise whatever the bytes make them trip over
        raise DataError(f"{where}: is no golden file ({str(error)[:200]}); `tfrecon export` writes golden.npz") from error
    return _cases(arrays, where)


def _array(content: bytes) -> np.ndarray:
    """A `.npy` file's array, without room for more than the file has, whatever its header declares."""
    stream = io.BytesIO(content)
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, fortran, dtype = headers[np.lib.format.read_magic(stream)](stream)
    values = np.frombuffer(content, dtype, offset=stream.tell()).reshape(shape, order="F" if fortran else "C")
    return values.copy()  # one that can be written to


def _cases(arrays: dict[str, np.ndarray], where: str) -> list[Case]:
    cases = []
    while f"{len(cases)}/out" in arrays:
        prefix = f"{len(cases)}/in/"
        inputs = {name.removeprefix(prefix): x for name, x in arrays.items() if name.startswith(prefix)}
        cases.append(Case(inputs, arrays[f"{len(cases)}/out"]))
    numbers = all(x.dtype.kind in "fiu" for x in arrays.values())
    if not cases or not numbers or len(arrays) != sum(len(case.inputs) + 1 for case in cases) or not all(c.inputs for c in cases):
        raise DataError(f"{where}: is no golden file: expected arrays named 0/in/image, 0/out, 1/in/image, ...; `tfrecon "
                        "export` writes golden.npz")
    return cases
