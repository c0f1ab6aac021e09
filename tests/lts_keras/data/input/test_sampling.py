import numpy as np
import tensorflow as tf

from lts_keras.data.input.sampling import choose


def test_an_object_with_many_expressions_does_not_push_others_aside():
    record = {
        "expressions": tf.ragged.constant([["a"], [f"b{number}" for number in range(30)]]),
        "split": tf.constant(["train", "train"]),
    }
    draws = tf.map_fn(
        lambda number: choose(record, ["train"], "per_image", 1, tf.stack([number, 7])).objects[0],
        tf.range(2000, dtype=tf.int64),
        fn_output_signature=tf.int32,
    )
    # 2,000 fair draws of two: three standard deviations are 0.034.
    assert abs(float(np.mean(draws)) - 0.5) < 0.04


def test_a_draw_never_repeats_an_expression():
    record = {"expressions": tf.ragged.constant([["a", "b"], ["c", "d", "e"]]), "split": tf.constant(["train"] * 2)}
    for number in range(20):
        chosen = choose(record, ["train"], "per_image", 5, tf.constant([number, 1], tf.int64))
        assert sorted(chosen.expressions.numpy()) == [b"a", b"b", b"c", b"d", b"e"]
        assert chosen.weights.numpy().tolist() == [1.0] * 5
