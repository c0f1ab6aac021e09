"""The loop by itself, on one device; several processes are in test_several_machines."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from lts_keras.training.worker_loop import fit, share_rows

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 3)).astype("float32"), RNG.normal(size=(24, 2)).astype("float32")
WEIGHT = RNG.uniform(0, 2, 24).astype("float32")


class Recorder(keras.callbacks.Callback):
    """All that a callback is told."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __getattribute__(self, name):
        if name.startswith("on_"):
            return lambda *values, **logs: self.seen.append((name, values, logs))
        return super().__getattribute__(name)


class StopAt(keras.callbacks.Callback):
    def __init__(self, step=None, epoch=None):
        super().__init__()
        self.step, self.epoch = step, epoch

    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training |= batch == self.step

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training |= epoch == self.epoch


class OwnStep(keras.Model):
    """A step and numbers of its own, without a compiled loss."""

    def train_step(self, data):
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss = keras.ops.mean(keras.ops.abs(self(x, training=True) - y))
        self.optimizer.apply_gradients(
            zip(tape.gradient(loss, self.trainable_weights), self.trainable_weights, strict=True)
        )
        return {"distance": loss, "twice": 2 * loss}


def model(cls=keras.Model, **compiled):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((3,))
    x = keras.layers.BatchNormalization()(keras.layers.Dense(4)(inputs))
    made = cls(inputs, keras.layers.Dense(2)(keras.layers.Dropout(0.2)(x)))
    made.compile(optimizer=keras.optimizers.Adam(0.01), **compiled)
    return made


def data(batch=8, repeat=True):
    examples = tf.data.Dataset.from_tensor_slices((X, Y, WEIGHT))
    return (examples.repeat() if repeat else examples).batch(batch, drop_remainder=repeat)


LOSS = {"loss": "mse", "weighted_metrics": ["mae"], "jit_compile": False}


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"initial_epoch": 1, "validation_freq": 2, "validation_data": data(10, repeat=False)},
        {"validation_freq": [1, 3], "validation_data": data(7, repeat=False)},
        {"callbacks": [StopAt(step=1)]},
        {"callbacks": [StopAt(epoch=1)], "validation_data": data(8, repeat=False)},
        {"dataset": data(8, repeat=False)},
        {"cls": OwnStep, "loss": None},
    ],
    ids=["plain", "validation", "listed_epochs", "stop_in_epoch", "stop_after_epoch", "finite_data", "own_step"],
)
def test_equals_keras_fit(arguments):
    arguments = dict(arguments)
    dataset, cls = arguments.pop("dataset", data()), arguments.pop("cls", keras.Model)
    compiled = LOSS | {"loss": arguments.pop("loss", "mse")}
    if compiled["loss"] is None:
        compiled.pop("weighted_metrics")
    stops = arguments.pop("callbacks", [])
    common = {"epochs": 3, "steps_per_epoch": 3, **arguments}
    results = []
    for loop in (keras.Model.fit, fit):
        trained, recorder = model(cls, **compiled), Recorder()
        own = {"shuffle": False, "verbose": 0} if loop is not fit else {"strategy": tf.distribute.get_strategy()}
        history = loop(trained, dataset, callbacks=[*stops, recorder], **common, **own)
        assert history is trained.history
        results.append((history, recorder.seen, trained.get_weights()))
    (theirs, their_calls, their_weights), (ours, our_calls, our_weights) = results
    assert ours.epoch == theirs.epoch and list(ours.history) == list(theirs.history)
    assert len(our_calls) > 6
    assert [call[0] for call in our_calls] == [call[0] for call in their_calls]
    for our, their in zip(our_calls, their_calls, strict=True):
        assert_same(our[1:], their[1:])
    for our, their in zip(our_weights, their_weights, strict=True):
        np.testing.assert_allclose(our, their, rtol=1e-6, atol=1e-7)


def assert_same(ours, theirs):
    """Equal structures and Python numbers."""
    ours, theirs = (tf.nest.flatten(value) for value in (ours, theirs))
    assert [type(value) for value in ours] == [type(value) for value in theirs]
    for our, their in zip(ours, theirs, strict=True):
        if isinstance(our, float):
            assert our == pytest.approx(their, rel=1e-5)


def test_data_that_ends_too_early_is_said():
    with pytest.warns(UserWarning, match="the data ended at step 3 of 5 of an epoch"):
        fit(model(**LOSS), data(8, repeat=False), strategy=tf.distribute.get_strategy(), epochs=1, steps_per_epoch=5)


def test_data_that_ended_does_not_count_in_a_metric():
    trained = model(loss="mse", weighted_metrics=[Steps()], jit_compile=False)
    history = fit(
        trained,
        data(),
        strategy=tf.distribute.get_strategy(),
        epochs=2,
        steps_per_epoch=2,
        validation_data=data(7, repeat=False),
    )
    assert history.history["steps"] == [2, 2] and history.history["val_steps"] == [4, 4]


class Steps(keras.metrics.Metric):
    """Counts its calls, whatever the data: it must not wait for it either."""

    def __init__(self):
        super().__init__(name="steps")
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.count.assign_add(1.0)

    def result(self):
        return self.count + 0.0


@pytest.mark.parametrize("wrong", [{"run_eagerly": True}, {"jit_compile": True}, {"steps_per_execution": 2}])
def test_what_the_loop_does_not_have_is_refused(wrong):
    strategy = tf.distribute.get_strategy()
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}={next(iter(wrong.values()))}"):
        fit(model(**LOSS | wrong), data(), strategy=strategy, epochs=1, steps_per_epoch=1)
    raw = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="compile"):
        fit(raw, data(), strategy=strategy, epochs=1, steps_per_epoch=1)


@settings(max_examples=12)  # half a second each: a data set is traced for every worker
@given(workers=st.integers(1, 3), devices=st.integers(1, 3), batch=st.integers(9, 20))
def test_workers_share_each_batch_in_order(workers, devices, batch):
    replicas = workers * devices
    dataset = tf.data.Dataset.range(2 * batch).map(lambda i: {"a": i, "b": [i, i]}).batch(batch, drop_remainder=True)
    parts = []
    for worker in range(workers):
        context = tf.distribute.InputContext(workers, worker, replicas)
        own = share_rows(dataset, context)
        assert list(own.element_spec) == ["a", "b"]
        assert own.element_spec["a"].shape[0] == (None if batch % replicas else batch // replicas)
        parts.append([element["a"].numpy() for element in own])
        assert len(parts[-1]) == 2 * devices
    for step in range(2):
        of_step = [rows for part in parts for rows in part[step * devices : (step + 1) * devices]]
        assert np.concatenate(of_step).tolist() == list(range(step * batch, (step + 1) * batch))
        sizes = [len(rows) for rows in of_step]
        assert sizes == [batch // replicas + (index < batch % replicas) for index in range(replicas)]


def test_a_batch_with_fewer_rows_than_replicas_is_refused():
    shared = share_rows(tf.data.Dataset.range(2).batch(2), tf.distribute.InputContext(2, 0, 4))
    with pytest.raises(tf.errors.InvalidArgumentError, match="fewer rows than there are replicas"):
        next(iter(shared))
