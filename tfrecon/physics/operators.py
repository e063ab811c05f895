"""Linear operators of the measurement, born with their shapes: `forward`, `adjoint`, `normal`, and `A @ B`.

Every operator passes the laws in tests/test_operators.py: it is linear, <Ax, y> = <x, A^H y>, normal = A^H A, and the
gradient of Re<Ax, y> by x is A^H y. They know nothing of networks, files or solvers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from ..errors import UsageError
from .fourier import fft2c, from_the_middle, ifft2c, to_the_middle

Shape = tuple[int | None, ...]


class LinearOperator(ABC):
    """A linear map from complex arrays of `domain` to those of `codomain`.

    Attributes:
        domain, codomain: whole shapes, batch axis included; None where a size is known only when a graph runs.

    Raises:
        UsageError: an argument of `forward`, `adjoint` or `normal` has another shape (rank included) or is not complex.
    """

    def __init__(self, domain: Sequence[int | None], codomain: Sequence[int | None]):
        self.domain, self.codomain = tuple(domain), tuple(codomain)

    def forward(self, x: Any) -> tf.Tensor:
        """A x."""
        return self._forward(self._checked(x, self.domain, "forward"))

    def adjoint(self, y: Any) -> tf.Tensor:
        """A^H y."""
        return self._adjoint(self._checked(y, self.codomain, "adjoint"))

    def normal(self, x: Any) -> tf.Tensor:
        """A^H A x."""
        return self._normal(self._checked(x, self.domain, "normal"))

    def __matmul__(self, right: LinearOperator) -> LinearOperator:
        """The operator that takes `right` first."""
        return Composition(self, right)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.domain} -> {self.codomain})"

    @abstractmethod
    def _forward(self, x: tf.Tensor) -> tf.Tensor: ...

    @abstractmethod
    def _adjoint(self, y: tf.Tensor) -> tf.Tensor: ...

    def _normal(self, x: tf.Tensor) -> tf.Tensor:
        return self._adjoint(self._forward(x))

    def _checked(self, x: Any, shape: Shape, what: str) -> tf.Tensor:
        x = tf.convert_to_tensor(x)
        if not x.dtype.is_complex:
            raise UsageError(f"{self!r}.{what} takes complex arrays, received {x.dtype.name}; use tf.cast or tf.complex.")
        if not fits(x.shape, shape):
            raise UsageError(f"{self!r}.{what} takes the shape {shape}, received {tuple(x.shape)}.")
        return x


class Composition(LinearOperator):
    """left @ right."""

    def __init__(self, left: LinearOperator, right: LinearOperator):
        if not fits(right.codomain, left.domain):
            raise UsageError(f"{left!r} cannot follow {right!r}: {right.codomain} is not {left.domain}.")
        super().__init__(right.domain, left.codomain)
        self.left, self.right = left, right

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return self.left.forward(self.right.forward(x))

    def _adjoint(self, y: tf.Tensor) -> tf.Tensor:
        return self.right.adjoint(self.left.adjoint(y))

    def _normal(self, x: tf.Tensor) -> tf.Tensor:
        return self.right.adjoint(self.left.normal(self.right.forward(x)))


class Fourier(LinearOperator):
    """Orthonormal Fourier transform over the last two axes.

    Args:
        shape: of image and k-space, (..., H, W).
        centered: DC in the middle of the k-space (fastMRI's, and `fft2c`); False: at index 0 (DeepInPy's, after its
            multiplication of maps and k-space by -(-1)^(i+j), and the published MoDL's).
    """

    def __init__(self, shape: Sequence[int | None], centered: bool = True):
        super().__init__(shape, shape)
        self.centered = bool(centered)

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return fft2c(x) if self.centered else tf.signal.fft2d(x) / _root_of_count(x)

    def _adjoint(self, y: tf.Tensor) -> tf.Tensor:
        return ifft2c(y) if self.centered else tf.signal.ifft2d(y) * _root_of_count(y)

    def _normal(self, x: tf.Tensor) -> tf.Tensor:
        return x


class Mask(LinearOperator):
    """Product with weights: 1 where sampled and 0 elsewhere, or any real or complex ones.

    Args:
        mask: array whose shape broadcasts to `shape`, as (N, 1, H, W) to (N, coils, H, W). A boolean or real one is its own
            adjoint.
        shape: of what is masked.
    """

    def __init__(self, mask: Any, shape: Sequence[int | None]):
        super().__init__(shape, shape)
        self.mask = tf.convert_to_tensor(mask)
        small = (1,) * (len(self.domain) - len(self.mask.shape)) + tuple(self.mask.shape)
        if len(small) != len(self.domain) or not all(n in (1, None) or m in (n, None) for n, m in zip(small, self.domain)):
            raise UsageError(f"A mask of shape {tuple(self.mask.shape)} does not broadcast to {self.domain}.")

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return _weigh(x, self.mask)

    def _adjoint(self, y: tf.Tensor) -> tf.Tensor:
        return _weigh(y, tf.math.conj(self.mask) if self.mask.dtype.is_complex else self.mask)


class CoilMaps(LinearOperator):
    """From an image to the images its coils see.

    Args:
        maps: complex coil sensitivities (N, coils, H, W); or (N, sets, coils, H, W) with several sets of maps (soft SENSE),
            for images (N, sets, H, W).
    """

    def __init__(self, maps: Any):
        self.maps = tf.convert_to_tensor(maps)
        if not self.maps.dtype.is_complex or len(self.maps.shape) not in (4, 5):
            raise UsageError("Coil maps must be complex (N, coils, H, W) or (N, sets, coils, H, W), received "
                             f"{self.maps.dtype.name} {tuple(self.maps.shape)}.")
        shape = tuple(self.maps.shape)
        self.several = len(shape) == 5
        codomain = (shape[0], *shape[2:]) if self.several else shape
        super().__init__((*shape[:-3], *shape[-2:]), codomain)

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        images = self.maps * x[..., None, :, :]
        return tf.reduce_sum(images, axis=1) if self.several else images

    def _adjoint(self, y: tf.Tensor) -> tf.Tensor:
        y = y[:, None] if self.several else y
        return tf.reduce_sum(tf.math.conj(self.maps) * y, axis=-3)


class Sense(LinearOperator):
    """Multi-coil undersampled MRI, y = M F S x: `Mask @ Fourier @ CoilMaps`, with the shifts of a centred transform moved.

    Args:
        maps: as in `CoilMaps`.
        mask: (N, H, W), 0 or 1 (weights are accepted too); None: everything sampled.
        centered: as in `Fourier`.

    The transforms run with DC at index 0 on maps and mask shifted once, so one image is shifted where every coil's was.
    Reference: utcsilab/deepinpy@eafebc7 systems/sense.py; its FFT is uncentred.
    """

    def __init__(self, maps: Any, mask: Any = None, centered: bool = True):
        maps = tf.convert_to_tensor(maps)
        self.centered = bool(centered)
        coils = CoilMaps(self._inwards(maps))
        super().__init__(coils.domain, coils.codomain)
        operator: LinearOperator = Fourier(self.codomain, centered=False) @ coils
        if mask is not None:
            mask = tf.convert_to_tensor(mask)
            _check_mask(mask, self.codomain)
            operator = Mask(self._inwards(mask)[:, None], self.codomain) @ operator
        self._uncentred = operator

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return self._outwards(self._uncentred.forward(self._inwards(x)))

    def _adjoint(self, y: tf.Tensor) -> tf.Tensor:
        return self._outwards(self._uncentred.adjoint(self._inwards(y)))

    def _normal(self, x: tf.Tensor) -> tf.Tensor:
        return self._outwards(self._uncentred.normal(self._inwards(x)))

    def _inwards(self, x: tf.Tensor) -> tf.Tensor:
        return from_the_middle(x) if self.centered else x

    def _outwards(self, x: tf.Tensor) -> tf.Tensor:
        return to_the_middle(x) if self.centered else x


class Convolve(LinearOperator):
    """Convolution of every image with one kernel, zeros around, in the image's size (the kernel's middle is n // 2).

    Args:
        kernel: real or complex (h, w), odd or even.
        shape: of the images (..., H, W), static and complex.
    """

    def __init__(self, kernel: Any, shape: Sequence[int | None]):
        super().__init__(shape, shape)
        kernel = tf.convert_to_tensor(kernel)
        height, width = self.domain[-2:]
        if len(kernel.shape) != 2 or None in (height, width):
            raise UsageError(f"Convolve takes a kernel (h, w) and a static image size, received {tuple(kernel.shape)} and "
                             f"{self.domain}.")
        self._middle = [n // 2 for n in kernel.shape]
        self._padded = [height + kernel.shape[0] - 1, width + kernel.shape[1] - 1]
        self._kernel = kernel

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        spectrum = self._spectrum(x.dtype)
        full = tf.signal.ifft2d(tf.signal.fft2d(self._around(x, [0, 0])) * spectrum)
        return self._inside(full, self._middle)

    def _adjoint(self, y: tf.Tensor) -> tf.Tensor:
        spectrum = tf.math.conj(self._spectrum(y.dtype))
        return self._inside(tf.signal.ifft2d(tf.signal.fft2d(self._around(y, self._middle)) * spectrum), [0, 0])

    def _spectrum(self, dtype: tf.DType) -> tf.Tensor:
        kernel = tf.cast(self._kernel, dtype)
        return tf.signal.fft2d(tf.pad(kernel, [[0, n - k] for n, k in zip(self._padded, kernel.shape)]))

    def _around(self, x: tf.Tensor, start: Sequence[int]) -> tf.Tensor:
        sides = [[s, n - s - m] for s, n, m in zip(start, self._padded, self.domain[-2:])]
        return tf.pad(x, [[0, 0]] * (len(self.domain) - 2) + sides)

    def _inside(self, x: tf.Tensor, start: Sequence[int]) -> tf.Tensor:
        height, width = self.domain[-2:]
        return x[..., start[0] : start[0] + height, start[1] : start[1] + width]


def fits(shape: Any, wanted: Any) -> bool:
    """Whether two shapes can be the same: rank, and every size both know."""
    shape, wanted = tuple(shape), tuple(wanted)
    return len(shape) == len(wanted) and all(None in pair or pair[0] == pair[1] for pair in zip(shape, wanted))


def _check_mask(mask: tf.Tensor, kspace: Shape) -> None:
    wanted = (kspace[0], *kspace[-2:])
    if not fits(mask.shape, wanted):
        raise UsageError(f"The mask must have the coil maps' (N, H, W) = {wanted}, received {tuple(mask.shape)}. "
                         "Give a mask of columns as np.broadcast_to(columns, (N, H, W)).")


def _weigh(x: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    return x * tf.cast(weights, x.dtype)


def _root_of_count(x: tf.Tensor) -> tf.Tensor:
    count = tf.cast(tf.reduce_prod(tf.shape(x)[-2:]), x.dtype.real_dtype)
    return tf.cast(tf.sqrt(count), x.dtype)
