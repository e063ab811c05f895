"""The denoisers of the unrolled networks: complex images as two channels, (real, imaginary), in and out.

Layer names are the originals' state-dict prefixes with dots turned into underscores, so PyTorch weights load by name.
"""

from __future__ import annotations

from typing import Any

import keras

from ..layers import BatchNormalization, BilinearUpSampling2D, KeepLargest, ReflectionPadding2D, SoftThreshold, UnusedScalar
from .naming import layer_name
from .sizes import check_counts, check_sizes
from .torch_start import torch_conv

_CHANNELS = 2


def resnet_denoiser(
    latent_channels: int = 64,
    num_blocks: int = 3,
    kernel_size: int = 7,
    batch_norm: bool = False,
    soft_threshold: float | None = None,
    keep_largest: int | None = None,
    image_shape: tuple = (None, None, 2),
    name: str = "resnet_denoiser",
) -> keras.Model:
    """Build DeepInPy's residual network.

    Args:
        latent_channels: features between the first and the last block.
        num_blocks: at least 1, each [BN] ReLU conv [BN] ReLU conv + skip; the last has no ReLU between its convolutions.
        kernel_size: odd.
        batch_norm: normalise before each ReLU (no run of the original's did).
        soft_threshold: shrink the features after block num_blocks // 2 by this much.
        keep_largest: keep the so many features of largest magnitude there, of each sample, and set the others to 0.
        image_shape: (H, W, 2), H and W above kernel_size // 2 or None.
        name: name of the model.

    Input shape, output shape: (N, H, W, 2) float32; the output is the input plus the network's answer.
    Value range: of images divided by about their maximum; linear.
    Departures: num_blocks=1, which fails in the original, is one block from 2 to 2 channels; batch_norm=True, a NameError
        there, works.
    Reference: utcsilab/deepinpy@eafebc7 models/resnet/resnet.py.
    """
    check_counts(latent_channels=latent_channels, num_blocks=num_blocks)
    if kernel_size % 2 != 1:
        raise ValueError(f"Expected an odd kernel_size, received {kernel_size!r}.")
    block = _Block(int(kernel_size), batch_norm)
    inputs = x = keras.Input(_two_channels(image_shape), name="image")
    for index in range(num_blocks):
        last = index == num_blocks - 1
        x = block(x, latent_channels, _CHANNELS if last else latent_channels, index, last)
        if index == num_blocks // 2:
            x = x if soft_threshold is None else SoftThreshold(soft_threshold, name="soft_threshold")(x)
            x = x if keep_largest is None else KeepLargest(keep_largest, name="keep_largest")(x)
    return keras.Model(inputs, keras.layers.Add(name="residual")([inputs, x]), name=name)


def resnet5block_denoiser(
    filters: int = 64, kernel_size: int = 7, image_shape: tuple = (None, None, 2), name: str = "resnet5block_denoiser"
) -> keras.Model:
    """Build DeepInPy's plain stack: six convolutions with bias, reflection padding, ReLU between, plus the input.

    Input shape, output shape, value range: as `resnet_denoiser`.
    Departures: takes complex images as two channels, which the original's last revision cannot.
    Reference: utcsilab/deepinpy@eafebc7 models/resnet/resnet.py `ResNet5Block`.
    """
    inputs = x = keras.Input(_two_channels(image_shape), name="image")
    for index in range(0, 12, 2):
        x = _reflected_conv(x, _CHANNELS if index == 10 else filters, kernel_size, f"model.{index}", use_bias=True)
        x = x if index == 10 else keras.layers.ReLU(name=f"model_{index + 1}")(x)
    return keras.Model(inputs, keras.layers.Add(name="residual")([inputs, x]), name=name)


