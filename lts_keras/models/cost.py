"""Parameters and floating point operations of a model, box by box.

Counted are the multiply-adds of convolutions and matrix products, two operations each, from the shapes of the traced
graph; batch norms, activations, resizing and softmax are left out (a few percent).
"""

import math

import tensorflow as tf

from lts_keras.layers.locator import call_with, join_halves, locate
from lts_keras.models.refiner import Refiner

__all__ = ["count_flops", "count_parameters", "graph_flops"]

_BOXES = ("backbone", "sentence_encoder", "fusion", "locator", "segmentation_head")


def count_parameters(model):
    """Parameters of each box.

    Args:
        model: `LTS` or `Refiner`, built.

    Returns:
        dict name of the box -> `{"trainable": int, "frozen": int}`; statistics of batch norms count as frozen.
    """
    found = {}
    for name in _BOXES:
        box = getattr(model, name, None)
        if box is not None:
            weights = [weight for weight in box.weights if "seed_generator" not in weight.path]
            trained = {id(weight) for weight in box.trainable_weights}
            sizes = [(math.prod(weight.shape), id(weight) in trained) for weight in weights]
            found[name] = {
                "trainable": sum(size for size, flag in sizes if flag),
                "frozen": sum(size for size, flag in sizes if not flag),
            }
    return found


def count_flops(model, image_size=None, num_tokens=None):
    """Floating point operations of one image and one sentence, at inference.

    Args:
        model: `LTS` or `Refiner`.
        image_size: int, side of the square; the model's own if `None`. A `Refiner` has none and needs it.
        num_tokens: int, words of a sentence; the model's `max_tokens` if `None`.

    Returns:
        dict name of the box -> `{"image", "sentence", "literal"}`: operations that the image alone decides, those of
        each sentence, both in the form that runs; and all of the box as the paper's equations say them. The form that
        runs gives the same numbers: 1x1 convolutions and dot products commute with nearest upsampling, and a
        convolution over a concatenation is the sum over its parts.
    """
    if isinstance(model, Refiner):
        side = image_size // 8
        specs = (_spec((1, side, side, model.channels)), _spec((1, side, side, 1)))
        count = graph_flops(model.segmentation_head, *specs)
        return {"segmentation_head": {"image": 0, "sentence": count, "literal": count}}
    return _FlopsOfLTS(model, image_size or model.image_size, num_tokens or model.max_tokens).count()


class _FlopsOfLTS:
    def __init__(self, model, image_size, num_tokens):
        self.model = model
        self.image = _spec((1, image_size, image_size, 3))
        self.token_ids = _spec((1, num_tokens), tf.int32)
        self.num_tokens = num_tokens

    def count(self):
        model = self.model
        backbone, maps = self._trace(lambda image: model.backbone(image, training=False), self.image)
        encoder, (sentence, words) = self._trace(model.encode_sentence, self.token_ids)
        fusion_image, features = self._trace(lambda maps: model.fusion.encode_image(maps, training=False), maps)
        fusion_sentence, joint = self._trace(lambda *both: model.fusion.fuse(*both, training=False), features, sentence)
        fusion, fused = self._trace(self._fusion_literal, maps, sentence, features, joint)
        located, prior = self._trace(self._locate, joint, features["visual"], sentence, words, self.token_ids)
        literal, _ = self._trace(self._locate_literal, fused, sentence, words, self.token_ids)
        head_image, terms = self._trace(self._encode_head, features["visual"])
        head_sentence, _ = self._trace(self._refine, features | terms, joint, prior)
        head, _ = self._trace(lambda *both: call_with(model.segmentation_head, *both, training=False), fused, prior)
        return {
            "backbone": {"image": backbone, "sentence": 0, "literal": backbone},
            "sentence_encoder": {"image": 0, "sentence": encoder, "literal": encoder},
            "fusion": {"image": fusion_image, "sentence": fusion_sentence, "literal": fusion},
            "locator": {"image": 0, "sentence": located, "literal": literal},
            "segmentation_head": {"image": head_image, "sentence": head_sentence, "literal": head},
        }

    def _fusion_literal(self, maps, sentence, features, joint):
        # A box of one's own has the halves alone.
        own = type(self.model.fusion).__module__.startswith("lts_keras.")
        return self.model.fusion(maps, sentence, training=False) if own else join_halves(joint, features["visual"])

    def _locate(self, joint, visual, sentence, words, token_ids):
        options = {"words": words, "token_ids": token_ids, "training": False}
        return locate(self.model.locator, joint, visual, sentence, **options)

    def _locate_literal(self, fused, sentence, words, token_ids):
        options = {"words": words, "token_ids": token_ids, "training": False}
        return call_with(self.model.locator, fused, sentence, **options)

    def _encode_head(self, visual):
        head = self.model.segmentation_head
        if not hasattr(head, "encode_image"):
            return {}
        return head.encode_image(visual, first_channel=self.model.fusion.fusion_dim)

    def _refine(self, features, joint, prior):
        head = self.model.segmentation_head
        if hasattr(head, "refine"):
            return head.refine(features, joint, prior, training=False)
        return call_with(head, join_halves(joint, features["visual"]), prior, training=False)

    def _trace(self, function, *specs):
        """`(operations, specs of the outputs)`; `None` passes through, as a locator that there is not."""
        traced = tf.function(function, autograph=False).get_concrete_function(*specs)
        outputs = tf.nest.map_structure(
            lambda value: None if value is None else _spec(value.shape, value.dtype), traced.structured_outputs
        )
        return _graph(traced.graph, self.num_tokens), outputs


