"""Multi-coil k-space: coil maps from files or estimated, and batches for reconstructions that know the measurement."""

from .combined import COMBINATIONS, Combining
from .maps import CoilMapSource
from .pairs import multicoil_pairs
from .problem import Problem, problem_of

__all__ = ["COMBINATIONS", "CoilMapSource", "Combining", "Problem", "multicoil_pairs", "problem_of"]
