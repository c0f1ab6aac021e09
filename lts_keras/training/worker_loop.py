"""`fit` on several machines: what `model.fit` does, which fails under MultiWorkerMirroredStrategy (keras#20585)."""

import contextlib
import warnings
import zlib

import keras
import tensorflow as tf

from lts_keras.training.loss_scale import decide_together
from lts_keras.training.workers import agree, any_worker, worker_errors

__all__ = ["fit", "share_rows"]

_TOO_FEW = "a batch has fewer rows than there are replicas"


def fit(
    model,
    dataset,
    *,
    strategy,
    epochs,
    steps_per_epoch,
    initial_epoch=0,
    validation_data=None,
    validation_freq=1,
    callbacks=(),
):
    """Trains a compiled model on all workers of a strategy, as `model.fit` does on one machine.

    Every worker calls it with the same arguments and makes the same data set of global batches, of which it takes its
    own rows. `model.train_step` and `test_step`, the compiled losses, metrics and optimizer, and callbacks behave as
    under `model.fit`; the numbers that callbacks see are those of all workers. `model.stop_training` set on one worker
    ends training on all of them behind the same batch or epoch.

    Callbacks run on every worker. One that writes files must do so where `is_chief(strategy)` alone, and must not then
    do what the other workers would have to do too, reading a metric for example.

    Args:
        model: compiled `keras.Model`, made under `strategy.scope()`.
        dataset: `tf.data.Dataset` of global batches, deterministic: the same on all workers.
        strategy: `tf.distribute.MultiWorkerMirroredStrategy`.
        epochs: int. Number of the epoch behind the last.
        steps_per_epoch: int.
        initial_epoch: int. Number of the first epoch.
        validation_data: `tf.data.Dataset` of global batches, finite.
        validation_freq: int, or collection of epochs (from 1): when to validate.
        callbacks: Keras callbacks.

    Returns:
        `keras.callbacks.History`.

    Raises:
        ValueError: the model is not compiled, or with options that this loop does not have; a batch with fewer rows
            than there are replicas.
        TrainingError: a worker is lost, or the workers do not begin alike.
    """
    _check(model)
    decide_together(model.optimizer)
    callbacks = keras.callbacks.CallbackList(
        list(callbacks), add_history=True, model=model, epochs=epochs, steps=steps_per_epoch, verbose=0
    )
    with worker_errors(strategy):
        with strategy.scope():
            _build(model, dataset)
        _check_start(strategy, model, (initial_epoch, epochs, steps_per_epoch))
        train = _Steps(model.train_step, dataset, strategy)
        test = _Steps(model.test_step, validation_data, strategy) if validation_data is not None else None
        model.stop_training = False
        callbacks.on_train_begin()
        logs = None
        for epoch in range(initial_epoch, epochs):
            model.reset_metrics()
            callbacks.on_epoch_begin(epoch)
            logs = _train_epoch(model, train, steps_per_epoch, callbacks, strategy)
            if test and _is_due(epoch + 1, validation_freq):
                logs |= {f"val_{name}": value for name, value in _evaluate(model, test, callbacks).items()}
            callbacks.on_epoch_end(epoch, logs)
            if any_worker(strategy, model.stop_training):
                break
        if epochs > 0:
            model.optimizer.finalize_variable_values(model.trainable_weights)
        callbacks.on_train_end(logs)
    return model.history


def _is_due(number, frequency):
    return number % frequency == 0 if isinstance(frequency, int) else number in frequency


def _check(model):
    if not model.compiled:
        raise ValueError("call `model.compile()` before `fit`")
    if model.run_eagerly or model.jit_compile or model.steps_per_execution != 1:
        raise ValueError(
            "on several machines a model is compiled without run_eagerly, jit_compile and steps_per_execution. "
            f"Received: run_eagerly={model.run_eagerly}, jit_compile={model.jit_compile}, "
            f"steps_per_execution={model.steps_per_execution}"
        )


def _build(model, dataset):
    """Makes all variables, those of losses, metrics and optimizer too: within a step it is too late for that."""

    @tf.function(autograph=False)
    def trace(*element):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(element)
        # What is assigned in such a scope stays in it, so that metrics and batch norm count nothing here.
        with keras.StatelessScope():
            y_pred = model(x, training=False)
            model.compute_metrics(x, y, y_pred, sample_weight)
            # A model whose own `train_step` makes the loss has none here.
            with contextlib.suppress(ValueError):
                model.compute_loss(x, y, y_pred, sample_weight, training=False)

    spec = dataset.element_spec
    trace.get_concrete_function(*(spec if isinstance(spec, tuple) else (spec,)))
    model.optimizer.build(model.trainable_variables)


