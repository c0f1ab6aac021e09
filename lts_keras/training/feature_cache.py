"""The maps of a frozen backbone, computed once per photo and kept in memory for training."""

import tensorflow as tf

from lts_keras.config.errors import ConfigError

__all__ = ["FeatureCache"]


class FeatureCache:
    """Backbone maps of every photo of a split, and of its mirror image where flips are wanted.

    A frozen backbone gives the same maps in every epoch. They are kept as float16, which halves the memory and costs
    less than the photos' own JPEG noise.

    Args:
        backbone: `keras.Model` with outputs `c3`, `c4`, `c5`.
        dataset: `evaluation_dataset` of the split.
        num_photos: int. Photos in it, to know the size beforehand.
        flips: bool. Whether mirrored photos are needed.
        max_gib: float. Limit of the memory.
        progress: function that takes a line of text.

    Raises:
        ConfigError: if the maps would need more memory than `max_gib`.
    """

    def __init__(self, backbone, dataset, num_photos, flips, max_gib=4.0, progress=print):
        self._flips = flips
        size = dataset.element_spec["image"].shape[1]
        shapes = {name: value.shape[1:] for name, value in _output_shapes(backbone, size).items()}
        self._check_size(shapes, num_photos, max_gib)
        self._fill(backbone, dataset, num_photos, progress)

    def _check_size(self, shapes, num_photos, max_gib):
        values = sum(shape.num_elements() for shape in shapes.values())
        gib = values * 2 * num_photos * (2 if self._flips else 1) / 2**30
        if gib > max_gib:
            raise ConfigError(
                f"train.cache_features: the maps of {num_photos} photos need {gib:.1f} GiB, more than "
                f"train.max_cache_gib: {max_gib}; raise it or set train.cache_features: false"
            )

    def _fill(self, backbone, dataset, num_photos, progress):
        forward = tf.function(lambda image: backbone(image, training=False), reduce_retracing=True)
        rows, kept = {}, {name: [] for name in ("c3", "c4", "c5")}
        for batch in dataset:
            names = batch["photo_id"].numpy()
            fresh = [index for index, name in enumerate(names) if name not in rows]
            rows.update({names[index]: len(rows) + place for place, index in enumerate(fresh)})
            if not fresh:
                continue
            image = tf.gather(batch["image"], fresh)
            sides = [image, image[:, :, ::-1]] if self._flips else [image]
            maps = [forward(side) for side in sides]
            for name, values in kept.items():
                # A photo's rows stand together: as it is, then mirrored.
                both = tf.stack([tf.cast(item[name], tf.float16) for item in maps], axis=1)
                values.append(tf.reshape(both, (-1, *both.shape[2:])))
        self._maps = {name: tf.concat(values, 0) for name, values in kept.items()}
        self._rows = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(list(rows), tf.range(len(rows), dtype=tf.int64)), -1
        )
        gib = sum(value.dtype.size * value.shape.num_elements() for value in self._maps.values()) / 2**30
        progress(f"cached the backbone's maps of {len(rows)} photos, {gib:.2f} GiB")

    def __call__(self, photo_id, flipped):
        """Looks the maps of one photo up; graph operations alone.

        Args:
            photo_id: string scalar.
            flipped: bool scalar.

        Returns:
            dict of float32 tensors `c3`, `c4`, `c5`, each `(height, width, channels)`.
        """
        row = self._rows.lookup(photo_id)
        if self._flips:
            row = row * 2 + tf.cast(flipped, tf.int64)
        return {name: tf.cast(tf.gather(value, row), tf.float32) for name, value in self._maps.items()}


def _output_shapes(backbone, size):
    return (
        tf.function(lambda image: backbone(image, training=False))
        .get_concrete_function(tf.TensorSpec((1, size, size, 3)))
        .structured_outputs
    )
