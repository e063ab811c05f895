"""The neural spline flow: an invertible network between images and normal noise, with the images' probability."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from ..errors import UsageError
from ..layers import CentreLevels, Conv1x1LU, FlowStep, RationalQuadraticCoupling, Squeeze
from ..layers.flow_linear import apply_map, undo_map
from ..layers.rational_quadratic import MOST_BINS
from .conditioners import convnet_conditioner, residual_conditioner
from .policy import built_under
from .sizes import check_counts, is_number

_CONDITIONERS = {"convnet": convnet_conditioner, "residual": residual_conditioner}
_LOG_2PI = math.log(2.0 * math.pi)


def spline_flow_model(
    image_shape: tuple[int, int, int] = (80, 64, 1),
    levels: int = 4,
    steps_per_level: int = 10,
    hidden_channels: int = 612,
    num_bins: int = 12,
    tail_bound: float = 1.0,
    num_bits: int = 4,
    multi_scale: bool = True,
    conditioner: str = "convnet",
    **options: Any,
) -> SplineFlow:
    """Build a `SplineFlow`; the defaults are the seed's, 74.5 million parameters. See there."""
    return SplineFlow(image_shape, levels, steps_per_level, hidden_channels, num_bins, tail_bound, num_bits, multi_scale,
                      conditioner, **options)


