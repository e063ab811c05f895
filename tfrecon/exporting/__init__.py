"""Trained networks as files other programs run, and the proof that these still give the same numbers."""

from .formats import FORMATS, write
from .golden import Case, read_golden, write_golden
from .runners import run
from .verification import Drift, compare

__all__ = ["FORMATS", "Case", "Drift", "compare", "read_golden", "run", "write", "write_golden"]
