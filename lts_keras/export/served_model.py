"""The served graph: from the bytes of a photo and a string to a mask at the photo's own size."""

import tensorflow as tf

from lts_keras.prediction.network import half_functions, network_function, segment_many
from lts_keras.prediction.photos import ANSWER, answer, prepare_photo

__all__ = ["ServedModel"]

# A request may bring this many rows; the network still runs on at most the largest allowed batch at a time.
MOST_ROWS = 1024
_PARALLEL_PHOTOS = 4  # each may take several hundred megabytes while it is decoded or written
_QUEUED_BATCHES = 256


class ServedModel(tf.Module):
    """The three signatures of an LTS model, all preprocessing and postprocessing in the graph.

    The weights stay variables: frozen into constants the network is about a tenth faster, but loading takes ten
    times as long and every hot swap holds a second copy in the graph.

    Args:
        model: `LTS`.
        tokenizer: `lts_keras.data.text.Tokenizer`.
        export_config: `ExportConfig`: allowed batch sizes, batch timeout, largest photo.
    """

    def __init__(self, model, tokenizer, export_config):
        super().__init__(name="served_model")
        self.tokenizer = tokenizer
        # The variables and not the model: a Keras model would bring its own functions into the SavedModel.
        self.weights = [variable.value for variable in model.variables]
        self._network = network_function(model)
        self._halves = half_functions(model)
        self._image_size = model.image_size
        self._image_resize = getattr(model, "image_resize", "letterbox")
        self._max_tokens = model.max_tokens
        self._threshold = model.threshold
        self._presence = model.presence
        self._options = export_config
        self._batched = None
        self._prepare_one = _prepare_function(model.image_size, export_config.max_photo_pixels, self._image_resize)

    def signatures(self):
        """Concrete functions by signature name, for `tf.saved_model.save`."""
        strings, size = tf.TensorSpec((None,), tf.string), self._image_size
        return {
            "serving_default": tf.function(self.segment_photos, autograph=False).get_concrete_function(
                image_bytes=_named(strings, "image_bytes"), expression=_named(strings, "expression")
            ),
            "segment_expressions": tf.function(self.segment_expressions, autograph=False).get_concrete_function(
                image_bytes=tf.TensorSpec((1,), tf.string, "image_bytes"), expression=_named(strings, "expression")
            ),
            "segment_tensors": tf.function(self.segment_tensors, autograph=False).get_concrete_function(
                image=tf.TensorSpec((None, size, size, 3), tf.float32, "image"),
                token_ids=tf.TensorSpec((None, self._max_tokens), tf.int32, "token_ids"),
            ),
        }

    def segment_photos(self, image_bytes, expression):
        """One expression per photo: strings `(B,)` and `(B,)` to a dict of `ANSWER`, each with B rows."""
        checks = [_check_count("image_bytes", image_bytes), _check_same(image_bytes, expression)]
        with tf.control_dependencies(checks):
            image_bytes, expression = tf.identity(image_bytes), tf.identity(expression)
        images, sizes = self._prepare(image_bytes)
        mask, prior = self._batch(images, self.tokenizer(expression))
        return self._answer(mask, prior, sizes)

    def segment_expressions(self, image_bytes, expression):
        """K expressions on one photo, which is encoded once: strings `(1,)` and `(K,)` to a dict of `ANSWER`."""
        # The declared shape is the caller's promise: a check of the shape would be optimized away, so rows are counted.
        count = tf.shape(tf.where(tf.strings.length(image_bytes) >= 0))[0]
        one = tf.debugging.Assert(tf.equal(count, 1), ["image_bytes must hold one photo. Received:", count])
        with tf.control_dependencies([one, _check_count("expression", expression)]):
            image_bytes, expression = tf.identity(image_bytes), tf.identity(expression)
        images, sizes = self._prepare(image_bytes)
        mask, prior = segment_many(*self._halves, images, self.tokenizer(expression), self._options.batch_sizes[-1])
        return self._answer(mask, prior, tf.repeat(sizes, tf.size(expression), axis=0))

    def segment_tensors(self, image, token_ids):
        """The network alone: float32 `(B, S, S, 3)` and int32 `(B, T)` to probabilities `mask` and `prior`."""
        checks = [_check_count("image", image), _check_same(image, token_ids)]
        with tf.control_dependencies(checks):
            image, token_ids = tf.identity(image), tf.identity(token_ids)
        mask, prior = self._batch(image, token_ids)
        return {"mask": mask, "prior": prior}

    def _prepare(self, image_bytes):
        size = self._image_size
        return tf.map_fn(
            self._prepare_one,
            image_bytes,
            fn_output_signature=(tf.TensorSpec((size, size, 3), tf.float32), tf.TensorSpec((2,), tf.int32)),
            parallel_iterations=_PARALLEL_PHOTOS,
        )

    def _answer(self, mask, prior, sizes):
        return tf.map_fn(
            lambda row: answer(*row, self._image_size, self._threshold, self._image_resize, self._presence),
            (mask, prior, sizes),
            fn_output_signature=ANSWER,
            parallel_iterations=_PARALLEL_PHOTOS,
        )

    def _batch(self, image, token_ids):
        """The network, with the rows of concurrent requests put into one batch.

        What `tf.nondifferentiable_batch_function` does, but traced once and with one queue for all signatures.
        """
        if self._batched is None:
            self._batched = tf.function(self._network, autograph=False).get_concrete_function(
                tf.TensorSpec((None, *image.shape[1:]), image.dtype, "image"),
                tf.TensorSpec((None, *token_ids.shape[1:]), token_ids.dtype, "token_ids"),
            )
        sizes = list(self._options.batch_sizes)
        outputs = tf.raw_ops.BatchFunction(
            in_tensors=[image, token_ids],
            captured_tensors=self._batched.captured_inputs,
            f=self._batched,
            num_batch_threads=1,
            max_batch_size=MOST_ROWS,
            allowed_batch_sizes=sizes,
            batch_timeout_micros=self._options.batch_timeout_micros,
            max_enqueued_batches=_QUEUED_BATCHES,
            enable_large_batch_splitting=True,
            shared_name="lts_network",
            Tout=[output.dtype for output in self._batched.outputs],
        )
        for output, inner in zip(outputs, self._batched.outputs, strict=True):
            output.set_shape((None, *inner.shape[1:]))
        return outputs


def _prepare_function(image_size, max_pixels, resize):
    """`prepare_photo` as one function that both signatures of photos call: written out twice, it takes 100 kB more."""
    traced = tf.function(
        lambda image_bytes: prepare_photo(image_bytes, image_size, max_pixels, resize),
        autograph=False,
        input_signature=[tf.TensorSpec((), tf.string)],
    )
    # As an attribute of a module, a traced function would be saved for itself as well.
    return lambda image_bytes: traced(image_bytes)


def _named(spec, name):
    return tf.TensorSpec(spec.shape, spec.dtype, name)


def _check_count(name, rows):
    count = tf.shape(rows)[0]
    message = [f"{name} must hold 1 to {MOST_ROWS} rows. Received:", count]
    return tf.debugging.Assert((count > 0) & (count <= MOST_ROWS), message)


def _check_same(first, second):
    counts = tf.stack([tf.shape(first)[0], tf.shape(second)[0]])
    return tf.debugging.Assert(
        tf.equal(counts[0], counts[1]), ["the inputs must have equally many rows. Received:", counts]
    )
