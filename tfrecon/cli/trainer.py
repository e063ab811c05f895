"""What `train` trains with: the model as the arguments describe it, its callbacks, and what the run will cost."""

from __future__ import annotations

import argparse
import importlib.util
from collections import Counter
from pathlib import Path
from typing import Any

from .options import say
from .tasks import Part, Task
from .training_options import jit_compile, learning_rate, model_options


def check_requests(arguments: argparse.Namespace) -> None:
    """Refuse, before anything is read, what this model or this machine cannot do during a run."""
    from ..errors import ResourceError, UsageError
    from ..zoo import record_of

    if arguments.generator_first and arguments.model != "ct_deblur":
        raise UsageError(f"--generator-first is for ct_deblur, received --model {arguments.model}.")
    if arguments.keep_epochs and record_of(arguments.model).task not in ("masked", "blur"):
        raise UsageError(f"--keep-epochs is for models of one generator and one critic, received --model {arguments.model}.")
    if arguments.combine and record_of(arguments.model).task != "masked":
        raise UsageError("--combine is for networks on magnitudes (unet_gan, deblurgan_mri), received --model "
                         f"{arguments.model}.")
    if arguments.tensorboard and not importlib.util.find_spec("tensorboard"):
        raise ResourceError('--tensorboard needs the package tensorboard: pip install "tfrecon[tensorboard]".')


def build_options(task: Task, side: int | None) -> dict[str, Any]:
    """What the model is built with besides its preset; `side` is that of the training images."""
    given = model_options(task.arguments)
    return {"image_shape": (side, side, task.record.channels), **given} if task.record.patch else given


def build_trainer(task: Task, options: dict[str, Any], steps: int) -> Any:
    """The compiled training model, with the weights of --init; `steps` are those of an epoch."""
    from ..zoo import create

    arguments = task.arguments
    rate = learning_rate(arguments, task.record, steps)
    trainer = create(arguments.model, preset=arguments.preset, jit_compile=jit_compile(arguments),
                     **{**options, "learning_rate": rate})
    if arguments.init:
        from ..weights import load_weights

        report = load_weights(trainer.generator, arguments.init)
        say(f"begins with {report.loaded} of {report.total} arrays of {arguments.init}")
    return trainer


def largest_batches(task: Task, part: Part, side: int | None, visits: int) -> Part:
    """The slices of a part that make its largest batches; the part itself where all are of one size, as patches are.

    Args:
        side: of the images, None for those of whole slices. visits: of each slice in an epoch.
    """
    from ..data.splits import all_samples

    if side is not None or len(task.sizes(part)) == 1:
        return part
    samples = all_samples(part.index) if part.samples is None else part.samples
    numbers = {number for number, _ in samples}
    sizes = {number: next(iter(task.sizes(Part(part.index, [(number, 0)])))) for number in numbers}
    counts = Counter(sizes[number] for number, _ in samples)
    largest = max(counts, key=lambda size: size[0] * size[1] * min(visits * counts[size], task.batch_size))
    return Part(part.index, [(number, i) for number, i in samples if sizes[number] == largest])


def estimate(trainer: Any, data: Any, epochs: int, measured: Any) -> str:
    """What the run will cost, measured on a step with a batch of `measured`."""
    from ..machine import free_memory
    from ..training import measure_step

    cost, steps = measure_step(trainer, measured), int(data.cardinality())
    epoch = cost.seconds * steps
    free = free_memory()
    left = "" if free is None else f", {free / 2**30:.3g} GiB are free beside it"
    step = "step" if measured is data else "step of the largest batches"
    return (f"estimate: {cost.seconds:.3g} s a {step}, {_duration(epoch)} an epoch of {steps}, {_duration(epoch * epochs)} "
            f"for {epochs} epochs, without validation; {cost.memory / 2**30:.3g} GiB of memory{left}")


def _duration(seconds: float) -> str:
    unit, length = next((u, n) for u, n in (("h", 3600), ("min", 60), ("s", 1)) if seconds >= n or n == 1)
    return f"{seconds / length:.3g} {unit}"


def build_callbacks(task: Task, out: Path, trainer: Any, validation: Any) -> list[Any]:
    """What the command line asks for besides the state, the best weights and the progress."""
    import keras

    from ..training.recipes import GeneratorFirst, SaveEveryEpoch
    from ..weights import save_legacy_weights

    arguments = task.arguments
    logs = out / "tensorboard" if arguments.tensorboard else None
    chosen: list[Any] = [task.strips(out, trainer, validation, logs)]
    if arguments.generator_first:
        chosen.append(GeneratorFirst(arguments.generator_first))
    if arguments.keep_epochs:
        chosen.append(SaveEveryEpoch(out, save_legacy_weights))
    if arguments.tensorboard:
        chosen.append(keras.callbacks.TensorBoard(str(logs)))
    return chosen
