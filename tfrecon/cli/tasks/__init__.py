"""What training needs to know of a model's task: how its data are found, split, streamed and described on the card."""

from __future__ import annotations

import argparse

from .base import Part, Task
from .blur import BlurTask
from .coils import CoilTask
from .masked import MaskedTask
from .pictures import PicturesTask
from .superres import SuperresTask

__all__ = ["Part", "Task", "baseline_of", "task_of"]

_TASKS = {"masked": MaskedTask, "blur": BlurTask, "superres": SuperresTask, "multicoil": CoilTask,
          "pictures": PicturesTask}


def task_of(arguments: argparse.Namespace) -> Task:
    """The task of the model the arguments name."""
    from ...zoo import record_of

    record = record_of(arguments.model)
    return _TASKS[record.task](arguments, record)


def baseline_of(model: str) -> str:
    """What doing nothing is called in the task of the model of that name."""
    from ...zoo import record_of

    return _TASKS[record_of(model).task].baseline
