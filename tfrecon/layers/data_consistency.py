"""Agreement with the measured samples, as a layer: what every unrolled reconstruction repeats, and any network can end with."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from ..errors import UsageError
from ..physics.operators import Fourier, LinearOperator, Sense
from ..physics.solvers import as_factor, check_iterations, conjugate_gradient


@keras.saving.register_keras_serializable(package="tfrecon")
class DataConsistency(keras.layers.Layer):
    """The image nearest to a given one that agrees with the measurement: argmin |A x - y|^2 + l2lam |x - image|^2.

    With coil maps: (A^H A + l2lam) x = A^H y + l2lam image by conjugate gradient. Without them (single coil) the same in
    closed form: a sampled point of the image's k-space k becomes (y + l2lam k) / (1 + l2lam), the others stay; l2lam=0
    replaces the sampled points.

    Args:
        l2lam: where the weight of the given image starts, at least 0.
        trainable_l2lam: whether it is trained, unconstrained, as the originals do.
        cg_max_iter, cg_eps: see `physics.solvers.conjugate_gradient`.
        centered: see `physics.operators.Fourier`.
        unrolled: see `physics.solvers.conjugate_gradient`.

    Call: layer(image, kspace, mask, sens_maps=None, start=None) with image (N, H, W) complex; kspace (N, H, W), or (N,
        coils, H, W) with sens_maps of that shape; mask (N, H, W), 1 where sampled; start (N, H, W): where conjugate
        gradient begins, None: zeros.
    Output shape: (N, H, W) complex64, complex128 for such inputs.
    Value range: image and k-space in the same units, about 1 for cg_eps to mean what it does in the originals.
    Reference: utcsilab/deepinpy@eafebc7 recons/modl/modl.py; hkaggarwal/modl@2b02b9b4.
    """

    def __init__(
        self,
        l2lam: float = 0.0,
        trainable_l2lam: bool = False,
        cg_max_iter: int = 10,
        cg_eps: float = 1e-4,
        centered: bool = True,
        unrolled: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not 0 <= l2lam < float("inf"):
            raise UsageError(f"l2lam must be a finite number of at least 0, received {l2lam!r}.")
        check_iterations(cg_max_iter, cg_eps)
        self.initial, self.trainable_l2lam = float(l2lam), bool(trainable_l2lam)
        self.cg_max_iter, self.cg_eps = cg_max_iter, float(cg_eps)
        self.centered, self.unrolled = bool(centered), bool(unrolled)
        start = keras.initializers.Constant(self.initial)
        self.l2lam = self.add_weight(shape=(), initializer=start, trainable=self.trainable_l2lam, name="l2lam")
        self.built = True

    def call(self, image: Any, kspace: Any, mask: Any, sens_maps: Any = None, start: Any = None) -> Any:
        if sens_maps is None:
            return self._closed_form(image, kspace, mask)
        operator = Sense(sens_maps, mask, self.centered)
        return self.solve(operator, operator.adjoint(kspace), image, start)[0]

    def solve(self, operator: LinearOperator, adjoint: Any, image: Any = None, start: Any = None) -> tuple[Any, Any]:
        """(x, iterations) with an operator and its A^H y made before; image None: 0, as CG-SENSE has it."""
        l2lam = self.l2lam_as(adjoint.dtype)
        right = adjoint if image is None else adjoint + l2lam * image
        return conjugate_gradient(
            lambda x: operator.normal(x) + l2lam * x, right, start, self.cg_max_iter, self.cg_eps, self.unrolled
        )

    def _closed_form(self, image: Any, kspace: Any, mask: Any) -> Any:
        fourier, l2lam = Fourier(image.shape, self.centered), self.l2lam_as(image.dtype)
        own = fourier.forward(image)
        return fourier.adjoint(tf.where(tf.cast(mask, tf.bool), (kspace + l2lam * own) / (1.0 + l2lam), own))

    def l2lam_as(self, dtype: Any) -> Any:
        """Lambda as a tensor of this dtype, complex ones included."""
        return as_factor(tf.convert_to_tensor(self.l2lam), tf.as_dtype(dtype))

    def compute_output_spec(self, image: Any, *_: Any, **__: Any) -> Any:
        return keras.KerasTensor(image.shape, image.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "l2lam": self.initial, "trainable_l2lam": self.trainable_l2lam,
                "cg_max_iter": self.cg_max_iter, "cg_eps": self.cg_eps, "centered": self.centered,
                "unrolled": self.unrolled}
