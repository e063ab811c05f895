"""The one entrance to training data: (input, target) pairs of a task as a `tf.data.Dataset`."""

from __future__ import annotations

from typing import Any

from ..errors import UsageError
from .ct.pairs import blur_pairs
from .masked_pairs import masked_pairs
from .multicoil import multicoil_pairs
from .superres import superres_pairs

TASKS = {"masked": masked_pairs, "blur": blur_pairs, "superres": superres_pairs,
         "multicoil": multicoil_pairs}


def create_paired_dataset(
    path: Any, task: str = "masked", batch_size: int = 8, target: str | None = None, **options: Any
) -> Any:
    """Stream (input, target) pairs of a task from files, whatever the size of the data.

    Args:
        path: file, folder, list of them, or an index of the task.
        task: "masked": zero-filled image of undersampled single-coil k-space against the full one (`masked_pairs`);
            "blur": motion-blurred CT against the sharp one (`ct.blur_pairs`);
            "superres": an image reduced by four against itself (`superres.superres_pairs`);
            "multicoil": measured k-space, coil maps and mask against the complex image (`multicoil.multicoil_pairs`).
        batch_size: at least 1.
        target: key of the target images; None: the task's own default.
        options: of the task's function, which documents them.

    Returns:
        `tf.data.Dataset` of float32 (N, h, w, channels) pairs (multicoil: see there) with known cardinality.

    Raises:
        UsageError: unknown task, or an argument is out of range. DataError: no usable file.
    """
    if task not in TASKS:
        raise UsageError(f"The task must be one of {', '.join(TASKS)}, received {task!r}.")
    return TASKS[task](path, batch_size, target, **options)
