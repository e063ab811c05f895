"""What a task has to say about its shards, so that the rest of this folder can write and read them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .manifest import Layout


@dataclass(frozen=True)
class Surveyed:
    """A volume every slice of which was read once.

    Attributes:
        volume: of the index, with `name`, `patient`, `slices`, `height`, `width`.
        bytes: about what its records take.
        notes: what the user should know of it.
        facts: numbers that go into each of its records, as float64.
    """

    volume: Any
    bytes: int
    notes: tuple[str, ...] = ()
    facts: Mapping[str, float] = field(default_factory=dict)


class ShardKind(ABC):
    """How the volumes of one task become records."""

    layout: Layout

    @abstractmethod
    def survey(self, volume: Any) -> Surveyed:
        """Read every slice of a volume; DataError for what cannot be used."""

    @abstractmethod
    def arrays(self, volume: Any, i: int) -> dict[str, np.ndarray]:
        """The arrays of one record, every number finite."""

    @abstractmethod
    def row(self, volume: Any) -> dict[str, Any]:
        """Of the manifest's row what this task alone says, and "key"."""
