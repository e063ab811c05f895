"""What is known about a model before it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Record:
    """One entry of the zoo.

    Attributes:
        name, summary: what it is.
        task: of `data.create_paired_dataset`: masked, blur, superres or multicoil; or pictures, without pairs.
        make: builds it, compiled, from its options; None for the models without weights.
        fixed: builds the callable that a model without weights is.
        takes: what else, in `models` and `training`, the options beyond those of `make` go to, as "training.SRResCycGAN".
        presets: option sets by name; the first is the default.
        scaling: the `create_paired_dataset` scaling it was made for; "window" for CT, the value range for super-resolution.
        channels: of its images; grey ones are repeated.
        multiple: what height and width must be a multiple of; reconstruction pads and crops back.
        smallest: side of the smallest training images.
        batch_size: the published one, or what suits a small machine. batch_sizes: of presets with another.
        patch: side of the training images where its critic needs a fixed size; None: any.
        source, licence: the original repository at its commit, and its licence.
        parity: what was proven equal to the original.
    """

    name: str
    task: str
    summary: str
    make: Callable[..., Any] | None = None
    fixed: Callable[..., Any] | None = None
    takes: tuple[str, ...] = ()
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    scaling: str = "zero_filled_max"
    channels: int = 1
    multiple: int = 1
    smallest: int = 1
    batch_size: int = 4
    batch_sizes: Mapping[str, int] = field(default_factory=dict)
    patch: int | None = None
    source: str = ""
    licence: str = "Apache-2.0 (this implementation)"
    parity: str = ""

    def multiple_for(self, options: Mapping[str, Any]) -> int:
        """`multiple` of a model built with these options: a U-Net's depends on how often it halves."""
        halvings = options.get("num_downs")
        return 2**halvings if isinstance(halvings, int) and 0 < halvings < 16 else self.multiple

    def describe(self) -> dict[str, Any]:
        """Plain values for printing."""
        return {key: value for key, value in asdict(self).items() if key not in ("make", "fixed")}
