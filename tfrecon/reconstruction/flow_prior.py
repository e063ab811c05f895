"""The MRI inverse problem with a generative prior: the latent whose image fits the measurement and is probable."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import tensorflow as tf

from ..errors import DataError, UsageError
from ..physics.operators import Sense
from .flow_inputs import checked_inputs, warn_of_scale

_NORMS = ("l2", "l1")
STARTS = ("random", "zero_filled")
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8  # Adam's, in PyTorch's form
_PATIENCE = 10
_SEED_NORM = 0.00223 * 1.3  # coefficient and gamma of the notebook
_SEED_LOG_PROB = 0.0002
# From so many pixels times steps on, a search is shorter with XLA, its compilation included: 18 s of a core against 0.04 s less
# for each step of a picture of 80x64 (flow of preset small).
_XLA_REPAYS = 2_000_000


@dataclass(frozen=True)
class FlowPriorSettings:
    """What is minimised over the latents z of an image G(z): |M F S G(z) - y|^2 + terms in z, by Adam.

    Attributes:
        norm_weight: of the norm of z; 0: without this term.
        norm: "l2", Euclidean and not squared, as the seed's code has it; "l1", as its article says.
        log_prob_weight: of G(z)'s negative log-density in bits per dimension; 0: without.
        mean_over_coils: the data term is divided by the number of coils, as the seed's.
        learning_rate, steps: of Adam.
        starts: so many latents to start from for every picture, of which the one with the smallest objective is kept.
        first: "random", drawn, as the seed's; "zero_filled": those of the zero-filled picture, from which far fewer steps lead
            to a picture that fits (further starts of a picture are drawn).
        tolerance: stop once no picture's best objective has fallen by more than this share of it in 10 steps; 0: never.
        centered: see `physics.operators.Fourier`; False is the seed's.
        seed: of the random latents.
        jit_compile: XLA for the step; None: where the search is long enough to repay the compilation.
    """

    norm_weight: float = _SEED_NORM
    norm: str = "l2"
    log_prob_weight: float = 0.0
    mean_over_coils: bool = True
    learning_rate: float = 1.33
    steps: int = 100
    starts: int = 1
    first: str = "random"
    tolerance: float = 0.0
    centered: bool = True
    seed: int = 0
    jit_compile: bool | None = None

    def __post_init__(self) -> None:
        if self.norm not in _NORMS:
            raise UsageError(f"The norm must be one of {', '.join(_NORMS)}, received {self.norm!r}.")
        if self.first not in STARTS:
            raise UsageError(f"The first start must be one of {', '.join(STARTS)}, received {self.first!r}.")
        for name in ("norm_weight", "log_prob_weight", "tolerance"):
            if not (_is_number(getattr(self, name)) and 0 <= getattr(self, name) < math.inf):
                raise UsageError(f"{name} must be a finite number of at least 0, received {getattr(self, name)!r}.")
        if not (_is_number(self.learning_rate) and 0 < self.learning_rate < math.inf):
            raise UsageError(f"The learning rate must be a finite number above 0, received {self.learning_rate!r}.")
        for name in ("steps", "starts"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
                raise UsageError(f"{name} must be a whole number of at least 1, received {value!r}.")
        if isinstance(self.seed, bool) or not isinstance(self.seed, Integral) or self.seed < 0:
            raise UsageError(f"The seed must be a whole number of at least 0, received {self.seed!r}.")
        for name in ("mean_over_coils", "centered"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"{name} must be True or False, received {getattr(self, name)!r}.")
        if self.jit_compile is not None and not isinstance(self.jit_compile, bool):
            raise UsageError(f"jit_compile must be None, True or False, received {self.jit_compile!r}.")

    def compiled(self, pixels: int) -> bool:
        """Whether the step of a search over so many pixels, those of all pictures and starts, is to be compiled by XLA."""
        return self.steps * pixels >= _XLA_REPAYS if self.jit_compile is None else self.jit_compile


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


PENALTIES = {
    "norm": {"norm_weight": _SEED_NORM, "log_prob_weight": 0.0},
    "log_prob": {"norm_weight": 0.0, "log_prob_weight": _SEED_LOG_PROB},
    "both": {"norm_weight": _SEED_NORM, "log_prob_weight": _SEED_LOG_PROB},
}  # the article's three formulations, with the notebook's coefficients


@dataclass(frozen=True)
class FlowPriorResult:
    """What the search found.

    Attributes:
        image: float (N, H, W), G(z) / 2^num_bits: pictures are in [0, 1], values outside are not cut off.
        latents: float (N, D), those of the image.
        objectives: float (steps taken, N starts), before each step.
    """

    image: np.ndarray
    latents: np.ndarray
    objectives: np.ndarray


def solve_with_flow(
    inputs: Mapping[str, Any],
    flow: Any,
    settings: FlowPriorSettings | None = None,
    latents: Any = None,
    progress: Callable[[int, np.ndarray], None] | None = None,
) -> FlowPriorResult:
    """Reconstruct real pictures, all of them and all starts at once.

    Args:
        inputs: "kspace" complex (N, coils, H, W), "sens_maps" of the same shape, "mask" (N, H, W), on the scale on which the
            true pictures lie in [0, 1]; samples outside the mask do not count. The phase of an image belongs into its maps:
            G(z) is real. Computed in the flow's precision.
        flow: a trained `models.SplineFlow` of images (H, W, 1), or what it has `prepared`: `inverse` (`forward` too, to start
            from the zero-filled pictures), `image_shape`, `latent_size`, `num_bits`.
        settings: None: the seed's, with a centred transform.
        latents: (N starts, D) to start from, the starts of a picture one behind the other; None: as `first` says.
        progress: called after every step with its number and the objectives (N starts,) before it.

    Raises:
        DataError: measured samples or coil maps are not finite, maps are zero, a mask is not of zeros and ones or is all
            zeros; all starts of a picture ended in numbers that are not finite.
        UsageError: the flow's images have another size, or the inputs do not fit together.

    Departures: the log-density of G(z) comes from the log-determinant of G itself, which saves the way back through the flow.
    Reference: SamiKhandker/ImprovingMRIQuality@9f53d9e cell 11 `SplineDenoiser`; Whang et al. (2021) for the density.
    """
    settings = FlowPriorSettings() if settings is None else settings
    if not isinstance(settings, FlowPriorSettings):
        raise UsageError(f"Expected FlowPriorSettings, received {type(settings).__name__}.")
    if not hasattr(flow, "image_shape"):
        raise UsageError(f"Expected a flow or what it has prepared, received {type(flow).__name__}; a trainer has it as .flow.")
    prepared = flow.prepared() if hasattr(flow, "prepared") else flow
    inputs = checked_inputs(inputs, prepared)
    zero_filled = Sense(inputs["sens_maps"], inputs["mask"], settings.centered).adjoint(inputs["kspace"])
    warn_of_scale(zero_filled, inputs["sens_maps"])
    count, size = len(inputs["kspace"]), prepared.image_shape[0] * prepared.image_shape[1]
    if latents is None:
        latents = _drawn(zero_filled, prepared, settings, count, size)
    repeated = {name: np.repeat(x, settings.starts, axis=0) for name, x in inputs.items()}
    objective = _objective(repeated, prepared, settings)
    z = _first(latents, count * settings.starts, size, repeated["kspace"].dtype)
    step = tf.function(_adam_step(objective, settings.learning_rate), jit_compile=settings.compiled(z.shape[0] * size))
    moments, history = (tf.zeros_like(z), tf.zeros_like(z)), []
    for number in range(1, settings.steps + 1):
        value, z, *moments = step(z, *moments, tf.constant(number, z.dtype))
        history.append(value.numpy())
        if progress:
            progress(number, history[-1])
        if _settled(history, settings.tolerance, count):
            break
    return _best(np.stack(history), np.asarray(z), np.asarray(objective(z)[0]), prepared, count)


def _objective(inputs: Mapping[str, Any], flow: Any, settings: FlowPriorSettings) -> Callable[[Any], tuple[Any, Any]]:
    """z (M, D) -> (objective (M,), image (M, H, W))."""
    operator = Sense(inputs["sens_maps"], inputs["mask"], settings.centered)
    measured = tf.convert_to_tensor(inputs["kspace"])
    coils = measured.shape[1] if settings.mean_over_coils else 1

    def objective(z: Any) -> tuple[Any, Any]:
        values, log_determinant = flow.inverse(z)
        image = values[..., 0] / 2.0**flow.num_bits
        gap = operator.forward(tf.complex(image, tf.zeros_like(image))) - measured
        total = tf.reduce_sum(tf.math.real(gap) ** 2 + tf.math.imag(gap) ** 2, (1, 2, 3)) / coils
        if settings.norm_weight:
            total += settings.norm_weight * (tf.reduce_sum(tf.abs(z), 1) if settings.norm == "l1" else _euclidean(z))
        if settings.log_prob_weight:
            negative = log_determinant + 0.5 * tf.reduce_sum(z**2, 1) + 0.5 * z.shape[1] * math.log(2.0 * math.pi)
            total += settings.log_prob_weight * negative / (math.log(2.0) * z.shape[1])
        return total, image

    return objective


def _euclidean(z: Any) -> Any:
    """The norm of each row, with derivative 0 at 0."""
    squares = tf.reduce_sum(z**2, 1)
    return tf.where(squares > 0, tf.sqrt(tf.where(squares > 0, squares, tf.ones_like(squares))), tf.zeros_like(squares))


def _adam_step(objective: Callable, learning_rate: float) -> Callable:
    """(z, moments, number of the step) -> (objectives, and the three anew); Adam works on each number by itself."""

    def step(z: Any, first: Any, second: Any, number: Any) -> tuple:
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = objective(z)[0]
        gradient = tape.gradient(value, z)
        first = _BETA_1 * first + (1.0 - _BETA_1) * gradient
        second = _BETA_2 * second + (1.0 - _BETA_2) * gradient**2
        one, two = (-tf.math.expm1(number * math.log(beta)) for beta in (_BETA_1, _BETA_2))
        return value, z - learning_rate / one * first / (tf.sqrt(second / two) + _EPSILON), first, second

    return step


def _drawn(zero_filled: Any, flow: Any, settings: FlowPriorSettings, count: int, size: int) -> np.ndarray:
    """(N starts, D), the starts of a picture one behind the other."""
    latents = np.random.default_rng(settings.seed).standard_normal((count, settings.starts, size))
    if settings.first == "zero_filled":
        picture = tf.clip_by_value(tf.math.real(zero_filled), 0.0, 1.0)[..., None] * 2.0**flow.num_bits
        latents[:, 0] = flow.forward(picture)[0]
    return latents.reshape(-1, size)


def _first(latents: Any, count: int, size: int, dtype: Any) -> tf.Tensor:
    latents = np.asarray(latents)
    if latents.shape != (count, size) or latents.dtype.kind not in "biuf":
        raise UsageError(f"Expected real latents {(count, size)}, received {latents.dtype} {latents.shape}.")
    return tf.constant(latents.astype(np.zeros((), dtype).real.dtype))


def _settled(history: list[np.ndarray], tolerance: float, count: int) -> bool:
    """Whether the best objective of no picture got better of late; a start that has diverged is none of them."""
    if not tolerance or len(history) <= _PATIENCE:
        return False
    finite = np.where(np.isfinite(history), history, np.inf).reshape(len(history), count, -1).min(axis=2)
    before, now = finite[:-_PATIENCE].min(axis=0), finite.min(axis=0)
    found = np.isfinite(before) & np.isfinite(now)
    return bool(np.all(before[found] - now[found] <= tolerance * np.abs(before[found])))


def _best(history: np.ndarray, latents: np.ndarray, last: np.ndarray, flow: Any, count: int) -> FlowPriorResult:
    """Of every picture's starts the one that ended lowest."""
    starts = len(latents) // count
    ends = np.where(np.isfinite(last), last, np.inf).reshape(count, starts)
    lost = np.flatnonzero(np.isinf(ends.min(axis=1)))
    if lost.size:
        raise DataError(f"the search for pictures {lost[:10].tolist()} diverged (the objective is not finite); lower the "
                        "learning rate, or take more starts.")
    chosen = np.argmin(ends, axis=1) + starts * np.arange(count)
    image = np.asarray(flow.inverse(tf.constant(latents[chosen]))[0])[..., 0] / 2.0**flow.num_bits
    return FlowPriorResult(image, latents[chosen], history)
