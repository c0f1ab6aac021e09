"""SavedModels that are none of ours: small graphs of TensorFlow 1, as TensorFlow Serving's own tests use them."""

from pathlib import Path

import tensorflow as tf

v1 = tf.compat.v1
PREDICT, REGRESS, CLASSIFY = (f"tensorflow/serving/{method}" for method in ("predict", "regress", "classify"))


def write_half_plus_two(folder, offset=2.0, mlmd_uuid=None):
    """A SavedModel that computes y = x / 2 + `offset`, with the signatures of TensorFlow Serving's `half_plus_two`.

    `serving_default` takes `x` float `(-1, 1)` and gives `y`; the others take `tf.Example`s with the features `x` and
    `x2` (0 if missing): `regress_x_to_y`, `regress_x_to_y2` (y2 = x / 2 + 3), `classify_x_to_y`. `regress_x2_to_y3` is
    TensorFlow Serving's odd one: its `inputs` are the floats themselves.

    Args:
        folder: path, must not exist yet.
        offset: float.
        mlmd_uuid: str that is written as the model's key in ML Metadata; `None` for none.

    Returns:
        The folder as a `Path`.
    """
    folder = Path(folder)
    with tf.Graph().as_default(), v1.Session() as session:
        examples = v1.placeholder(tf.string, [None], name="tf_example")
        features = {
            "x": tf.io.FixedLenFeature([1], tf.float32),
            "x2": tf.io.FixedLenFeature([1], tf.float32, default_value=[0.0]),
        }
        parsed = v1.parse_example(examples, features)
        x, x2 = tf.identity(parsed["x"], name="x"), tf.identity(parsed["x2"], name="x2")
        y = tf.identity(_variable("a", 0.5) * x + _variable("b", offset), name="y")
        y2 = tf.identity(_variable("a_2", 0.5) * x + _variable("c", 3.0), name="y2")
        y3 = tf.identity(_variable("a_3", 0.5) * x2 + _variable("c_3", 3.0), name="y3")
        signatures = {
            "serving_default": _signature({"x": x}, {"y": y}, PREDICT),
            "regress_x_to_y": _signature({"inputs": examples}, {"outputs": y}, REGRESS),
            "regress_x_to_y2": _signature({"inputs": examples}, {"outputs": y2}, REGRESS),
            "regress_x2_to_y3": _signature({"inputs": x2}, {"outputs": y3}, REGRESS),
            "classify_x_to_y": _signature({"inputs": examples}, {"scores": y}, CLASSIFY),
        }
        session.run(v1.global_variables_initializer())
        _save(folder, session, signatures)
    if mlmd_uuid is not None:
        extra = folder / "assets.extra"
        extra.mkdir()
        (extra / "mlmd_uuid").write_text(mlmd_uuid, encoding="utf-8")
    return folder


def write_odd_dtypes(folder):
    """A SavedModel that gives back what it gets: `text` string of any shape, `short` bfloat16 `(-1,)`, `number` int64
    without dimensions; and refuses a negative `number`.
    """
    with tf.Graph().as_default(), v1.Session() as session:
        text = v1.placeholder(tf.string, None, name="text")
        short = v1.placeholder(tf.bfloat16, [None], name="short")
        number = v1.placeholder(tf.int64, [], name="number")
        with tf.control_dependencies([v1.assert_non_negative(number, message="number below zero")]):
            outputs = {"text": tf.identity(text), "short": tf.identity(short), "number": tf.identity(number)}
        inputs = {"text": text, "short": short, "number": number}
        _save(Path(folder), session, {"serving_default": _signature(inputs, outputs, PREDICT)})
    return Path(folder)


def write_batching(folder, offset=0.0):
    """A SavedModel of TensorFlow 2 that gives y = x + `offset`; `x` float `(-1,)` goes through a queue in the graph."""
    module = tf.Module()
    module.offset = tf.Variable(offset)

    @tf.nondifferentiable_batch_function(1, 8, 1000, allowed_batch_sizes=[8], max_enqueued_batches=16)
    def add(x):
        return x + module.offset

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def serve(x):
        return {"y": add(x)}

    tf.saved_model.save(module, str(folder), signatures=serve)
    return Path(folder)


def _variable(name, value):
    return v1.get_variable(name, initializer=value, use_resource=False)


def _signature(inputs, outputs, method):
    """A `SignatureDef` of plain tensors."""
    definition = v1.saved_model.signature_def_utils.build_signature_def(method_name=method)
    for tensors, infos in ((inputs, definition.inputs), (outputs, definition.outputs)):
        for name, tensor in tensors.items():
            infos[name].name, infos[name].dtype = tensor.name, tensor.dtype.as_datatype_enum
            infos[name].tensor_shape.CopyFrom(tensor.shape.as_proto())
    return definition


def _save(folder, session, signatures):
    builder = v1.saved_model.Builder(str(folder))
    builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map=signatures)
    builder.save()


def write_gate(folder):
    """A SavedModel whose `serving_default` waits, without work, until `release` lets it pass.

    `serving_default` takes `x` float `(-1,)` and gives it back as `y`; each call takes a token. `release` takes `count`
    int32 without dimensions, puts so many tokens there and gives the number of those that wait as `held`.
    """
    with tf.Graph().as_default(), v1.Session() as session:
        gate = tf.queue.FIFOQueue(10_000, [tf.int32], [[]], shared_name="gate")
        x = v1.placeholder(tf.float32, [None], name="x")
        count = v1.placeholder(tf.int32, [], name="count")
        with tf.control_dependencies([gate.dequeue()]):
            y = tf.identity(x, name="y")
        with tf.control_dependencies([gate.enqueue_many(tf.zeros([count], tf.int32))]):
            held = gate.size()
        signatures = {
            "serving_default": _signature({"x": x}, {"y": y}, PREDICT),
            "release": _signature({"count": count}, {"held": held}, PREDICT),
        }
        _save(Path(folder), session, signatures)
    return Path(folder)


def write_photos(folder):
    """A SavedModel that decodes photos: `image_bytes` string `(-1,)` and `expression` string `(-1,)` to `pixels` int32.

    Its signatures are named as those of the exported segmentation: `serving_default` for a sentence per photo and
    `segment_expressions` for many sentences on one photo.
    """

    def pixels(content):
        image = tf.io.decode_image(content, 3, expand_animations=False)
        image.set_shape([None, None, 3])
        return tf.size(image) // 3

    def segment(image_bytes, expression):
        found = tf.map_fn(pixels, image_bytes, fn_output_signature=tf.TensorSpec((), tf.int32))
        return {"pixels": found + 0 * tf.strings.length(expression)}

    def function(photos):
        specs = [tf.TensorSpec([photos], tf.string, "image_bytes"), tf.TensorSpec([None], tf.string, "expression")]
        return tf.function(segment, input_signature=specs)

    signatures = {"serving_default": function(None), "segment_expressions": function(1)}
    tf.saved_model.save(tf.Module(), str(folder), signatures=signatures)
    return Path(folder)
