"""Training of the unrolled reconstructions (CG-SENSE's lambda, MoDL, deep basis pursuit), with or without full images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..errors import UsageError
from ..models.measurement import measured_inputs
from ..models.real_border import with_real_inputs
from .held_back import check_share, held_back_loss, split_mask
from .image_trainer import ImageTrainer
from .optimizers import TorchAdam

_MEASUREMENT = ("kspace and sens_maps, complex (N, coils, H, W), and mask (N, H, W), or of a single coil kspace (N, H, W) and "
                "mask")


@keras.saving.register_keras_serializable(package="tfrecon")
class UnrolledRecon(ImageTrainer):
    """An unrolled reconstruction trained on images, or on the measurement alone.

    `call` returns the complex reconstruction (N, H, W). Batches are ({"kspace", "sens_maps", "mask"}, image), complex (N, H,
    W), of `create_paired_dataset(..., task="multicoil")`; without full images ({...},) will do where supervised=False.

    Args:
        model: of `models.unrolled`; None: the default `MoDL()`.
        supervised: loss sum |x_hat - x|^2 in the image; False: sum |A x_hat - y|^2 on the measured samples, which asks for
            no full images (the seed's runs).
        sum_over_batch: add the samples' losses (the seed's copy); False: their mean (DeepInPy).
        held_back: without images: this share of the measured samples, drawn anew in every step, is kept from the model and
            alone judges it, by `held_back.held_back_loss` (0.4 is Yaman's). 0: all samples do both (the seed's runs), which
            a network can satisfy without learning what was not measured.
        seed: of that draw.

    Logs: loss; nrmse, the mean of |x_hat - x| / |x| (0 without images). Validation: ssim, psnr, l1 of magnitudes, nrmse.
    Value range: images of about [0, 1] in magnitude.
    Departures: learning-rate steps, clipping and accumulation are Keras' (schedules; clipnorm, global_clipnorm and
        gradient_accumulation_steps of the optimizer); the magnitude loss, which the original gets wrong, is left out.
    Reference: utcsilab/deepinpy@eafebc7 recons/recon.py; SamiKhandker/ImprovingMRIQuality@9f53d9e; held_back: Yaman et al.,
        Self-supervised learning of physics-guided reconstruction neural networks without fully sampled reference data (2020).
    """

    _optimizer_names = ("optimizer",)

    def __init__(
        self, model: keras.Model | None = None, supervised: bool = True, sum_over_batch: bool = False, held_back: float = 0.0,
        seed: int = 0, **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if model is None:
            from ..models.unrolled import MoDL

            model = MoDL()
        self.model, self.supervised, self.sum_over_batch = model, bool(supervised), bool(sum_over_batch)
        self.held_back, self.seed = check_share(held_back, self.supervised), seed
        if self.held_back:
            self.random = keras.random.SeedGenerator(seed)
        self.train_metrics = [keras.metrics.Mean(name=name) for name in ("loss", "nrmse")]
        self.test_metrics.append(keras.metrics.Mean(name="nrmse"))
        self.built = True

    @property
    def generator(self) -> keras.Model:
        """The network that reconstructs, under the name all training classes have for it."""
        return self.model

    def compile(self, optimizer: Any = None, learning_rate: Any = 1e-3, **kwargs: Any) -> None:
        """Take the optimizer; None: Adam in PyTorch's form at `learning_rate` (number or Keras schedule).

        kwargs: `jit_compile`, `run_eagerly`, `steps_per_execution` of Keras.
        """
        self.compile_optimizers({"optimizer": optimizer or TorchAdam(learning_rate)}, **kwargs)

    def variables_of(self, optimizer_name: str) -> list:
        return self.model.trainable_variables

    def call(self, inputs: Mapping[str, Any], training: bool | None = None) -> Any:
        return self.model(inputs, training=training)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Keras' `predict` of a measurement, arrays or tensors in a dictionary, or of a `tf.data.Dataset`; none gives none.

        Raises:
            ValueError: the measurement is no such dictionary, or its arrays have no batch axis.
        """
        if isinstance(x, Mapping):
            x = {name: np.asarray(value) for name, value in x.items()}
            _check_measurement(x)
            if not len(x["kspace"]):
                return np.zeros((0, *x["kspace"].shape[-2:]), np.complex64)
        elif not isinstance(x, (tf.data.Dataset, keras.utils.PyDataset)):
            raise ValueError(f"predict takes a dictionary of {_MEASUREMENT}; received {type(x).__name__}"
                             f"{getattr(x, 'shape', '')}. `create_paired_dataset(..., task=\"multicoil\")` makes some.")
        return super().predict(x, *args, **kwargs)

    def train_step(self, data: Any) -> dict[str, Any]:
        inputs, image = _unpacked(data)
        given, judges = self._split(inputs)
        with tf.GradientTape() as tape:
            output = self(given, training=True)
            loss = self._loss(judges, image, output)
            scaled = self.scaled(self.optimizer, loss)
        self.minimize(self.optimizer, tape, scaled, self.variables_of("optimizer"))
        return self.log(loss, 0.0 if image is None else tf.reduce_mean(nrmse(image, output)))

    def _split(self, inputs: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """(measurement to reconstruct from, measurement to be judged by)."""
        if not self.held_back:
            return inputs, inputs
        masks = split_mask(inputs["mask"], self.held_back, self.model.consistency.centered, self.random)
        given, judges = (measured_inputs({**inputs, "mask": mask}) for mask in masks)
        return given, judges

    def _loss(self, inputs: Mapping[str, Any], image: Any, output: Any) -> Any:
        if self.held_back:
            losses = held_back_loss(self.model.operator(inputs), inputs, output)
            return tf.reduce_sum(losses) if self.sum_over_batch else tf.reduce_mean(losses)
        if not self.supervised:
            difference = self.model.operator(inputs).forward(output) - inputs["kspace"]
        elif image is None:
            raise UsageError("Supervised training needs batches (inputs, image). Give the images, or supervised=False.")
        else:
            difference = output - tf.cast(image, output.dtype)
        squares = tf.reduce_sum(tf.square(tf.math.real(difference)) + tf.square(tf.math.imag(difference)))
        return squares if self.sum_over_batch else squares / tf.cast(tf.shape(difference)[0], squares.dtype)

    def test_step(self, data: Any) -> dict[str, Any]:
        inputs, image = _unpacked(data)
        if image is None:
            raise UsageError("Validation compares with full images: expected batches (inputs, image).")
        output = self(inputs, training=False)
        facts = data[2] if len(data) > 2 and isinstance(data[2], dict) else {}
        values, judged = self.scores(output, image, facts.get("data_range"))
        for metric, value in zip(self.test_metrics, (*values, nrmse(image, output)), strict=True):
            metric.update_state(value, sample_weight=judged)
        return {m.name: m.result() for m in self.test_metrics}

    def served(self, merged: bool = False) -> keras.Model:
        """The reconstruction as other programs run it: `models.unrolled.with_real_inputs`.

        Args:
            merged: take the model's `inference_form`.
        """
        return with_real_inputs(self.model.inference_form() if merged else self.model)

    def export(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Keras' `export` of `served`: complex numbers as two channels, any number of coils, any size."""
        self.served().export(filepath, *args, **kwargs)

    def magnitude_of(self, images: Any) -> Any:
        """(N, H, W, 1) of complex images (N, H, W)."""
        return tf.abs(images)[..., None]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "model": keras.saving.serialize_keras_object(self.model),
                "supervised": self.supervised, "sum_over_batch": self.sum_over_batch, "held_back": self.held_back,
                "seed": self.seed}


def _check_measurement(inputs: Mapping[str, np.ndarray]) -> None:
    """ValueError unless the arrays are a batch; whether they fit one another is asked where the operator is made."""
    ranks = {"kspace": 4 if "sens_maps" in inputs else 3, "mask": 3}
    if any(name not in inputs or inputs[name].ndim != rank for name, rank in ranks.items()):
        raise ValueError(f"predict takes a dictionary of {_MEASUREMENT}; received "
                         f"{', '.join(f'{name} {value.shape}' for name, value in inputs.items()) or 'an empty one'}. Add a "
                         "missing first axis with x[None].")


def nrmse(image: Any, output: Any) -> Any:
    """|output - image| / |image| of every sample, real (N,); 0 for an empty image."""
    image = tf.cast(image, output.dtype)
    error, size = (tf.norm(tf.reshape(tf.abs(x), (tf.shape(x)[0], -1)), axis=1) for x in (output - image, image))
    return tf.math.divide_no_nan(error, size)


def _unpacked(data: Any) -> tuple[Mapping[str, Any], Any]:
    """(inputs, image or None) of a batch."""
    if isinstance(data, Mapping):
        return data, None
    return data[0], (data[1] if len(data) > 1 else None)
