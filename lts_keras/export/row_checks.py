"""What is looked at in each request before its rows join those of others: one bad row must not fail strangers."""

import tensorflow as tf

from lts_keras.export.batch_queue import MOST_ROWS

__all__ = ["check_rows", "finite", "in_range"]


def check_rows(shapes, *conditions, one=(), most=MOST_ROWS):
    """Checks the shapes of a request's inputs when the graph runs, and their values.

    Args:
        shapes: dict from a name to `(tensor, shape)`: a tensor of unknown shape, for a check of what TensorFlow thinks
            it knows would be optimized away; the shape that each row must have, a tuple of int.
        *conditions: functions of the dict of checked tensors that yield `(condition, message)` as
            `tf.debugging.Assert` takes them, see `finite`.
        one: names of the inputs that must have one row, a photo; all others have equally many, 1 to `most`.
        most: int.

    Returns:
        dict of the tensors, to be used further, so that the checks run first.

    Raises:
        tf.errors.InvalidArgumentError: when run.
    """
    right = [_shape_assert(name, tensor, shape) for name, (tensor, shape) in shapes.items()]
    with tf.control_dependencies(right):
        checked = {name: tf.ensure_shape(tensor, (None, *shape)) for name, (tensor, shape) in shapes.items()}
    counts = {name: tf.shape(tensor)[:1] for name, (tensor, _) in shapes.items()}
    asserts = []
    for name, count in counts.items():
        limit, rows = (1, "one photo") if name in one else (most, f"1 to {most} rows")
        fits = tf.reduce_all((count > 0) & (count <= limit))
        asserts.append(tf.debugging.Assert(fits, [f"{name} must hold {rows}. Received:", count]))
    many = tf.stack([counts[name] for name in counts if name not in one])
    equal = ["the inputs must have equally many rows. Received:", many]
    asserts.append(tf.debugging.Assert(tf.reduce_all(tf.equal(many, many[:1])), equal))
    with tf.control_dependencies(asserts):
        checked = {name: tf.identity(tensor) for name, tensor in checked.items()}
    found = [single for condition in conditions for single in condition(checked)]
    with tf.control_dependencies([tf.debugging.Assert(*single) for single in found]):
        return {name: tf.identity(tensor) for name, tensor in checked.items()}


def finite(*names):
    """The condition that inputs hold neither NaN nor infinity."""

    def conditions(tensors):
        for name in names:
            yield tf.reduce_all(tf.math.is_finite(tensors[name])), [f"{name} must hold finite numbers alone"]

    return conditions


def in_range(name, count):
    """The condition that an input's integers are 0 to `count - 1`."""

    def conditions(tensors):
        ids = tensors[name]
        lowest, highest = tf.reduce_min(ids), tf.reduce_max(ids)
        message = [f"{name} must be 0 to {count - 1}. Received:", lowest, "to", highest]
        yield (lowest >= 0) & (highest < count), message

    return conditions


def _shape_assert(name, tensor, shape):
    found, rank = tf.shape(tensor), len(shape) + 1
    # One axis more than there are, so that too many of them differ too.
    axes = tf.concat([found, -tf.ones([rank + 1], tf.int32)], 0)[1 : rank + 1]
    expected = f"{name} must have the shape ({', '.join(map(str, ('rows', *shape)))}). Received:"
    return tf.debugging.Assert(tf.reduce_all(tf.equal(axes, [*shape, -1])), [expected, found])
