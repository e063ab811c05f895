"""ImageNet's VGG weights: from the file an environment variable names, Keras' cache, or Keras' server."""

from __future__ import annotations

import os
from pathlib import Path

from ..downloads import silence
from ..errors import WeightsError

_URL = "https://storage.googleapis.com/tensorflow/keras-applications/{0}/{0}_weights_tf_dim_ordering_tf_kernels_notop.h5"
# The digests with which keras.applications pins these files; their publisher gives no others.
_MD5 = {"vgg16": "6d6bbae143d832006294945121d1f1fc", "vgg19": "253f8cb515780f3b799900260a226db6"}


def variable(backbone: str) -> str:
    """The environment variable that names a file: TFRECON_VGG16_WEIGHTS or TFRECON_VGG19_WEIGHTS."""
    return f"TFRECON_{backbone.upper()}_WEIGHTS"


def fetch(backbone: str) -> str:
    """Path of the ImageNet weights, downloaded into Keras' cache if they are nowhere yet and checked by their digest.

    Raises:
        WeightsError: offline, within a second, naming both ways to give a file; or the download is damaged.
    """
    named = os.environ.get(variable(backbone))
    if named:
        return named
    import keras

    url = _URL.format(backbone)
    home = Path(os.path.expanduser(os.environ.get("KERAS_HOME", "~/.keras")))
    try:
        if not (home / "models" / url.rsplit("/", 1)[1]).exists():
            if why := silence(url):
                raise OSError(why)
        return keras.utils.get_file(origin=url, cache_dir=str(home), cache_subdir="models", file_hash=_MD5[backbone])
    except Exception as error:  # get_file raises bare Exceptions
        raise WeightsError(
            f"The ImageNet weights of {backbone} cannot be downloaded ({error}). Download {url} elsewhere and name the "
            f"file: weights=PATH of PerceptualLoss (--vgg-weights PATH), or the environment variable {variable(backbone)}."
        ) from error