def _check_start(strategy, model, numbers):
    agree(strategy, f"the epochs to train, here {numbers[0]} to {numbers[1]} of {numbers[2]} steps,", repr(numbers))
    digest = 0
    for variable in [*model.variables, *model.optimizer.variables]:
        digest = zlib.crc32(variable.numpy().tobytes(), digest)
    agree(strategy, "a weight, or a value of the optimizer,", str(digest))


def _train_epoch(model, train, steps, callbacks, strategy):
    logs = {}
    for step in range(steps):
        data = train.next_batch(renew=step == 0)
        if data is None:
            warnings.warn(f"the data ended at step {step} of {steps} of an epoch", stacklevel=3)
            break
        callbacks.on_train_batch_begin(step)
        logs = train(data)
        callbacks.on_train_batch_end(step, logs)
        if any_worker(strategy, model.stop_training):
            break
    return _results(model, logs)


def _evaluate(model, test, callbacks):
    callbacks.on_test_begin()
    model.reset_metrics()
    logs, step = {}, 0
    test.begin()
    while (data := test.next_batch()) is not None:
        callbacks.on_test_batch_begin(step)
        logs = test(data)
        callbacks.on_test_batch_end(step, logs)
        step += 1
    logs = _results(model, logs)
    callbacks.on_test_end(logs)
    return logs


def _results(model, logs):
    """The metrics over the whole epoch, of all workers; the last step's numbers where a `train_step` has its own."""
    results = model.get_metrics_result()
    return {name: float(value) for name, value in (results if set(results) == set(logs) else logs).items()}


class _Steps:
    """One kind of step over a data set: its batches, shared out, and the function that takes them.

    Args:
        step: function of a replica's rows -> dict of scalars.
        dataset: `tf.data.Dataset` of global batches.
        strategy: `tf.distribute.Strategy`.
    """

    def __init__(self, step, dataset, strategy):
        self._data = strategy.distribute_datasets_from_function(lambda context: share_rows(dataset, context))
        self._names = None
        self._iterator = None

        def packed(data):
            logs = step(data)
            self._names = list(logs)
            return tf.stack([tf.cast(value, "float64") for value in logs.values()])

        # One sum over the workers for all numbers together. The batch is fetched outside: within the function, a step
        # that finds no more data would still count in those metrics that do not wait for it.
        @tf.function(input_signature=[self._data.element_spec], autograph=False)
        def run(data):
            return strategy.reduce("MEAN", strategy.run(packed, args=(data,)), axis=None)

        self._run = run

    def begin(self):
        """Begins the data set anew."""
        self._iterator = iter(self._data)

    def next_batch(self, renew=False):
        """The next batch, or `None` at the data's end; with `renew`, a data set that has ended begins anew."""
        if self._iterator is None:
            self.begin()
        try:
            data = next(self._iterator, None)
            if data is None and renew:
                self.begin()
                data = next(self._iterator, None)
        except tf.errors.InvalidArgumentError as error:
            if _TOO_FEW not in str(error):
                raise
            raise ValueError(f"{_TOO_FEW}; no replica may be left without") from None
        return data

    def __call__(self, data):
        """Runs the step on all replicas; returns its numbers, the means over the replicas, as `{name: float}`."""
        values = self._run(data).numpy().tolist()
        return dict(zip(self._names, values, strict=True))


def share_rows(dataset, context):
    """A worker's part of global batches: for each of its replicas one element with the replica's rows.

    Rows are shared out as MirroredStrategy does it: in order, the first replicas taking one more where the batch does
    not divide.

    Args:
        dataset: `tf.data.Dataset` whose elements are nests of tensors with the batch first.
        context: `tf.distribute.InputContext`.

    Returns:
        `tf.data.Dataset`.
    """
    replicas = context.num_replicas_in_sync
    own = replicas // context.num_input_pipelines
    first = context.input_pipeline_id * own

    def rows(index, element):
        count = tf.shape(tf.nest.flatten(element)[0], tf.int64)[0]
        size, rest = count // replicas, count % replicas
        tf.debugging.assert_positive(size, _TOO_FEW)
        start = index * size + tf.minimum(index, rest)
        stop = start + size + tf.cast(index < rest, tf.int64)
        return tf.nest.map_structure(lambda values: _cut(values, start, stop, replicas), element)

    def of_each_replica(*parts):
        element = parts if isinstance(dataset.element_spec, tuple) else parts[0]
        return tf.data.Dataset.range(first, first + own).map(lambda index: rows(index, element))

    return dataset.flat_map(of_each_replica).prefetch(2)


def _cut(values, start, stop, replicas):
    part = values[start:stop]
    if values.shape[0] and values.shape[0] % replicas == 0:
        part = tf.ensure_shape(part, [values.shape[0] // replicas, *values.shape[1:]])
    return part
