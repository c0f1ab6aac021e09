"""What happens to one photo and its samples on the way from record to batch. Graph operations alone."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from lts_keras.config.schema import AugmentConfig
from lts_keras.data.input import augment as augmentation
from lts_keras.data.input import geometry
from lts_keras.data.input.color_edges import cell_colors, color_edges
from lts_keras.data.input.sampling import choose
from lts_keras.data.prepare import records
from lts_keras.data.text import Tokenizer

__all__ = ["ROWS", "Stages"]

ROWS = ("token_ids", "expression_mask", "ref_id")
"""What `x` holds for each expression, and not for each photo."""


@dataclasses.dataclass(frozen=True)
class Stages:
    """The functions that run for each photo and each sample, in order: `choose`, `decode`, `finish`."""

    tokenizer: Tokenizer
    split: str
    size: int
    sampling: str
    num_expressions: int | None
    augment: AugmentConfig
    image_features: Callable | None
    ids: bool = False
    image_resize: str = "letterbox"
    box_supervision: bool = False

    @property
    def together(self):
        """Whether a sample is a photo with several expressions (`num_expressions`, or all), and not one expression."""
        return self.sampling in ("per_image", "all")

    def choose(self, serialized, number):
        """Serialised record and random number -> (record, chosen expressions, seed)."""
        record = records.parse_record(serialized)
        seed = tf.stack([number, 0])
        chosen = choose(record, [self.split], self.sampling, self.num_expressions, seed)
        return record, chosen, seed

    def has_samples(self, record, chosen, seed):
        """Whether the photo has any expression of the split."""
        return tf.size(chosen.objects) > 0

    def decode(self, record, chosen, seed):
        """-> (photo, samples): the small picture; token ids and targets of all samples."""
        height, width, per_image = record["height"], record["width"], self.together
        count = tf.size(chosen.objects)
        draws = augmentation.draw(seed + [0, 1], 1 if per_image else count, self.augment)
        boxes = tf.gather(record["box"], chosen.objects)
        place = augmentation.jittered_placement(height, width, self.size, boxes, draws, self.augment, self.image_resize)
        token_ids, flipped = self._words(chosen, draws, per_image)
        targets = self._targets(record, chosen, place)
        if self.augment.flip:
            flags = tf.repeat(flipped, count) if per_image else flipped
            targets = {name: augmentation.flip_square(value, flags) for name, value in targets.items()}
        has_mask = tf.cast(tf.gather(record["has_mask"], chosen.objects), tf.float32)
        weights = {"mask": chosen.weights * has_mask, "prior": chosen.weights}
        if self.box_supervision:
            weights["box_mask"] = chosen.weights * (1 - has_mask)
        samples = {"token_ids": token_ids, "targets": targets, "weights": weights, "flipped": flipped}
        samples["color"] = draws.color
        if per_image:
            # Integers: before `fit` with several replicas Keras adds an element's parts up, which booleans cannot be.
            real = tf.cast(chosen.weights > 0, tf.int32)
            samples |= {"flipped": flipped[0], "color": draws.color[0], "expression_mask": real}
        if self.ids:
            samples["ref_id"] = tf.gather(record["ref_id"], chosen.objects)
        return self._photo(record, place), samples

    def _words(self, chosen, draws, per_image):
        """Token ids of the expressions as they will be seen, and which samples are flipped."""
        if not self.augment.flip:
            return self.tokenizer(chosen.expressions), tf.zeros_like(draws.flip)
        token_ids, mirrored, can_flip = augmentation.mirrored_token_ids(self.tokenizer, chosen.expressions)
        if per_image:
            can_flip = tf.reduce_all(can_flip, keepdims=True)
        flipped = draws.flip & can_flip
        return tf.where(flipped[:, None], mirrored, token_ids), flipped

    def _photo(self, record, place):
        """What all samples of a photo share."""
        names = {"photo_id": record["photo_id"]}
        if self.image_features is not None:
            return names
        inner = geometry.resize_image(geometry.decode_image(record["image_bytes"], record["orientation"]), place)
        corner = tf.stack([place.top, place.left])
        # A quarter of the memory of float32; half a grey level is below what the photo's own noise is.
        return names | {"inner": tf.cast(tf.round(inner), tf.uint8), "corner": corner}

    def _targets(self, record, chosen, place):
        """uint8 0 or 1 `(n, S / stride, S / stride, 1)` by name; a mask is decoded once for all its expressions."""
        objects, rows = tf.unique(chosen.objects)

        def share(index):
            return tf.cond(
                record["has_mask"][index],
                lambda: geometry.cover(tf.io.decode_png(record["mask_png"][index], 1), place, self.size, 4),
                lambda: geometry.cover_box(record["box"][index], place, self.size, 4),
            )

        cells = self.size // 4
        shares = tf.map_fn(
            share, objects, fn_output_signature=tf.TensorSpec([cells, cells, 1], tf.float32), parallel_iterations=1
        )
        # The mean over a cell of stride 8 is the mean of its four cells of stride 4.
        by_name = {"mask": shares, "prior": tf.nn.avg_pool2d(shares, 2, 2, "VALID")}
        return {name: tf.gather(tf.cast(geometry.target(value), tf.uint8), rows) for name, value in by_name.items()}

    def finish(self, photo, sample):
        """-> (x, y, sample_weight) of one sample."""
        if self.image_features is not None:
            x = dict(self.image_features(photo["photo_id"], sample["flipped"]))
        else:
            x = {"image": self._square(photo, sample)}
        y = {name: tf.cast(value, tf.float32) for name, value in sample["targets"].items()}
        if self.box_supervision:
            colors = x.pop("colors") if self.image_features is not None else cell_colors(x["image"])
            y["box_mask"] = self._with_edges(y["mask"], color_edges(colors))
        rows = {name: sample[name] for name in ROWS if name in sample}
        parts = rows, y, sample["weights"]
        rows, y, weights = tf.nest.map_structure(self._with_static_rows, parts) if self.together else parts
        names = {"photo_id": photo["photo_id"]} if self.ids else {}
        return {**x, **rows, **names}, y, weights

    def _with_edges(self, boxes, edges):
        """Puts the photo's edges behind each filled box."""
        if self.together:
            edges = tf.repeat(edges[None], tf.shape(boxes)[0], axis=0)
        return tf.concat([boxes, edges], -1)

    def _with_static_rows(self, value):
        """Tells the graph that the axis K of `per_image` has K entries, which `choose` made sure of."""
        return tf.ensure_shape(value, [self.num_expressions, *value.shape[1:]])

    def _square(self, photo, sample):
        image = tf.cast(photo["inner"], tf.float32) / 255.0
        if self.augment.color:
            image = augmentation.jitter_color(image, sample["color"])
        image = geometry.pad_square(image, photo["corner"], self.size)
        return augmentation.flip_square(image, sample["flipped"]) if self.augment.flip else image