@keras.saving.register_keras_serializable(package="tfrecon")
class SplineFlow(keras.Model):
    """Images to latents of a standard normal and back, both with log|det| of the Jacobian.

    Values are scaled to -0.5..0.5; every level squeezes 2x2 pixels into channels, takes `steps_per_level` steps (activation norm,
    1x1 convolution, spline coupling) and another 1x1 convolution, and but for the last gives the first half of its channels
    away as latents. A latent (N, D), D = H W C, holds the levels' parts one behind the other, each in the order C, H, W, as the
    original, so that latents and weights can be exchanged.

    Args:
        image_shape: (H, W, C), H and W multiples of 2^levels.
        levels, steps_per_level: 4 and 10 in the seed.
        hidden_channels: of the conditioners.
        num_bins, tail_bound: of the splines, see `layers.RationalQuadraticCoupling`.
        num_bits: 1 to 8; values are 0..2^num_bits.
        multi_scale: give half of the channels away after each level; False: all latents come from the last.
        conditioner: "convnet" or "residual", see `models.conditioners`.
        num_blocks, batch_norm, dropout: of the residual conditioner.
        seed: of the permutations; the conditioners start from Keras' global seed.
        conditioner_dtype: dtype policy of the conditioners, which may be a mixed one; None: the model's. All else computes in
            the precision of the variables.

    Call: model(x) = model.forward(x).
    Value range: x in 0..2^num_bits: dequantised levels (a level k lies in [k, k + 1)).
    Departures: values outside the tail bound never crash; whether an activation norm has been started is a weight.
    Reference: Durkan et al., "Neural Spline Flows" (2019); bayesiains/nsf@eaa9377; SamiKhandker/ImprovingMRIQuality@9f53d9e.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        levels: int,
        steps_per_level: int,
        hidden_channels: int,
        num_bins: int = 12,
        tail_bound: float = 1.0,
        num_bits: int = 4,
        multi_scale: bool = True,
        conditioner: str = "convnet",
        num_blocks: int = 3,
        batch_norm: bool = True,
        dropout: float = 0.0,
        seed: int = 0,
        conditioner_dtype: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(autocast=False, **kwargs)
        policy = keras.DTypePolicy(conditioner_dtype) if conditioner_dtype else self.dtype_policy
        self.dtype_policy = keras.DTypePolicy(policy.variable_dtype)  # densities are large sums
        check_counts(levels=levels, steps_per_level=steps_per_level, hidden_channels=hidden_channels, num_blocks=num_blocks)
        check_counts(0, seed=seed)
        check_counts(2, MOST_BINS, num_bins=num_bins)
        check_counts(1, 8, num_bits=num_bits)
        for name, value in (("multi_scale", multi_scale), ("batch_norm", batch_norm)):
            if not isinstance(value, bool):
                raise UsageError(f"{name} must be True or False, received {value!r}.")
        if not is_number(dropout) or not 0 <= dropout < 1:
            raise UsageError(f"dropout must be a number of at least 0 and below 1, received {dropout!r}.")
        if not isinstance(conditioner, str) or conditioner not in _CONDITIONERS:
            raise UsageError(f"The conditioner must be one of {', '.join(_CONDITIONERS)}, received {conditioner!r}.")
        if not is_number(tail_bound) or not 0 < tail_bound < float("inf"):
            raise UsageError(f"tail_bound must be a finite number above 0, received {tail_bound!r}.")
        self.image_shape = _checked_shape(image_shape, levels)
        self._settings = {
            "levels": levels, "steps_per_level": steps_per_level, "hidden_channels": hidden_channels, "num_bins": num_bins,
            "tail_bound": tail_bound, "num_bits": num_bits, "multi_scale": bool(multi_scale), "conditioner": conditioner,
            "num_blocks": num_blocks, "batch_norm": bool(batch_norm), "dropout": dropout, "seed": int(seed),
            "conditioner_dtype": policy.name,
        }
        self.multi_scale, self.num_bits = bool(multi_scale), int(num_bits)
        self.sizes = _level_sizes(self.image_shape, levels, self.multi_scale)
        with built_under(policy):  # a saved flow comes back in its own precision
            self.preprocess = CentreLevels(num_bits, name="preprocess")
            self.squeeze = Squeeze(name="squeeze")
            self.steps = [[self._step(level, number) for number in range(1, steps_per_level + 1)] for level in range(levels)]
            self.last_maps = [Conv1x1LU(seed + 1000 * level, name=f"level_{level}_linear") for level in range(levels)]
        for (_, _, channels), steps, last in zip(self.sizes, self.steps, self.last_maps):
            for layer in (*steps, last):
                layer.build((None, None, None, channels))
                layer.built = True
        self.built = True

    def _step(self, level: int, number: int) -> FlowStep:
        settings, channels = self._settings, self.sizes[level][2]
        bent = (channels + 1) // 2
        name, bins, hidden = f"level_{level}_step_{number}", settings["num_bins"], settings["hidden_channels"]
        names = () if settings["conditioner"] == "convnet" else ("num_blocks", "batch_norm", "dropout")
        network = _CONDITIONERS[settings["conditioner"]](
            channels - bent, hidden, bent * (3 * bins - 1), f"{name}_coupling_transform_net", **{k: settings[k] for k in names}
        )
        coupling = RationalQuadraticCoupling(network, bins, settings["tail_bound"], hidden, name=f"{name}_coupling")
        return FlowStep(coupling, settings["seed"] + 1000 * level + number, name=name)

    @property
    def latent_size(self) -> int:
        """D, the number of values of an image."""
        return math.prod(self.image_shape)

    def call(self, inputs: Any, training: bool | None = None) -> tuple[Any, Any]:
        return self.forward(inputs, training)

    def forward(self, x: Any, training: bool | None = None, maps: list | None = None) -> tuple[Any, Any]:
        """Images (N, H, W, C) in 0..2^num_bits to (latents (N, D), log|det| (N,)).

        Args:
            training: the first batch starts the activation norms; batch norms and dropout in training mode.
            maps: of `prepared`, computed beforehand.
        """
        x = self._checked(x, self.image_shape)
        x, total = self.preprocess.forward(x)
        parts = []
        for level, (steps, last) in enumerate(zip(self.steps, self.last_maps)):
            own = maps[level] if maps else (None,) * (len(steps) + 1)
            x = self.squeeze.forward(x)[0]
            for step, channel_map in zip(steps, own):
                x, log = step.forward(x, training, channel_map)
                total += log
            x, log = apply_map(x, *(own[-1] or last.matrix_and_offset()))
            total += log
            if self.multi_scale and level < len(self.steps) - 1:
                half = (x.shape[-1] + 1) // 2
                parts.append(_flat(x[..., :half]))
                x = x[..., half:]
        return ops.concatenate([*parts, _flat(x)], axis=1), total

    def inverse(self, z: Any, maps: list | None = None) -> tuple[Any, Any]:
        """Latents (N, D) to (images (N, H, W, C), log|det| (N,)); images of probable latents lie in 0..2^num_bits."""
        z = self._checked(z, (self.latent_size,))
        x, total, end = None, 0.0, self.latent_size
        for level in reversed(range(len(self.steps))):
            if x is None or self.multi_scale:
                height, width, channels = self.sizes[level]
                given = channels if x is None else (channels + 1) // 2
                start = end - height * width * given
                part = ops.transpose(ops.reshape(z[:, start:end], (-1, given, height, width)), (0, 2, 3, 1))
                x, end = part if x is None else ops.concatenate([part, x], axis=-1), start
            own = maps[level] if maps else (None,) * (len(self.steps[level]) + 1)
            x, log = undo_map(x, *(own[-1] or self.last_maps[level].inverse_and_offset()))
            total += log
            for step, channel_map in zip(reversed(self.steps[level]), reversed(own[:-1])):
                x, log = step.inverse(x, channel_map)
                total += log
            x = self.squeeze.inverse(x)[0]
        x, log = self.preprocess.inverse(x)
        return x, total + log

    def log_prob(self, x: Any, training: bool | None = None) -> Any:
        """Log-density of images (N, H, W, C) on the scale 0..2^num_bits: (N,), in nats."""
        z, log = self.forward(x, training)
        return log + log_normal(z)

    def sample(self, n: int, temperature: float = 1.0, seed: int | None = None) -> Any:
        """Images (n, H, W, C) of latents drawn from a normal distribution with standard deviation `temperature`, at least 0."""
        return self.inverse(_drawn(self, n, temperature, seed))[0]

    def prepared(self) -> PreparedFlow:
        """The flow with the weights of now, its products and triangular inverses computed once: for many calls."""
        return PreparedFlow(self)

    def _checked(self, x: Any, shape: tuple[int, ...]) -> Any:
        x = ops.convert_to_tensor(x)
        dtype = keras.backend.standardize_dtype(x.dtype)
        if "complex" in dtype:
            raise UsageError(f"{self.name} takes real numbers, received {dtype}. Give magnitudes.")
        x = ops.cast(x, self.variable_dtype)
        if tuple(x.shape[1:]) != shape:
            raise UsageError(f"{self.name} takes (N, {', '.join(map(str, shape))}), received {tuple(x.shape)}.")
        return x

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "image_shape": self.image_shape, **self._settings}


class PreparedFlow:
    """A `SplineFlow` for inference, with the linear maps of its weights as they were: forward, inverse, log_prob, sample."""

    def __init__(self, flow: SplineFlow):
        self.flow = flow
        self.image_shape, self.latent_size, self.num_bits = flow.image_shape, flow.latent_size, flow.num_bits
        self._maps, self._inverses = [], []
        for steps, last in zip(flow.steps, flow.last_maps):
            self._maps.append(_fixed([*(s.channel_map() for s in steps), last.matrix_and_offset()]))
            self._inverses.append(_fixed([*(s.inverse_map() for s in steps), last.inverse_and_offset()]))

    def forward(self, x: Any) -> tuple[Any, Any]:
        """See `SplineFlow.forward`."""
        return self.flow.forward(x, False, self._maps)

    def inverse(self, z: Any) -> tuple[Any, Any]:
        """See `SplineFlow.inverse`."""
        return self.flow.inverse(z, self._inverses)

    def log_prob(self, x: Any) -> Any:
        """See `SplineFlow.log_prob`."""
        z, log = self.forward(x)
        return log + log_normal(z)

    def sample(self, n: int, temperature: float = 1.0, seed: int | None = None) -> Any:
        """See `SplineFlow.sample`."""
        return self.inverse(_drawn(self.flow, n, temperature, seed))[0]


def _drawn(flow: SplineFlow, n: int, temperature: float, seed: int | None) -> Any:
    check_counts(n=n)
    if not is_number(temperature) or not 0 <= temperature < float("inf"):
        raise UsageError(f"The temperature must be a number of at least 0, received {temperature!r}.")
    return temperature * keras.random.normal((n, flow.latent_size), seed=seed, dtype=flow.variable_dtype)


def log_normal(z: Any) -> Any:
    """Log-density of latents (N, D) under the standard normal: (N,)."""
    return -0.5 * ops.sum(ops.square(z), axis=1) - 0.5 * z.shape[1] * _LOG_2PI


def bits_per_dimension(log_prob: Any, size: int) -> Any:
    """Negative log-density in bits for each of an image's `size` values."""
    return -log_prob / (math.log(2.0) * size)