def unet_denoiser(
    depth: int = 4,
    width: int = 32,
    residual: bool = False,
    image_shape: tuple = (None, None, 2),
    name: str = "unet_denoiser",
) -> keras.Model:
    """Build the U-Net the article's authors put into DeepInPy's deep basis pursuit.

    Args:
        depth: stages, 4 as their code has it (32, 64, 128 and 256 channels), 3 as their article says (to 128).
        width: channels of the first stage.
        residual: add the input to the network's answer, so that training begins near the identity.
        image_shape: (H, W, 2), multiples of 2^(depth - 1) or None.
        name: name of the model.

    Input shape, output shape: (N, H, W, 2) float32, height and width multiples of 2^(depth - 1).
    Value range: of images divided by about their maximum; linear.
    Departures: `residual`, which the original does not have. Other sizes, which come out smaller there, are an error. The
        plane is transposed inside, as there, so that weights are the same; the original's scalar `l2lam`, which nothing uses,
        is kept but not trained.
    Reference: SamiKhandker/ImprovingMRIQuality@9f53d9e deepinpy_unet_implementation/models/unet.
    """
    check_counts(depth=depth, width=width)
    shape = _two_channels(image_shape)
    check_sizes(shape, 2 ** (depth - 1), 2 ** (depth - 1))
    inputs = x = keras.Input(shape, name="image")
    x = keras.layers.Permute((2, 1, 3), name="transposed")(UnusedScalar("l2lam", name="unused")(x))
    skips = []
    for level in range(depth):
        if level:
            x = keras.layers.MaxPooling2D(2, name=f"pool_{level}")(x)
        x = _double_conv(x, width * 2**level, f"UNetBlocks.0.down_path.{level}.block")
        skips.append(x)
    for step, skip in enumerate(reversed(skips[:-1])):
        prefix = f"UNetBlocks.0.up_path.{step}"
        x = BilinearUpSampling2D(name=layer_name(f"{prefix}.up.0"))(x)
        x = torch_conv(x, skip.shape[-1], 1, f"{prefix}.up.1", use_bias=True)
        x = keras.layers.Concatenate(name=f"concat_{step}")([x, skip])
        x = _double_conv(x, skip.shape[-1], f"{prefix}.conv_block.block")
    x = torch_conv(x, _CHANNELS, 1, "UNetBlocks.0.last", use_bias=True)
    x = keras.layers.Permute((2, 1, 3), name="transposed_back")(x)
    return keras.Model(inputs, keras.layers.Add(name="residual")([inputs, x]) if residual else x, name=name)


def cnn_denoiser(
    layers: int = 5, features: int = 64, image_shape: tuple = (None, None, 2), name: str = "cnn_denoiser"
) -> keras.Model:
    """Build the published MoDL's denoiser: 3x3 convolutions without bias, batch norm, ReLU after all but the last.

    Args:
        layers: convolutions, at least 2.
        features: channels between them.
        image_shape: (H, W, 2) or None for H and W.
        name: name of the model.

    Input shape, output shape: (N, H, W, 2) float32; the output is the input plus the network's answer.
    Value range: of images divided by about their maximum; linear.
    Departures: none in the arithmetic (batch norm: epsilon 1e-3, as TensorFlow's contrib layer).
    Reference: hkaggarwal/modl@2b02b9b4 model.py `dw`; Aggarwal et al., "MoDL" (2019).
    """
    check_counts(layers=layers - 1, features=features)
    inputs = x = keras.Input(_two_channels(image_shape), name="image")
    for number in range(1, layers + 1):
        filters = _CHANNELS if number == layers else features
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"Layer{number}")(x)
        x = BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"Layer{number}_BN")(x)
        x = x if number == layers else keras.layers.ReLU(name=f"Layer{number}_relu")(x)
    return keras.Model(inputs, keras.layers.Add(name="residual")([inputs, x]), name=name)


class _Block:
    """One residual block of `resnet_denoiser`."""

    def __init__(self, kernel_size: int, batch_norm: bool):
        self.kernel_size, self.batch_norm = kernel_size, batch_norm

    def __call__(self, x: Any, middle: int, filters: int, index: int, last: bool) -> Any:
        prefix, skip = f"ResNetBlocks.{index}", x
        if x.shape[-1] != filters:
            skip = torch_conv(x, filters, 1, f"{prefix}.conv0.net.1", use_bias=False)
        x = keras.layers.ReLU(name=layer_name(f"{prefix}.relu1"))(self._normalized(x, f"{prefix}.bn1"))
        x = _reflected_conv(x, middle, self.kernel_size, f"{prefix}.conv1", use_bias=False)
        x = self._normalized(x, f"{prefix}.bn2")
        x = x if last else keras.layers.ReLU(name=layer_name(f"{prefix}.relu2"))(x)
        x = _reflected_conv(x, filters, self.kernel_size, f"{prefix}.conv2", use_bias=False)
        return keras.layers.Add(name=layer_name(f"{prefix}.add"))([x, skip])

    def _normalized(self, x: Any, torch_name: str) -> Any:
        return BatchNormalization(momentum=0.9, epsilon=1e-5, name=layer_name(torch_name))(x) if self.batch_norm else x


def _reflected_conv(x: Any, filters: int, size: int, torch_name: str, use_bias: bool) -> Any:
    x = ReflectionPadding2D(size // 2, name=layer_name(f"{torch_name}.net.0"))(x)
    return torch_conv(x, filters, size, f"{torch_name}.net.1", use_bias)


def _double_conv(x: Any, filters: int, torch_name: str) -> Any:
    for index in (0, 2):
        x = torch_conv(x, filters, 3, f"{torch_name}.{index}", use_bias=True, padding="same")
        x = keras.layers.ReLU(name=layer_name(f"{torch_name}.{index + 1}"))(x)
    return x


def _two_channels(image_shape: tuple) -> tuple:
    shape = tuple(image_shape)
    if len(shape) != 3 or shape[-1] != _CHANNELS:
        raise ValueError(f"Expected image_shape=(H, W, 2), real and imaginary part, received {image_shape}.")
    return shape
