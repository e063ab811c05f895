"""Unrolled reconstruction of undersampled multi-coil MRI: CG-SENSE, MoDL and deep basis pursuit, with their denoisers.

All take {"kspace": complex (N, coils, H, W), "sens_maps": complex (N, coils, H, W), "mask": (N, H, W), 1 where sampled} and
return the complex image (N, H, W); without "sens_maps", k-space (N, H, W) of a single coil. Networks see complex images as
two channels; lambda is trained along with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from ..errors import UsageError
from ..layers import DataConsistency
from ..physics.operators import LinearOperator
from ..physics.solvers import conjugate_gradient, project_onto_ball, squared_norm
from ..transforms import channels_to_complex, complex_to_channels
from .denoisers import cnn_denoiser, resnet5block_denoiser, resnet_denoiser, unet_denoiser
from .inference_form import inference_form
from .measurement import apply_padded, measured_inputs, measurement
from .real_border import with_real_inputs
from .sizes import check_counts

__all__ = ["CGSense", "DeepBasisPursuit", "MoDL", "cnn_denoiser", "resnet5block_denoiser", "resnet_denoiser", "unet_denoiser",
           "with_real_inputs"]

_CG_STARTS = ("previous", "zero")
_ADMM_TOLERANCE = 1e-2


class Unrolled(keras.Model):
    """What the three share: inputs, their check, lambda and the settings of conjugate gradient.

    Args:
        l2lam: where lambda starts, at least 0; what it weighs is the subclass's.
        cg_max_iter, cg_eps: see `physics.solvers.conjugate_gradient`; DeepInPy's are 10 and 1e-4.
        centered: DC in the middle of the k-space and the mask (fastMRI's files); False: at index 0, the originals' own.
        unrolled_cg: conjugate gradient written out instead of a loop (see there).
    """

    def __init__(
        self,
        l2lam: float,
        cg_max_iter: int = 10,
        cg_eps: float = 1e-4,
        centered: bool = True,
        unrolled_cg: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        # Full precision under mixed_float16 too: complex numbers have no half precision.
        self.consistency = DataConsistency(l2lam, True, cg_max_iter, cg_eps, centered, unrolled_cg, name="consistency",
                                           dtype=self.dtype_policy.variable_dtype)
        self.built = True

    def call(self, inputs: Mapping[str, Any], training: bool | None = None) -> Any:
        return self.reconstruct(inputs, training)[0]

    def reconstruct(self, inputs: Mapping[str, Any], training: bool | None = None) -> tuple[Any, list]:
        """(complex image (N, H, W), iterations conjugate gradient took in every solve)."""
        return self._iterate(measured_inputs(inputs), training)

    def _iterate(self, inputs: Mapping[str, Any], training: bool | None) -> tuple[Any, list]:
        raise NotImplementedError

    def export(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Keras' `export` of `with_real_inputs`: a SavedModel knows complex inputs only as two channels."""
        with_real_inputs(self).export(filepath, *args, **kwargs)

    def operator(self, inputs: Mapping[str, Any]) -> LinearOperator:
        """The measurement: coil maps, Fourier transform and mask of these inputs."""
        return measurement(inputs, self.consistency.centered)

    def own_config(self) -> dict[str, Any]:
        """The subclass's constructor arguments besides these."""
        return {}

    def get_config(self) -> dict[str, Any]:
        c = self.consistency
        return {**super().get_config(), "l2lam": c.initial, "cg_max_iter": c.cg_max_iter, "cg_eps": c.cg_eps,
                "centered": c.centered, "unrolled_cg": c.unrolled, **self.own_config()}


class _WithDenoiser(Unrolled):
    """Those with a network."""

    def __init__(self, denoiser: keras.Model | None, num_unrolls: int, l2lam: float, multiple: int = 1, **kwargs: Any):
        super().__init__(l2lam, **kwargs)
        check_counts(num_unrolls=num_unrolls, multiple=multiple)
        self.num_unrolls, self.multiple = num_unrolls, int(multiple)
        self.denoiser = resnet_denoiser() if denoiser is None else denoiser

    def denoise(self, x: Any, training: bool | None) -> Any:
        """The denoiser's answer to a complex image."""
        answer = apply_padded(lambda image: self.denoiser(image, training=training), complex_to_channels(x), self.multiple)
        return channels_to_complex(tf.cast(answer, x.dtype.real_dtype))

    def inference_form(self) -> _WithDenoiser:
        """The same reconstruction with `models.inference_form` of the denoiser: less work, for inference only.

        A copy with the weights of now. Worth it for `resnet_denoiser`'s 7x7 convolutions (0.6 of their time).
        """
        form = type(self)(**{**self.get_config(), "denoiser": inference_form(self.denoiser)})
        form.consistency.set_weights(self.consistency.get_weights())
        form.trainable = False
        return form

    def own_config(self) -> dict[str, Any]:
        denoiser = keras.saving.serialize_keras_object(self.denoiser)
        return {"denoiser": denoiser, "num_unrolls": self.num_unrolls, "multiple": self.multiple}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        denoiser = keras.saving.deserialize_keras_object(config["denoiser"], custom_objects)
        return cls(**{**config, "denoiser": denoiser})


@keras.saving.register_keras_serializable(package="tfrecon")
class CGSense(Unrolled):
    """CG-SENSE: (A^H A + lambda) x = A^H y by conjugate gradient from 0; nothing is learned but, if wanted, lambda.

    Args: see `Unrolled`; l2lam starts at 1e-3, DeepInPy's.

    Value range: k-space in any units; cg_eps is in those of the image.
    Departures: centred transforms and stopping as in `Unrolled`; 0/0 in converged samples is 0.
    Reference: Pruessmann et al. (2001); utcsilab/deepinpy@eafebc7 recons/cgsense.
    """

    def __init__(self, l2lam: float = 1e-3, **kwargs: Any):
        super().__init__(l2lam, **kwargs)

    def _iterate(self, inputs: Mapping[str, Any], training: bool | None) -> tuple[Any, list]:
        operator = self.operator(inputs)
        x, count = self.consistency.solve(operator, operator.adjoint(inputs["kspace"]))
        return x, [count]


@keras.saving.register_keras_serializable(package="tfrecon")
class MoDL(_WithDenoiser):
    """MoDL: from x = A^H y, `num_unrolls` times r = D(x), (A^H A + lambda) x = A^H y + lambda r, all with one denoiser.

    With a single coil and no maps the second step is solved in closed form.

    Args:
        denoiser: (N, H, W, 2) -> the same; None: `resnet_denoiser()`. `cnn_denoiser()` with num_unrolls=10, cg_start="zero",
            cg_eps=1e-5 and centered=False is the published MoDL.
        num_unrolls: 4 in the seed.
        l2lam: where lambda starts (DeepInPy 1e-3).
        cg_start: conjugate gradient starts at the "previous" x (DeepInPy) or at "zero" (the published MoDL).
        kwargs: of `Unrolled`; and multiple, what the denoiser's height and width must be multiples of (8 for
            `unet_denoiser()`): its images are padded with zeros and cropped back.

    Value range: images of about [0, 1] in magnitude (k-space divided accordingly).
    Departures: centred transforms and stopping as in `Unrolled`; 0/0 in converged samples is 0.
    Reference: Aggarwal et al. (2019); hkaggarwal/modl@2b02b9b4 model.py; utcsilab/deepinpy@eafebc7 recons/modl/modl.py.
    """

    def __init__(
        self, denoiser: keras.Model | None = None, num_unrolls: int = 4, cg_start: str = "previous", l2lam: float = 1e-3,
        **kwargs: Any,
    ):
        super().__init__(denoiser, num_unrolls, l2lam, **kwargs)
        if cg_start not in _CG_STARTS:
            raise UsageError(f"cg_start must be one of {', '.join(_CG_STARTS)}; received {cg_start!r}.")
        self.cg_start = cg_start

    def _iterate(self, inputs: Mapping[str, Any], training: bool | None) -> tuple[Any, list]:
        operator, counts = self.operator(inputs), []
        zero_filled = x = operator.adjoint(inputs["kspace"])
        for _ in range(self.num_unrolls):
            prior = self.denoise(x, training)
            if inputs.get("sens_maps") is None:
                x = self.consistency(prior, inputs["kspace"], inputs["mask"])
                continue
            start = x if self.cg_start == "previous" else None
            x, count = self.consistency.solve(operator, zero_filled, prior, start)
            counts.append(count)
        return x, counts

    def own_config(self) -> dict[str, Any]:
        return {**super().own_config(), "cg_start": self.cg_start}


@keras.saving.register_keras_serializable(package="tfrecon")
class DeepBasisPursuit(_WithDenoiser):
    """Deep basis pursuit: min |x - D(x)|^2 subject to |A x - y| <= epsilon, unrolled; the constraint by ADMM.

    Args:
        denoiser: (N, H, W, 2) -> the same; None: `resnet_denoiser()`.
        num_unrolls: 4 in the seed.
        num_admm: ADMM steps in each, 2 in the seed; fewer are taken once all samples of a batch have converged to 1e-2.
        stdev: standard deviation of the complex noise of a sample, in the units of the k-space; epsilon is stdev times the
            root of the number of samples measured. 0 asks for exact agreement.
        l2lam: where lambda, the weight of the constraint in ADMM, starts (0.1 in the seed).
        epsilon_rule: "sample", or "batch": one epsilon for the batch as the seed's copy had it (with stdev 0 the same).
        kwargs: of `Unrolled`; and multiple, as in `MoDL`.

    Value range: images of about [0, 1] in magnitude (k-space divided accordingly).
    Departures: centred transforms and stopping as in `Unrolled`.
    Reference: Tamir et al., "Unsupervised deep basis pursuit" (2019); utcsilab/deepinpy@eafebc7 recons/dbp/dbp.py;
        SamiKhandker/ImprovingMRIQuality@9f53d9e deepinpy_unet_implementation.
    """

    def __init__(
        self, denoiser: keras.Model | None = None, num_unrolls: int = 4, num_admm: int = 2, stdev: float = 0.0,
        l2lam: float = 0.1, epsilon_rule: str = "sample", **kwargs: Any,
    ):
        super().__init__(denoiser, num_unrolls, l2lam, **kwargs)
        check_counts(num_admm=num_admm)
        self.num_admm = num_admm
        if not 0 <= stdev < float("inf"):
            raise UsageError(f"stdev, from which epsilon comes, must be a finite number of at least 0, received {stdev!r}.")
        if epsilon_rule not in ("sample", "batch"):
            raise UsageError(f"epsilon_rule must be sample or batch, received {epsilon_rule!r}.")
        self.stdev, self.epsilon_rule = float(stdev), epsilon_rule

    def _iterate(self, inputs: Mapping[str, Any], training: bool | None) -> tuple[Any, list]:
        operator, y, counts = self.operator(inputs), inputs["kspace"], []
        x, radius = operator.adjoint(y), self.epsilon(inputs)
        z, u = operator.forward(x), tf.zeros_like(y)
        for _ in range(self.num_unrolls):
            prior, go_on = self.denoise(x, training), None
            for step in range(self.num_admm):
                last = step == self.num_admm - 1
                new, more, count = self._admm(operator, y, radius, prior, (x, z, u), last)
                counts.append(count if go_on is None else tf.where(go_on, count, 0))
                x, z, u = new if go_on is None else (tf.where(go_on, n, o) for n, o in zip(new, (x, z, u)))
                go_on = _both(go_on, more)
        return x, counts

    def epsilon(self, inputs: Mapping[str, Any]) -> Any:
        """Radius of the ball around the measurement for each sample, (N,) or a number."""
        kspace, mask = (tf.convert_to_tensor(inputs[name]) for name in ("kspace", "mask"))
        real = kspace.dtype.real_dtype
        coils = tf.cast(tf.shape(kspace)[1] if len(kspace.shape) == 4 else 1, real)
        samples = coils * tf.reduce_sum(tf.cast(mask, real), (1, 2))
        return self.stdev * (tf.sqrt(samples) if self.epsilon_rule == "sample" else tf.norm(samples))

    def _admm(
        self, operator: LinearOperator, y: Any, radius: Any, prior: Any, state: tuple, last: bool
    ) -> tuple[tuple, Any, Any]:
        """((x, z, u) after one step, whether another is needed or None if it was the last, iterations)."""
        (x, z, u), settings = state, self.consistency
        l2lam = settings.l2lam_as(y.dtype)
        x, count = conjugate_gradient(
            lambda v: l2lam * operator.normal(v) + v, l2lam * operator.adjoint(z - u) + prior, x,
            settings.cg_max_iter, settings.cg_eps, settings.unrolled,
        )
        image = operator.forward(x)
        v, old = image + u, z
        z = y + project_onto_ball(v - y, radius)
        if last:
            return (x, z, v - z), None, count
        gaps = tf.sqrt(squared_norm(image - z)) + tf.sqrt(squared_norm(l2lam * operator.adjoint(z - old)))
        return (x, z, v - z), tf.reduce_max(tf.stop_gradient(gaps)) >= _ADMM_TOLERANCE, count

    def own_config(self) -> dict[str, Any]:
        return {**super().own_config(), "num_admm": self.num_admm, "stdev": self.stdev, "epsilon_rule": self.epsilon_rule}


def _both(first: Any, second: Any) -> Any:
    if first is None or second is None:
        return second
    return tf.logical_and(first, second)
