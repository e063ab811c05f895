"""Training on several machines: what Keras' `fit` does, as a loop of TensorFlow's own engine.

Keras 3 cannot fit under `tf.distribute.MultiWorkerMirroredStrategy` (keras-team/keras issue 20585). Here every worker takes its
own part of the same global batches, so that a run on n machines has the steps of a run on one. Callbacks, history and
validation are Keras' own; what happens on one worker alone, a Ctrl-C or the end of its time, is agreed upon after each step.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from ..errors import UsageError


def workers_strategy() -> Any:
    """The strategy TF_CONFIG asks for: that of several workers, to be made before TensorFlow does anything; else the present."""
    text = os.environ.get("TF_CONFIG", "")
    try:
        cluster = json.loads(text or "{}").get("cluster") or {}
    except (ValueError, AttributeError) as error:
        raise UsageError(f"TF_CONFIG is no JSON ({error}). It looks like {_EXAMPLE}.") from error
    if not cluster:
        return tf.distribute.get_strategy()
    if set(cluster) - {"worker"} or not isinstance(cluster.get("worker"), list):
        raise UsageError(f"TF_CONFIG must name workers alone, received {', '.join(map(str, cluster))}. It looks like {_EXAMPLE}.")
    return tf.distribute.MultiWorkerMirroredStrategy()


_EXAMPLE = '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}'


def is_across_workers(strategy: Any) -> bool:
    """Whether several processes train together under this strategy."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) and _count(strategy) > 1


def is_chief(strategy: Any) -> bool:
    """Whether this process writes what all of them make: the first worker, or the only process."""
    return not is_across_workers(strategy) or strategy.cluster_resolver.task_id == 0


def agreed(strategy: Any) -> Callable[[Sequence[bool]], list[bool]]:
    """A function that all workers call at once: for each of several questions, whether any of them said yes."""
    if not is_across_workers(strategy):
        return list

    @tf.function
    def together(value: Any) -> Any:
        return strategy.reduce("SUM", strategy.run(tf.identity, args=(value,)), axis=None)

    return lambda answers: (together(tf.cast(answers, tf.float32)).numpy() > 0).tolist()


def fit_across_workers(
    trainer: Any, data: Any, validation_data: Any = None, initial_epoch: int = 0, epochs: int = 1,
    callbacks: Sequence[keras.callbacks.Callback] = (), verbose: Any = 0,
) -> keras.callbacks.History:
    """`trainer.fit` under a strategy of several workers; every worker calls it with the same arguments.

    Args:
        trainer: compiled, made in the strategy's scope.
        data: `tf.data.Dataset` of global batches of one size and of known cardinality, the same on every worker.
        validation_data: another one; every worker sees all of it.
        initial_epoch, epochs, callbacks, verbose: as Keras' `fit` takes them; a progress bar of Keras' is for one process.

    Raises:
        UsageError: the number of batches is not known, or their size is not a multiple of the number of replicas.
    """
    strategy, steps = trainer.distribute_strategy, int(data.cardinality())
    if steps < 1:
        raise UsageError("Training on several workers needs a data set whose number of batches is known and at least 1; received "
                         f"the cardinality {steps}. Say it with tf.data.experimental.assert_cardinality.")
    replicas, sizes = strategy.num_replicas_in_sync, {spec.shape[0] for spec in tf.nest.flatten(data.element_spec)}
    if any(size is None or size % replicas for size in sizes):
        raise UsageError(f"Every batch is shared by {replicas} replicas; received batches of {', '.join(map(str, sizes))}. Take "
                         "a batch size that is a multiple of it, and drop_remainder=True.")
    calls = keras.callbacks.CallbackList(list(callbacks), add_history=True, model=trainer, epochs=epochs, steps=steps, verbose=0)
    parts = strategy.distribute_datasets_from_function(lambda context: _own_parts(data, strategy, context))
    train, test = (_step(strategy, step) for step in (trainer.train_step, trainer.test_step))
    trainer.stop_training = False
    calls.on_train_begin()
    logs: dict[str, float] = {}
    for epoch in range(initial_epoch, epochs):
        trainer.reset_metrics()
        calls.on_epoch_begin(epoch)
        batches = iter(parts)
        for batch in range(steps):
            calls.on_train_batch_begin(batch)
            logs = train(next(batches))
            calls.on_train_batch_end(batch, logs)
        trainer.average_statistics()
        if validation_data is not None:
            trainer.reset_metrics()
            validated: dict[str, float] = {}
            for batch in validation_data:
                validated = test(batch)
            logs = {**logs, **{f"val_{name}": value for name, value in validated.items()}}
        calls.on_epoch_end(epoch, logs)
        if trainer.stop_training:
            break
    calls.on_train_end(logs)
    return trainer.history


def _step(strategy: Any, step: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, float]]:
    """A step of all replicas, its logs averaged over them."""

    @tf.function(reduce_retracing=True)
    def together(batch: Any) -> dict[str, Any]:
        logs = strategy.run(step, args=(batch,))
        return {name: strategy.reduce("MEAN", value, axis=None) for name, value in logs.items()}

    return lambda batch: {name: float(value) for name, value in together(batch).items()}


def _own_parts(data: Any, strategy: Any, context: Any) -> Any:
    """Of every global batch the parts of this worker's replicas, one after the other.

    Data that can give a worker's part of their batches (`data.batching.shareable`) are asked for it: nothing else is read then.
    """
    replicas, workers, number = strategy.num_replicas_in_sync, context.num_input_pipelines, context.input_pipeline_id
    own = replicas // workers
    begin, count = number * own, replicas
    if hasattr(data, "own_part"):
        data, begin, count = data.own_part(number, workers), 0, own

    def cut(x: Any) -> Any:
        parts = tf.reshape(x, (count, x.shape[0] // count, *tf.unstack(tf.shape(x)[1:])))[begin : begin + own]
        return tf.ensure_shape(parts, (own, x.shape[0] // count, *x.shape[1:]))

    return data.map(lambda *batch: tf.nest.map_structure(cut, batch if len(batch) > 1 else batch[0])).unbatch().prefetch(2)


def separate_random_states(states: Sequence[Any], strategy: Any) -> None:
    """Let every replica draw numbers of its own (dropout, interpolations): Keras gives all of them the same ones.

    Args:
        states: variables of Keras' seed generators, alike in all replicas.
    """
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return
    for state in states:
        copies = strategy.experimental_local_results(state.value)
        before = strategy.cluster_resolver.task_id * len(copies) if is_across_workers(strategy) else 0
        for number, copy in enumerate(copies, start=before):
            copy.assign(copy + tf.constant([number, 0], copy.dtype))


def average_statistics(variables: Sequence[Any], strategy: Any) -> None:
    """Give all replicas the mean of their running statistics, which each of them keeps of its own part of the batches.

    They are linear in the batches', so it does not matter when or how often this is done; all workers do it at once.
    """
    if strategy.num_replicas_in_sync == 1 or not variables:
        return

    def merge() -> None:
        replica = tf.distribute.get_replica_context()
        for variable in variables:
            variable.assign(replica.all_reduce("MEAN", tf.identity(variable.value)))

    tf.function(strategy.run)(merge)


def _count(strategy: Any) -> int:
    return len(strategy.cluster_resolver.cluster_spec().as_dict().get("worker", ()))
