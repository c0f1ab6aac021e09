"""Batch norm on several replicas is that of one device: each case in a process of its own."""

import json

import pytest

from tests.conftest import run_python

# Replicas get the rows of a global batch of 6 photos, each with two sentences of which some only fill.
STEP = '''
import json, sys
import keras
import numpy as np
import tensorflow as tf
from lts_keras.layers.darknet import darknet_tiny
from lts_keras.models.variants import make_lts

replicas, precision, synchronized = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
cpus = [tf.config.LogicalDeviceConfiguration()] * replicas
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], cpus)
random = np.random.default_rng(0)
mask = np.ones((6, 2), bool)
mask[[0, 1, 4], 1] = False  # 2, 4, 3 real rows on three replicas, 4 and 5 on two
batch = {
    "image": random.random((6, 64, 64, 3), dtype="float32"),
    "token_ids": random.integers(2, 20, (6, 2, 5), dtype="int32"),
    "expression_mask": mask,
    "target": (random.random((6, 2, 16, 16, 1)) < 0.5).astype("float32"),
}


def run(strategy):
    """Weights before and after one step of SGD."""
    with strategy.scope():
        keras.utils.set_random_seed(1)
        model = make_lts(
            vocabulary_size=20, backbone=darknet_tiny(dtype=precision), trainable_backbone="all", embedding_dim=8,
            gru_units=8, joint_dim=16, fusion_dim=8, aspp_dim=8, dtype=precision, synchronized_batch_norm=synchronized,
        )
        optimizer = keras.optimizers.SGD(0.05)
        optimizer.build(model.trainable_variables)
    before = model.get_weights()

    @tf.function(autograph=False)
    def step(inputs):
        real = tf.cast(inputs["expression_mask"], tf.float32)
        with tf.GradientTape() as tape:
            outputs = model(inputs, training=True)
            terms = [
                tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(truth, outputs[name]), (2, 3, 4))
                for name, truth in (("mask", inputs["target"]), ("prior", inputs["target"][:, :, ::2, ::2]))
            ]
            loss = tf.reduce_sum((terms[0] + terms[1]) * real) / mask.sum()
        gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))

    def share(context):
        size = 6 // context.num_replicas_in_sync
        start = context.replica_id_in_sync_group * size
        return {name: tf.constant(value[start : start + size]) for name, value in batch.items()}

    strategy.run(step, args=(strategy.experimental_distribute_values_from_function(share),))
    return before, model.get_weights(), [variable.path for variable in model.weights]


one = run(tf.distribute.OneDeviceStrategy("cpu:0"))
many = run(tf.distribute.MirroredStrategy([f"cpu:{index}" for index in range(replicas)]))
found = [
    (float(np.abs(a - b).max()), path) for a, b, path in zip(one[1], many[1], one[2]) if "seed_generator" not in path
]
moved = [float(np.abs(a - b).max()) for a, b, path in zip(*one) if "norm" in path]
print(json.dumps({"difference": max(found), "moved": min(moved), "finite": all(np.isfinite(w).all() for w in many[1])}))
'''

# Three replicas get 1, 4 and 0 rows. The rows are nearly equal: a variance from squares would be rounding alone.
LAYER = """
import json, sys
import numpy as np
import tensorflow as tf
from lts_keras.layers.batch_norm import BatchNormalization

rank, dtype, synchronized = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
cpus = [tf.config.LogicalDeviceConfiguration()] * 3
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], cpus)
random = np.random.default_rng(0)
shape = (5, 3, 2, 4)[: rank - 1] + (4,)
x, weights = (random.normal(size=shape).astype("float32") for _ in range(2))
x = np.float32(10) + x * np.float32(0.1)

def run(strategy, shares):
    with strategy.scope():
        layer = BatchNormalization(dtype=dtype, synchronized=synchronized)
        layer.build(shape)
        layer.gamma.assign([1.0, 2.0, 0.5, -1.0])

    @tf.function(autograph=False)
    def step(x, weights):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x, training=True)
            loss = tf.reduce_sum(tf.sin(tf.cast(outputs, tf.float32)) * weights)
        return outputs, *tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])

    def share(array):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(array[shares[context.replica_id_in_sync_group]])
        )

    results = [strategy.experimental_local_results(r) for r in strategy.run(step, args=(share(x), share(weights)))]
    outputs, slopes = (np.concatenate([np.float32(value) for value in values]) for values in results[:2])
    sums = [sum(np.asarray(value) for value in values) for values in results[2:]]
    return [outputs, slopes, *sums, layer.moving_mean.numpy(), layer.moving_variance.numpy()], results[0][0].dtype.name

one, _ = run(tf.distribute.OneDeviceStrategy("cpu:0"), [slice(None)])
many, name = run(tf.distribute.MirroredStrategy(["cpu:0", "cpu:1", "cpu:2"]), [slice(1), slice(1, 5), slice(5, 5)])
differences = [float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(one, many)]
print(json.dumps({"differences": differences, "dtype": name}))
"""


def run(program, *arguments):
    done = run_python("-c", program, *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("rank", [2, 4])
def test_layer_takes_its_statistics_over_all_replicas(rank):
    found = run(LAYER, rank, "float32", "null")
    assert max(found["differences"]) < 5e-4, found


def test_half_precision_keeps_statistics_in_float32():
    found = run(LAYER, 4, "mixed_bfloat16", "true")
    assert found["dtype"] == "bfloat16"
    assert found["differences"][4] < 1e-6 and found["differences"][5] < 1e-4, found  # moving mean and variance
    assert max(found["differences"]) < 0.02, found


def test_replicas_keep_to_themselves_when_told_so():
    assert max(run(LAYER, 4, "float32", "false")["differences"]) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [2, 3])
def test_a_step_on_replicas_with_unequal_rows_is_the_step_of_one_device(replicas):
    found = run(STEP, replicas, "float32", "null")
    assert found["difference"][0] < 1e-5, found
    assert found["moved"] > 1e-7  # batch norms were trained, statistics and all
