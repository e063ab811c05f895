"""Runs exported files as other programs do: a SavedModel with plain TensorFlow in a clean process, others by their runtimes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, ResourceError, shown

# Nothing of ours and nothing of Keras: what a server has that knows TensorFlow alone.
_PLAIN_TENSORFLOW = """
import sys
import numpy as np, tensorflow as tf
where, inputs, outputs = sys.argv[1:]
model = tf.saved_model.load(where)
serve = model.signatures["serving_default"]
with np.load(inputs, allow_pickle=False) as file:
    arrays = {name: file[name] for name in file.files}
found = {}
for number in sorted({name.split("/")[0] for name in arrays}, key=int):
    given = {name.split("/")[1]: tf.constant(x) for name, x in arrays.items() if name.split("/")[0] == number}
    found[number] = serve(**given)["reconstruction"].numpy()
assert "tfrecon" not in sys.modules
np.savez(outputs, **found)
"""


def run(path: Any, inputs: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
    """The outputs of an exported file for each set of named inputs.

    Args:
        path: folder of a SavedModel, a file ending in .onnx or .tflite, or a folder `tfrecon export` wrote that holds one.

    Raises:
        DataError: nothing exported is there, or it does not take these inputs. ResourceError: its runtime is missing.
    """
    path = Path(path)
    if (path / "saved_model.pb").is_file():
        return _saved_model(path, inputs)
    if path.is_file() and path.suffix in (".onnx", ".tflite"):
        return (_onnx if path.suffix == ".onnx" else _tflite)(path, inputs)
    raise DataError(f"{shown(path)}: no exported model there; expected a SavedModel's folder, or a file ending in .onnx or "
                    ".tflite")


def _saved_model(path: Path, inputs: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
        np.savez(given, **{f"{i}/{name}": x for i, arrays in enumerate(inputs) for name, x in arrays.items()})
        words = [sys.executable, "-c", _PLAIN_TENSORFLOW, str(path.resolve()), str(given), str(found)]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        result = subprocess.run(words, capture_output=True, text=True, cwd=folder, env=environment)
        if result.returncode:
            raise DataError(f"{shown(path)}: plain TensorFlow could not run it: {_reason(result.stderr)}")
        with np.load(found, allow_pickle=False) as file:
            return [file[str(i)] for i in range(len(inputs))]


def _reason(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    # An assertion's message comes after "Graph execution error:" and lines on where it was.
    telling = [line for line in lines if "Tensor had" in line] or [line for line in lines if "Error" in line] or lines
    return shown((telling or ["no message"])[-1])[:300]


def _onnx(path: Path, inputs: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
    try:
        import onnxruntime
    except ImportError as error:
        raise ResourceError("Running ONNX needs the package onnxruntime: pip install 'tfrecon[onnx]'.") from error
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return [session.run(["reconstruction"], _finite(arrays))[0] for arrays in inputs]
    except DataError:
        raise
    except Exception as error:  # onnxruntime's own errors share no base class with a name
        raise DataError(f"{shown(path)}: onnxruntime could not run it: {shown(str(error))[:300]}") from error


def _tflite(path: Path, inputs: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
    import tensorflow as tf

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the interpreter announces its move to another package
            interpreter = tf.lite.Interpreter(str(path))
        interpreter.allocate_tensors()
        return [_call(interpreter, *_finite(arrays).values()) for arrays in inputs]
    except (ValueError, RuntimeError) as error:
        raise DataError(f"{shown(path)}: TensorFlow Lite could not run it: {shown(str(error))[:300]}") from error


def _call(interpreter: Any, image: np.ndarray) -> np.ndarray:
    (given,), (found,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(given["index"], image)
    interpreter.invoke()
    return interpreter.get_tensor(found["index"])


def _finite(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Checked here: neither format can refuse NaN by itself."""
    bad = [name for name, x in arrays.items() if not np.isfinite(x).all()]
    if bad:
        raise DataError(f"{', '.join(bad)}: holds NaN or infinity; a reconstruction of it would look like a picture and be none")
    return arrays