def graph_flops(function, *specs, num_steps=1):
    """Operations of a function of tensors.

    Args:
        function: callable.
        *specs: `tf.TensorSpec` with all sides known, nested as `tf.function` takes them.
        num_steps: int. How often the body of a loop runs (a recurrent network's words).

    Returns:
        int.
    """
    return _graph(tf.function(function, autograph=False).get_concrete_function(*specs).graph, num_steps)


def _spec(shape, dtype=tf.float32):
    return tf.TensorSpec(shape, dtype)


def _graph(graph, num_steps):
    """Operations of a graph and of the functions that it calls."""
    total = 0
    for operation in graph.get_operations():
        counter = _COUNTERS.get(operation.type)
        if counter:
            total += counter(operation)
        for name, times in (("f", 1), ("body", num_steps)):
            if operation.type.endswith(("PartitionedCall", "While")) and name in operation.node_def.attr:
                called = graph._get_function(operation.node_def.attr[name].func.name)
                total += times * _graph(called.graph, num_steps)
    return total


def _size(shape):
    """Elements of a shape; a side that is not known is the batch, which is 1."""
    return math.prod(side or 1 for side in shape)


def _convolution(operation):
    # Each output is a sum over the kernel's window and the channels of its group.
    height, width, channels, _ = operation.inputs[1].shape
    return 2 * _size(operation.outputs[0].shape) * height * width * channels


def _transposed(operation):
    # Each input is spread over the window and all outputs.
    height, width, outputs, _ = operation.inputs[1].shape
    return 2 * _size(operation.inputs[2].shape) * height * width * outputs


def _depthwise(operation):
    height, width, _, _ = operation.inputs[1].shape
    return 2 * _size(operation.outputs[0].shape) * height * width


def _product(operation):
    first, second = (value.shape for value in operation.inputs[:2])
    attributes = operation.node_def.attr
    turned = attributes["transpose_b"].b or attributes["adj_y"].b
    inner, outer = (second[-1], second[-2]) if turned else (second[-2], second[-1])
    other = attributes["transpose_a"].b or attributes["adj_x"].b
    rows = first[-1] if other else first[-2]
    batch = first[:-2] if len(first) >= len(second) else second[:-2]
    return 2 * _size(batch) * (rows or 1) * inner * outer


def _einsum(operation):
    equation = operation.node_def.attr["equation"].s.decode().partition("->")[0]
    sides = {}
    for labels, value in zip(equation.split(","), operation.inputs, strict=True):
        known = value.shape[-len(labels.replace("...", "")) :]
        sides |= {label: side or 1 for label, side in zip(labels.replace("...", ""), known, strict=True)}
    return 2 * math.prod(sides.values())


_COUNTERS = {
    "Conv2D": _convolution,
    "Conv2DBackpropInput": _transposed,
    "DepthwiseConv2dNative": _depthwise,
    "MatMul": _product,
    "BatchMatMulV2": _product,
    "BatchMatMulV3": _product,
    "Einsum": _einsum,
}
