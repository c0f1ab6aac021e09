"""The network of an LTS as plain functions of tensors: what the served graph, `Predictor` and ONNX are traced from."""

import tensorflow as tf

from lts_keras.utils.policies import replace_policy

__all__ = [
    "float32_copy",
    "float32_twin",
    "half_functions",
    "in_parts",
    "network_function",
    "row_functions",
    "segment_many",
]


def float32_twin(model):
    """The model that answers: itself, or, if it was trained in mixed precision, one in float32 with the same weights.

    In 16 bits the answers would depend on the batch that a request happens to share, and the processors that serve are
    slower with them.
    """
    # A part that was given from outside may have another type than the whole.
    if all(layer.compute_dtype == "float32" for layer in model._flatten_layers()):
        return model
    return float32_copy(model)


def float32_copy(model, image_size=None):
    """A model of its own, in float32, with the same weights and the same answers to the same square.

    Args:
        model: `LTS`.
        image_size: int, side of the square that the copy makes of photos; the model's own if `None`.

    Returns:
        `LTS` or the subclass that the model is.
    """
    model.build_from_config({})
    config = replace_policy(model.get_config(), "float32")
    copy = type(model).from_config(config | ({} if image_size is None else {"image_size": image_size}))
    copy.set_weights(model.get_weights())
    copy.threshold, copy.presence = model.threshold, model.presence
    return copy


def network_function(model):
    """Returns the function `(image, token_ids) -> [mask, prior]`, probabilities of an `LTS` at inference."""

    def network(image, token_ids):
        return _probabilities(model({"image": image, "token_ids": token_ids}, training=False))

    return network


def half_functions(model):
    """The network in halves: `image -> features`, and `(features of one image, token_ids) -> [mask, prior]`."""

    def encode(image):
        return model.encode_image(image, training=False)

    def segment(features, token_ids):
        index = tf.zeros(tf.shape(token_ids)[:1], tf.int32)
        return _probabilities(model.segment(features, token_ids, image_index=index, training=False))

    return encode, segment


def row_functions(model):
    """The network in halves, row by row: `image -> features`, `(features, token_ids) -> [mask, prior]`."""

    def encode(image):
        return model.encode_image(image, training=False)

    def segment(features, token_ids):
        return _probabilities(model.segment(features, token_ids, training=False))

    return encode, segment


def _probabilities(logits):
    return [tf.sigmoid(logits["mask"]), tf.sigmoid(logits["prior"])]


def segment_many(encode, segment, image, token_ids, step):
    """Encodes one image and runs all sentences on it.

    Args:
        encode, segment: from `half_functions`.
        image: float32 `(1, S, S, 3)`.
        token_ids: int32 `(K, T)`.
        step: int. So many sentences go through the network at a time, which bounds the memory.

    Returns:
        `(mask, prior)`: float32 probabilities `(K, S / 4, S / 4, 1)` and `(K, S / 8, S / 8, 1)`.
    """
    features = encode(image)
    return in_parts(lambda rows: segment(features, token_ids[rows]), tf.shape(token_ids)[0], step, image.shape[1])


def in_parts(run, count, step, image_size):
    """Runs the network on some rows at a time, one part after the other, which bounds the memory.

    Args:
        run: function of a slice of rows that gives their `(mask, prior)`.
        count: int32 scalar, all rows, at least one.
        step: int, rows of a part; the last one may have fewer.
        image_size: int, side of the square in pixels.

    Returns:
        `(mask, prior)` of all rows, float32.
    """
    parts = (count + step - 1) // step
    shapes = [(None, image_size // stride, image_size // stride, 1) for stride in (4, 8)]
    arrays = [tf.TensorArray(tf.float32, parts, infer_shape=False, element_shape=shape) for shape in shapes]

    def body(index, masks, priors):
        mask, prior = run(slice(index * step, (index + 1) * step))
        return index + 1, masks.write(index, mask), priors.write(index, prior)

    # One after the other: side by side they would only take each other's memory and cores.
    _, *arrays = tf.while_loop(lambda index, *_: index < parts, body, (0, *arrays), parallel_iterations=1)
    return [tf.ensure_shape(array.concat(), shape) for array, shape in zip(arrays, shapes, strict=True)]
