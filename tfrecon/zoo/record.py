"""What is known about a model before it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Original:
    """Where a model comes from: repository on GitHub, commit, and the licence found there."""

    repository: str
    commit: str
    licence: str

    def __str__(self) -> str:
        return f"{self.repository}{self.commit and '@'}{self.commit} ({self.licence})"


@dataclass(frozen=True)
class Record:
    """One entry of the zoo.

    Attributes:
        name, summary: what it is.
        system: the published system it belongs to, with its source document.
        builder, training_class: what builds the network that reconstructs and what trains it, as "training.UNetGAN"; "" where
            there is none.
        task: of `data.create_paired_dataset`: masked, blur, superres or multicoil; or pictures, without pairs.
        make: builds it, compiled, from its options; None for the models without weights.
        fixed: builds the callable that a model without weights is.
        takes: what else, in `models` and `training`, the options beyond those of `make` go to, as "training.SRResCycGAN".
        presets: option sets by name; the first is the default.
        value_range: of what the network takes and gives.
        sizes: heights and widths it takes.
        scaling: the `create_paired_dataset` scaling it was made for; "window" for CT, the value range for super-resolution.
        channels: of its images; grey ones are repeated.
        multiple: what height and width must be a multiple of; reconstruction pads and crops back.
        smallest: side of the smallest training images.
        batch_size: the published one, or what suits a small machine. batch_sizes: of presets with another.
        patch: side of the training images where its critic needs a fixed size; None: any.
        originals: the repositories it was compared with or made after. licence: of this implementation.
        published: the hyper-parameters its authors trained with.
        parity: what was measured to be equal to the original, how closely, and where that is tested.
    """

    name: str
    task: str
    summary: str
    make: Callable[..., Any] | None = None
    fixed: Callable[..., Any] | None = None
    system: str = ""
    builder: str = ""
    training_class: str = ""
    takes: tuple[str, ...] = ()
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    value_range: str = "any"
    sizes: str = "any"
    scaling: str = "zero_filled_max"
    channels: int = 1
    multiple: int = 1
    smallest: int = 1
    batch_size: int = 4
    batch_sizes: Mapping[str, int] = field(default_factory=dict)
    patch: int | None = None
    originals: tuple[Original, ...] = ()
    licence: str = "Apache-2.0 (this implementation)"
    published: Mapping[str, Any] = field(default_factory=dict)
    parity: str = ""

    @property
    def source(self) -> str:
        """The originals in one line."""
        return ", ".join(map(str, self.originals))

    def multiple_for(self, options: Mapping[str, Any]) -> int:
        """`multiple` of a model built with these options: a U-Net's depends on how often it halves."""
        halvings = options.get("num_downs")
        return 2**halvings if isinstance(halvings, int) and 0 < halvings < 16 else self.multiple

    def describe(self) -> dict[str, Any]:
        """Plain values for printing."""
        return {**{key: value for key, value in asdict(self).items() if key not in ("make", "fixed")}, "source": self.source}
