import json

import keras
import numpy as np
import pytest
from keras import ops

from lts_keras.config.schema import TrainConfig
from lts_keras.training.optimizers import OPTIMIZERS, WarmupSchedule, make_optimizer
from tests.conftest import run_python
from tests.lts_keras.models.test_lts import small


def test_the_paper_drops_the_rate_at_epoch_30():
    schedule = make_optimizer(TrainConfig(), steps_per_epoch=100)._learning_rate
    rates = [float(schedule(step)) for step in (0, 2999, 3000, 4499)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])


def test_warm_up_and_falling_schedules_by_hand():
    rates = {}
    for shape in ("cosine", "linear", "constant"):
        schedule = WarmupSchedule(1.0, total_steps=110, warmup_steps=10, shape=shape)
        rates[shape] = [float(schedule(step)) for step in (0, 4, 10, 60, 110)]
    assert rates["cosine"] == pytest.approx([0.1, 0.5, 1.0, 0.01 + 0.99 * 0.5, 0.01])
    assert rates["linear"] == pytest.approx([0.1, 0.5, 1.0, 1 - 0.99 * 0.5, 0.01])
    assert rates["constant"] == pytest.approx([0.1, 0.5, 1.0, 1.0, 1.0])


def take_steps(optimizer, model, gradient=1.0, steps=1):
    """How far each trainable variable went."""
    before = [ops.convert_to_numpy(variable) for variable in model.trainable_variables]
    for _ in range(steps):
        gradients = [np.full(variable.shape, gradient, "float32") for variable in model.trainable_variables]
        optimizer.apply(gradients, model.trainable_variables)
    return [old - ops.convert_to_numpy(new) for old, new in zip(before, model.trainable_variables, strict=True)]


def test_the_backbones_rate_is_its_own():
    model = small(trainable_backbone="all")
    optimizer = make_optimizer(TrainConfig(learning_rate=0.1), 1, model, backbone_multiplier=0.1)
    steps = take_steps(optimizer, model)
    backbone = {id(variable) for variable in model.backbone.trainable_variables}
    assert backbone and len(backbone) < len(model.trainable_variables)
    for variable, step in zip(model.trainable_variables, steps, strict=True):
        # The first step of Adam is the learning rate itself.
        np.testing.assert_allclose(step, 0.01 if id(variable) in backbone else 0.1, rtol=1e-3, err_msg=variable.path)


@pytest.mark.parametrize("locator", ["filter", "transformer"])
def test_weight_decay_leaves_gamma_beta_and_biases_alone(locator):
    model = small(locator=locator, trainable_backbone="all")
    for variable in model.trainable_variables:
        variable.assign(ops.ones(variable.shape))
    optimizer = make_optimizer(TrainConfig(learning_rate=0.1, weight_decay=0.5), 1, model)
    decayed = {}
    for variable, step in zip(model.trainable_variables, take_steps(optimizer, model, gradient=0.0), strict=True):
        decayed.setdefault(variable.path.rpartition("/")[2], set()).add(round(float(np.max(np.abs(step))), 6))
    # Decoupled: rate times decay times the value.
    assert decayed.pop("kernel") == {0.05} and decayed.pop("recurrent_kernel") == {0.05}
    assert decayed.pop("embeddings") == {0.05}
    assert set(decayed) == {"gamma", "beta", "bias"} and set().union(*decayed.values()) == {0.0}


def test_clipping_by_hand():
    model = keras.Sequential([keras.layers.Dense(1, use_bias=False)])
    model.build((None, 4))
    options = TrainConfig(optimizer="sgd", learning_rate=1.0, clip_norm=1.0)
    optimizer = make_optimizer(options, 1, model)
    optimizer.momentum, optimizer.nesterov = 0.0, False
    # A gradient of four threes has norm 6.
    np.testing.assert_allclose(take_steps(optimizer, model, gradient=3.0)[0], 0.5, rtol=1e-5)


def test_rows_that_words_share_are_added_before_clipping():
    """Two threes on one row of an embedding are a gradient of six there, not of the norm of (3, 3)."""
    import tensorflow as tf

    variable = keras.Variable(np.zeros((4, 1), "float32"))
    optimizer = OPTIMIZERS["sgd"][0](1.0, global_clipnorm=3.0)
    optimizer.build([variable])
    sparse = tf.IndexedSlices(tf.constant([[3.0], [3.0]]), tf.constant([2, 2]), tf.constant([4, 1]))
    optimizer.apply([sparse], [variable])
    np.testing.assert_allclose(ops.convert_to_numpy(variable)[:, 0], [0, 0, -3, 0], rtol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_is_made_saved_and_steps_towards_lower_loss(name):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.build((None, 2))
    optimizer = make_optimizer(TrainConfig(optimizer=name, learning_rate=0.01, weight_decay=1e-4), 10, model)
    assert all((step > 0).all() for step in take_steps(optimizer, model, steps=3))
    saved = json.loads(json.dumps(keras.optimizers.serialize(optimizer)))
    again = keras.optimizers.deserialize(saved)
    assert type(again) is type(optimizer) and again.get_config() == optimizer.get_config()


def test_gradients_are_accumulated_over_steps():
    model = keras.Sequential([keras.layers.Dense(1, use_bias=False)])
    model.build((None, 2))
    options = TrainConfig(optimizer="sgd", learning_rate=1.0, accumulation_steps=2)
    optimizer = make_optimizer(options, 10, model)
    optimizer.momentum, optimizer.nesterov = 0.0, False
    assert not take_steps(optimizer, model)[0].any()
    np.testing.assert_allclose(take_steps(optimizer, model)[0], 1.0)


CLIPPED = """
import json
import numpy as np, tensorflow as tf
from lts_keras.config.schema import TrainConfig
from lts_keras.training.devices import make_strategy
from lts_keras.training.optimizers import make_optimizer
import keras

def step(num_devices):
    keras.utils.set_random_seed(0)
    with make_strategy(num_devices).scope():
        inputs = keras.Input((3,))
        model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
        options = TrainConfig(optimizer="sgd", learning_rate=1.0, clip_norm=0.01)
        model.compile(make_optimizer(options, 1, model), loss="mse")
    x = np.arange(24, dtype="float32").reshape(8, 3)
    before = model.get_weights()
    model.fit(x, np.ones((8, 2), "float32"), batch_size=8, shuffle=False, verbose=0)
    return [(a - b).ravel() for a, b in zip(before, model.get_weights())]

many, one = (np.concatenate(step(count)) for count in (4, 1))
print(json.dumps([float(np.abs(many - one).max()), float(np.linalg.norm(one))]))
"""


def test_clipping_is_the_same_on_any_number_of_devices():
    done = run_python("-c", CLIPPED)
    assert done.returncode == 0, done.stderr[-2000:]
    gap, norm = json.loads(done.stdout.splitlines()[-1])
    # With momentum 0.9 and Nesterov the first step is 1.9 times the clipped gradient.
    assert norm == pytest.approx(0.019, rel=1e-3) and gap < 1e-7
