"""The served graph: from the bytes of a photo and a string to a mask at the photo's own size."""

import tensorflow as tf

from lts_keras.export.batch_queue import BatchQueue
from lts_keras.export.row_checks import check_rows, finite, in_range
from lts_keras.prediction.network import in_parts, row_functions
from lts_keras.prediction.photos import DESCRIPTION, describe, mask_png, prepare_photo, prior_png

__all__ = ["ServedModel"]

_PARALLEL_PHOTOS = 4  # each may take several hundred megabytes while it is decoded or written


class ServedModel(tf.Module):
    """The signatures of an LTS model, all preprocessing and postprocessing in the graph.

    The network runs in its two halves, each behind a queue that all signatures share: a photo's K sentences encode it
    once, and rows of any signature meet in one batch.

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
        self._image_size, self._max_tokens = model.image_size, model.max_tokens
        self._vocabulary_size = model.vocabulary_size
        self._image_resize = getattr(model, "image_resize", "letterbox")
        self._threshold, self._presence = model.threshold, model.presence
        self._step, self._max_pixels = export_config.batch_sizes[-1], export_config.max_photo_pixels
        self._prepare_one = _prepare_function(model.image_size, export_config.max_photo_pixels, self._image_resize)
        self._encode, self._segment, self.features = _queues(model, export_config)
        # The variables and not the model: a Keras model would bring its own functions into the SavedModel.
        self.weights = list({id(one): one for one in self._encode.variables + self._segment.variables}.values())

    def signatures(self):
        """What is served.

        Returns:
            `(functions, shapes)`: concrete functions by signature name, for `tf.saved_model.save`, and the shapes that
            their inputs are declared to have. TensorFlow Serving holds nobody to these, and TensorFlow would optimize
            a check away that it thinks it knows the result of: so the functions know no shapes until they looked.
        """
        size = self._image_size
        photos, photo = (tf.TensorSpec((rows,), tf.string, "image_bytes") for rows in (None, 1))
        expressions = tf.TensorSpec((None,), tf.string, "expression")
        image = tf.TensorSpec((None, size, size, 3), tf.float32, "image")
        token_ids = tf.TensorSpec((None, self._max_tokens), tf.int32, "token_ids")
        encoded = [tf.TensorSpec((1, 2), tf.int32, "size")]
        encoded += [tf.TensorSpec((1, *spec.shape[1:]), tf.float32, name) for name, spec in self.features.items()]
        inputs = {
            "serving_default": (self.segment_photos, [photos, expressions]),
            "segment_expressions": (self.segment_expressions, [photo, expressions]),
            "locate_and_segment": (self.locate_and_segment, [photo, expressions]),
            "segment_tensors": (self.segment_tensors, [image, token_ids]),
            "encode_photo": (self.encode_photo, [photos]),
            "segment_encoded": (self.segment_encoded, [expressions, *encoded]),
        }
        functions = {
            name: tf.function(function, autograph=False).get_concrete_function(
                **{spec.name: tf.TensorSpec(None, spec.dtype, spec.name) for spec in specs}
            )
            for name, (function, specs) in inputs.items()
        }
        return functions, {name: {spec.name: spec.shape for spec in specs} for name, (_, specs) in inputs.items()}

    def segment_photos(self, image_bytes, expression):
        """One expression per photo: strings `(B,)` and `(B,)` to masks and the `DESCRIPTION`, B rows."""
        checked = check_rows({"image_bytes": (image_bytes, ()), "expression": (expression, ())})
        images, sizes = self._prepare(checked["image_bytes"])
        return self._answer(*self._segment_images(images, self.tokenizer(checked["expression"])), sizes)

    def segment_expressions(self, image_bytes, expression):
        """K expressions on one photo, which is encoded once: strings `(1,)` and `(K,)` to the same, K rows."""
        inputs = {"image_bytes": (image_bytes, ()), "expression": (expression, ())}
        checked = check_rows(inputs, one=("image_bytes",))
        images, sizes = self._prepare(checked["image_bytes"])
        found = self._segment_sentences(self._encode(images), checked["expression"], sizes)
        del found["prior_png_bytes"]
        return found

    def locate_and_segment(self, image_bytes, expression):
        """As `segment_expressions`, and what the locator found beside it, for people: see `prior_png`."""
        inputs = {"image_bytes": (image_bytes, ()), "expression": (expression, ())}
        checked = check_rows(inputs, one=("image_bytes",))
        images, sizes = self._prepare(checked["image_bytes"])
        return self._segment_sentences(self._encode(images), checked["expression"], sizes)

    def segment_tensors(self, image, token_ids):
        """The network alone: float32 `(B, S, S, 3)` and int32 `(B, T)` to probabilities `mask` and `prior`."""
        size = self._image_size
        checked = check_rows(
            {"image": (image, (size, size, 3)), "token_ids": (token_ids, (self._max_tokens,))},
            finite("image"),
            in_range("token_ids", self._vocabulary_size),
        )
        mask, prior = self._segment_images(checked["image"], checked["token_ids"])
        return {"mask": mask, "prior": prior}

    def encode_photo(self, image_bytes):
        """The first half: strings `(B,)` to the features of each photo, for `segment_encoded`, and its `size`."""
        # No more than a batch: a thousand little photos would be answered with 20 GB.
        checked = check_rows({"image_bytes": (image_bytes, ())}, most=self._step)
        images, sizes = self._prepare(checked["image_bytes"])
        features = zip(self.features, self._encode(images), strict=True)
        return {name: tf.cast(value, tf.float32) for name, value in features} | {"size": sizes}

    def segment_encoded(self, expression, size, **features):
        """The second half: strings `(K,)` and what `encode_photo` gave of one photo, to `locate_and_segment` of it."""
        inputs = {"expression": (expression, ()), "size": (size, (2,))}
        inputs |= {name: (value, tuple(self.features[name].shape[1:])) for name, value in features.items()}
        checked = check_rows(inputs, finite(*features), self._has_pixels, one=("size", *features))
        rows = [tf.cast(checked[name], spec.dtype) for name, spec in self.features.items()]
        return self._segment_sentences(rows, checked["expression"], checked["size"])

    def _has_pixels(self, tensors):
        size, most = tensors["size"], self._max_pixels
        fits = tf.reduce_all(size > 0) & (tf.reduce_prod(tf.cast(size, tf.int64)) <= most)
        yield fits, [f"size must be height and width of a photo of 1 to {most} pixels. Received:", size]

    def _prepare(self, image_bytes):
        size = self._image_size
        return tf.map_fn(
            self._prepare_one,
            image_bytes,
            fn_output_signature=(tf.TensorSpec((size, size, 3), tf.float32), tf.TensorSpec((2,), tf.int32)),
            parallel_iterations=_PARALLEL_PHOTOS,
        )

    def _segment_images(self, images, token_ids):
        def run(rows):
            return self._segment(*self._encode(images[rows]), token_ids[rows])

        # No more rows than a batch: the features of a thousand photos would take 20 GB.
        return in_parts(run, tf.shape(token_ids)[0], self._step, self._image_size)

    def _segment_sentences(self, features, expressions, size):
        token_ids, step = self.tokenizer(expressions), self._step

        def run(rows):
            part = token_ids[rows]
            photo = tf.zeros(tf.shape(part)[:1], tf.int32)
            return self._segment(*(tf.gather(value, photo) for value in features), part)

        mask, prior = in_parts(run, tf.shape(token_ids)[0], step, self._image_size)
        sizes = tf.repeat(size, tf.size(expressions), axis=0)
        pngs = tf.map_fn(
            lambda row: prior_png(*row, self._image_size, self._image_resize),
            (prior, sizes),
            fn_output_signature=tf.TensorSpec((), tf.string),
            parallel_iterations=_PARALLEL_PHOTOS,
        )
        return self._answer(mask, prior, sizes) | {"prior_png_bytes": pngs}

    def _answer(self, mask, prior, sizes):
        how = (self._image_size, self._threshold, self._image_resize, self._presence)
        found = tf.map_fn(
            lambda row: describe(*row, *how),
            (mask, prior, sizes),
            fn_output_signature=DESCRIPTION,
            parallel_iterations=_PARALLEL_PHOTOS,
        )
        # A loop of its own, so that it does not run where nobody asks for masks.
        pngs = tf.map_fn(
            lambda row: mask_png(*row, *how),
            (mask, found["presence"], sizes),
            fn_output_signature=tf.TensorSpec((), tf.string),
            parallel_iterations=_PARALLEL_PHOTOS,
        )
        return {"mask_png_bytes": pngs, **found}


def _queues(model, options):
    """The queues of both halves, and the features between them: a dict from names to `tf.TensorSpec`."""
    encode, segment = row_functions(model)
    size, names, found = model.image_size, [], {}

    def encode_rows(image):
        features = encode(image)
        names[:] = sorted(features)
        return [features[name] for name in names]

    def segment_rows(*rows):
        *features, token_ids = rows
        return segment(dict(zip(names, features, strict=True)), token_ids)

    image = tf.TensorSpec((None, size, size, 3), tf.float32, "image")
    first = BatchQueue(encode_rows, [image], "lts_encode", options.batch_sizes, options.batch_timeout_micros)
    for number, output in enumerate(first.function.outputs):
        found[f"feature_{number}"] = tf.TensorSpec((None, *output.shape[1:]), output.dtype, f"feature_{number}")
    token_ids = tf.TensorSpec((None, model.max_tokens), tf.int32, "token_ids")
    # What was encoded together arrives together: the second half waits for nobody.
    second = BatchQueue(segment_rows, [*found.values(), token_ids], "lts_segment", options.batch_sizes, 0)
    return first, second, found


def _prepare_function(image_size, max_pixels, resize):
    """`prepare_photo` as one function that all signatures of photos call: written out twice, it takes 100 kB more."""
    traced = tf.function(
        lambda image_bytes: prepare_photo(image_bytes, image_size, max_pixels, resize),
        autograph=False,
        input_signature=[tf.TensorSpec((), tf.string)],
    )
    # As an attribute of a module, a traced function would be saved for itself as well.
    return lambda image_bytes: traced(image_bytes)
