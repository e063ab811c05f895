"""A network as other programs run it: named input and output, numbers checked, sizes padded, units converted inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from ..errors import UsageError
from .measurement import apply_padded
from .sizes import check_counts

UNITS = ("network", "magnitude", "symmetric", "window", "grey255")
_NOT_FINITE = "the image holds NaN or infinity; a reconstruction of it would look like a picture and be none"


class Served(keras.Model):
    """Images in, reconstructions out, under the names `image` and `reconstruction`.

    Args:
        network: (N, H, W, C) -> (N, factor H, factor W, K).
        finish: what makes the reconstruction (N, h, w, L) of that answer; None: the answer is it.
        units: what goes in and comes out. "network": (N, H, W, C) as the network takes it and (N, H, W, K) as it answers. Else
            grey images (N, H, W) in and out, in the same units: "magnitude", divided by the largest value; "symmetric", the same
            and to [-1, 1]; "window", Hounsfield units seen through `window`, what lies outside kept; "grey255", the largest
            value made 255. An empty image stays 0.
        window: (centre, width) of units "window".
        multiple: height and width are continued to multiples of it, mirrored, and cropped back.
        factor: how much larger the answer is.
        checked: an image that is not finite is an error of the graph (`InvalidArgumentError`), no picture. ONNX and TensorFlow
            Lite have no such operation: False for them.

    Value range: of "network" the network's own; of the others any.
    """

    def __init__(
        self,
        network: keras.Model,
        finish: Callable[[Any], Any] | None = None,
        units: str = "network",
        window: Sequence[float] | None = None,
        multiple: int = 1,
        factor: int = 1,
        checked: bool = True,
    ):
        super().__init__(name="served", dtype="float32")
        check_counts(multiple=multiple, factor=factor)
        if units not in UNITS:
            raise UsageError(f"The units must be one of {', '.join(UNITS)}, received {units!r}.")
        if (units == "window") != (window is not None):
            raise UsageError("A window (centre, width) belongs to units=\"window\", and to no others; received "
                             f"units={units!r} with window={window!r}.")
        self.network, self.finish, self.units, self.window = network, finish, units, window
        self.channels = network.input_shape[-1]
        self.multiple, self.factor, self.checked = int(multiple), int(factor), bool(checked)
        self.built = True

    def call(self, image: Any) -> dict[str, Any]:
        image = tf.cast(image, tf.float32)
        if self.checked:
            with tf.control_dependencies([tf.debugging.assert_all_finite(image, _NOT_FINITE)]):
                image = tf.identity(image)
        if self.units == "network":
            return {"reconstruction": self._answer(image)}
        seen, scale = self._seen(image)
        answer = tf.reduce_mean(self._answer(tf.repeat(seen[..., None], self.channels, axis=-1)), axis=-1)
        if self.units == "window":
            return {"reconstruction": image + (answer - seen) * scale}
        answer = (answer + 1.0) / 2.0 if self.units == "symmetric" else answer
        return {"reconstruction": answer * scale}

    def _seen(self, image: Any) -> tuple[Any, Any]:
        """(grey image in the network's units, what 1 of these is worth)."""
        if self.units == "window":
            centre, width = self.window
            return tf.clip_by_value((image - centre) / (width / 2.0), -1.0, 1.0), width / 2.0
        largest = tf.reduce_max(image, axis=(1, 2), keepdims=True)
        whole = 255.0 if self.units == "grey255" else 1.0
        seen = whole * tf.math.divide_no_nan(image, largest)
        return (2.0 * seen - 1.0 if self.units == "symmetric" else seen), tf.maximum(largest, 0.0) / whole

    def _answer(self, image: Any) -> Any:
        if self.factor == 1:
            answer = apply_padded(lambda x: self.network(x, training=False), image, self.multiple, mirrored=True)
        else:
            answer = self.network(image, training=False)
        return tf.cast(answer if self.finish is None else self.finish(answer), tf.float32)

    def signature(self, batch: int | None = None, height: int | None = None, width: int | None = None) -> list[tf.TensorSpec]:
        """What `call` takes, None for what may vary."""
        channels = (self.channels,) if self.units == "network" else ()
        return [tf.TensorSpec((batch, height, width, *channels), tf.float32, name="image")]

    def export(self, filepath: Any, format: str = "tf_saved_model", size: tuple = (None, None, None), **kwargs: Any) -> None:
        """Keras' `export` with this signature; `size` is (batch, height, width)."""
        super().export(str(filepath), format=format, input_signature=self.signature(*size), **kwargs)


class ServedFlow(keras.Model):
    """Latents in, pictures out: `latents` (N, D), standard normal, and `reconstruction` (N, H, W) in about [0, 1].

    Args:
        flow: `models.spline_flow.SplineFlow` of pictures of one channel.
    """

    def __init__(self, flow: Any):
        super().__init__(name="served", dtype="float32")
        self.flow, self.built = flow, True

    def call(self, latents: Any) -> dict[str, Any]:
        with tf.control_dependencies([tf.debugging.assert_all_finite(latents, _NOT_FINITE)]):
            values = self.flow.inverse(tf.identity(latents))[0]
        return {"reconstruction": values[..., 0] / 2.0**self.flow.num_bits}

    def export(self, filepath: Any, format: str = "tf_saved_model", **kwargs: Any) -> None:
        """Keras' `export` with this signature, any number of pictures."""
        signature = [tf.TensorSpec((None, self.flow.latent_size), tf.float32, name="latents")]
        super().export(str(filepath), format=format, input_signature=signature, **kwargs)
