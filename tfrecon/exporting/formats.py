"""Writers of SavedModel, ONNX and TensorFlow Lite."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from ..errors import ResourceError, UsageError
from ..files import write_whole

FORMATS = {"saved_model": "saved_model", "onnx": "model.onnx", "tflite": "model.tflite"}
_OPSET = 17  # the newest tf2onnx writes whole


def write(format: str, served: Any, folder: Any, signature: list[Any] | None = None) -> Path:
    """Write one format into a folder; what is there under the name is replaced when the new one is complete.

    Args:
        format: a key of `FORMATS`, whose value is the name it gets.
        served: `models.served.Served`; or for SavedModel alone, any Keras model with named inputs and outputs.
        signature: of a `Served`: tensors it takes, None in them for sizes that may vary; TensorFlow Lite wants all fixed.

    Returns:
        The file or folder.

    Raises:
        UsageError: no such format, or a size left open that it cannot leave open. ResourceError: a package is missing, the
        conversion failed, or nothing can be written.
    """
    writers: dict[str, Callable] = {"saved_model": _saved_model, "onnx": _onnx, "tflite": _tflite}
    if format not in writers:
        raise UsageError(f"The format must be one of {', '.join(FORMATS)}, received {format!r}.")
    path = Path(folder) / FORMATS[format]
    path.parent.mkdir(parents=True, exist_ok=True)
    writers[format](served, path, signature)
    return path


def _saved_model(served: Any, path: Path, signature: list[Any] | None) -> None:
    import tensorflow as tf

    part = path.with_name(f".{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        sizes = {} if signature is None else {"size": signature[0].shape[:3]}
        with redirect_stdout(StringIO()):  # Keras prints the signature, which the caller shows in its own words
            served.export(part, verbose=False, **sizes)
        shutil.rmtree(path, ignore_errors=True)
        part.rename(path)
    except (OSError, tf.errors.OpError) as error:
        raise ResourceError(f"{path}: could not be written ({str(error).splitlines()[0]}). Check the folder and the space on the "
                            "disk.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _onnx(served: Any, path: Path, signature: list[Any] | None) -> None:
    try:
        import tf2onnx
    except ImportError as error:
        raise ResourceError("ONNX needs the packages tf2onnx, onnx and onnxruntime: pip install 'tfrecon[onnx]'.") from error
    import tensorflow as tf

    function = tf.function(lambda image: served(image), input_signature=signature)
    with _converting("ONNX"):
        model, _ = tf2onnx.convert.from_function(function, signature, opset=_OPSET)
    _name_output(model)
    write_whole(path, model.SerializeToString())


def _name_output(model: Any) -> None:
    """Call the only output `reconstruction`, whatever the converter called it."""
    (output,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = ["reconstruction" if name == output.name else name for name in node.output]
        node.input[:] = ["reconstruction" if name == output.name else name for name in node.input]
    output.name = "reconstruction"


def _tflite(served: Any, path: Path, signature: list[Any] | None) -> None:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    if any(n is None for spec in signature or () for n in spec.shape):
        raise UsageError("TensorFlow Lite wants fixed sizes: give batch, height and width (--batch 1 --size HxW).")
    function = tf.function(lambda image: served(image), input_signature=signature).get_concrete_function()
    with _converting("TensorFlow Lite"):
        # Not Keras' own litert export: it reports success and writes a file that nothing can run. And with the weights as
        # constants: as variables they come out as resources that nobody fills.
        frozen = convert_variables_to_constants_v2(function)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        content = converter.convert()
    write_whole(path, content)


class _converting:
    """Keeps a converter's chatter to itself and turns its failures into ours."""

    def __init__(self, name: str):
        self.name = name

    def __enter__(self) -> None:
        self._quiet = (redirect_stdout(StringIO()), redirect_stderr(StringIO()), warnings.catch_warnings())
        for each in self._quiet:
            each.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        for each in reversed(self._quiet):
            each.__exit__(None, None, None)
        if isinstance(error, Exception):
            first = next(iter(str(error).strip().splitlines()), kind.__name__)
            raise ResourceError(f"The conversion to {self.name} failed: {first[:300]} Export a SavedModel instead.") from error
