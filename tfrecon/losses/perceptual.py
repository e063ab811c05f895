"""The perceptual loss: the distance of two images in the features of a frozen VGG."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from ..errors import UsageError
from .elementwise import l1, mse
from .vgg import BLOCKS, build_features, layer_names

_DISTANCES = {"mse": mse, "mae": l1}
_IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)


@keras.saving.register_keras_serializable(package="tfrecon")
class PerceptualLoss:
    """Mean distance of VGG features, `loss(y_true, y_pred)`.

    Johnson et al. (2016). The systems here differ in every choice: seed 000 takes VGG16 block3_conv3 after its ReLU with
    the mean square; seed 003 and KupynOrest/DeblurGAN VGG19 block3_conv3 BEFORE its ReLU with the mean absolute and the
    mean square; both without any preprocessing of images in [-1, 1].

    Args:
        backbone: vgg16 or vgg19.
        layer: block1_conv1 to block5_conv3 (vgg16) or block5_conv4 (vgg19).
        pre_activation: take the features before the layer's ReLU.
        distance: "mse" or "mae", averaged over everything.
        preprocess: None takes images as they are; "imagenet" expects RGB in [0, 255] and makes of it what the network was
            trained on (BGR, the mean colour subtracted); or a function of images (N, H, W, 3), registered with Keras if the
            loss is to be saved.
        weights: "imagenet" (the file named by TFRECON_VGG16_WEIGHTS or TFRECON_VGG19_WEIGHTS, else Keras' cache, else a
            download), the path of a file (`h5` of keras.applications, or `npz` with names like block1_conv1__kernel), or
            None for random weights.

    `get_config` keeps a path out of saved models: loaded ones ask for "imagenet", which the environment variable serves.

    Input shape: (N, H, W, 3), or (N, H, W, 1), which is repeated. The target's features get no gradient.
    Value range: as `preprocess` says.
    Raises: UsageError for an unknown choice; WeightsError at the first use, when the weights cannot be had.
    """

    def __init__(
        self,
        backbone: str = "vgg19",
        layer: str = "block3_conv3",
        pre_activation: bool = False,
        distance: str = "mse",
        preprocess: Any = None,
        weights: Any = "imagenet",
    ):
        _check("backbone", backbone, tuple(BLOCKS))
        _check("layer", layer, tuple(layer_names(backbone)))
        _check("distance", distance, tuple(_DISTANCES))
        if not callable(preprocess):
            _check("preprocess", preprocess, (None, "imagenet", "a function"))
        self.backbone, self.layer, self.pre_activation = backbone, layer, bool(pre_activation)
        self.distance, self.preprocess, self.weights = distance, preprocess, weights
        self._features: keras.Model | None = None

    @property
    def features(self) -> keras.Model:
        """The frozen Keras model (N, H, W, 3) -> (N, h, w, filters), built at the first use and once."""
        if self._features is None:
            import tensorflow as tf

            with tf.init_scope():  # the first use may be inside a function being traced
                self._features = build_features(self.backbone, self.layer, self.pre_activation, self.weights)
        return self._features

    def __call__(self, y_true: Any, y_pred: Any) -> Any:
        wanted, got = (self.features(self._prepare(x), training=False) for x in (y_true, y_pred))
        return _DISTANCES[self.distance](ops.stop_gradient(wanted), got)

    def _prepare(self, images: Any) -> Any:
        images = ops.cast(images, keras.config.floatx())
        if images.shape[-1] == 1:
            images = ops.repeat(images, 3, axis=-1)
        if callable(self.preprocess):
            return self.preprocess(images)
        if self.preprocess == "imagenet":
            images = ops.flip(images, axis=-1) - ops.convert_to_tensor(_IMAGENET_MEAN_BGR, dtype=images.dtype)
        return images

    def get_config(self) -> dict[str, Any]:
        names = ("backbone", "layer", "pre_activation", "distance")
        preprocess = keras.saving.serialize_keras_object(self.preprocess) if callable(self.preprocess) else self.preprocess
        weights = self.weights if self.weights in ("imagenet", None) else "imagenet"
        return {**{name: getattr(self, name) for name in names}, "weights": weights,
                "preprocess": preprocess}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PerceptualLoss:
        preprocess = config.get("preprocess")
        if isinstance(preprocess, dict):
            config = {**config, "preprocess": keras.saving.deserialize_keras_object(preprocess)}
        return cls(**config)


def _check(name: str, value: Any, choices: tuple) -> None:
    if value not in choices:
        raise UsageError(f"The perceptual loss's {name} must be one of {', '.join(map(str, choices))}, received {value!r}.")