def _fixed(maps: list) -> list:
    return [tuple(ops.convert_to_tensor(ops.convert_to_numpy(part)) for part in own) for own in maps]


def _flat(x: Any) -> Any:
    """(N, H, W, C) -> (N, C H W) in that order."""
    return ops.reshape(ops.transpose(x, (0, 3, 1, 2)), (-1, math.prod(x.shape[1:])))


def _level_sizes(image_shape: tuple, levels: int, multi_scale: bool) -> list[tuple[int, int, int]]:
    """(H, W, C) inside each level."""
    (height, width, channels), sizes = image_shape, []
    for _ in range(levels):
        height, width, channels = height // 2, width // 2, 4 * channels
        sizes.append((height, width, channels))
        channels = channels // 2 if multi_scale else channels
    return sizes


def _checked_shape(image_shape: tuple, levels: int) -> tuple[int, int, int]:
    shape = tuple(image_shape) if isinstance(image_shape, (tuple, list)) else ()
    check_counts(**{f"image_shape[{i}]": n for i, n in enumerate(shape)})
    if len(shape) != 3 or any(n % 2**levels for n in shape[:2]):
        raise UsageError(f"Expected image_shape=(H, W, C) with H and W multiples of {2**levels} for {levels} levels, received "
                         f"{image_shape}. Take fewer levels, or crop the images.")
    return tuple(int(n) for n in shape)
