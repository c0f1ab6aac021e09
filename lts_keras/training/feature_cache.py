"""The maps of a frozen backbone, computed once per photo and kept in memory for training."""

import tensorflow as tf

from lts_keras.config.errors import ConfigError
from lts_keras.data.input.color_edges import cell_colors

__all__ = ["FeatureCache", "MemoryBudget"]


class MemoryBudget:
    """Memory that all caches of a training share.

    Args:
        max_gib: float. `train.max_cache_gib`.
    """

    def __init__(self, max_gib=4.0):
        self.max_gib = max_gib
        self.used_gib = 0.0

    def take(self, gib, what):
        """Counts `gib` as used.

        Args:
            gib: float.
            what: str, for the message.

        Raises:
            ConfigError: if less is left.
        """
        if self.used_gib + gib > self.max_gib:
            others = f" beside {self.used_gib:.1f} GiB of other photos" if self.used_gib else ""
            raise ConfigError(
                f"train.cache_features: {what} need {gib:.1f} GiB{others}, more than "
                f"train.max_cache_gib: {self.max_gib}; raise it or set train.cache_features: false"
            )
        self.used_gib += gib


class FeatureCache:
    """Backbone maps of every photo of a split, and of its mirror image where flips are wanted.

    A frozen backbone gives the same maps in every epoch. They are kept as float16, which halves the memory and costs
    less than the photos' own JPEG noise, and are written in place as they are computed: there is never a second copy.

    Args:
        backbone: `keras.Model` with outputs `c3`, `c4`, `c5`, none of its variables trainable. The maps are those that
            it gives at its own precision, and come back in it.
        dataset: `evaluation_dataset` of the split.
        num_photos: int. Photos in it.
        flips: bool. Whether mirrored photos are needed.
        budget: `MemoryBudget`, shared by the caches of all splits.
        progress: function that takes a line of text.
        colors: bool. Whether the colours of `cell_colors` are kept too, as `colors`.

    Raises:
        ConfigError: if a part of the backbone trains, the maps would need more memory than is left, or a value is
            beyond float16's 65504.
    """

    def __init__(self, backbone, dataset, num_photos, flips, budget, progress=print, colors=False):
        if backbone.trainable_variables:
            names = ", ".join(variable.path for variable in backbone.trainable_variables[:3])
            raise ConfigError(
                f"train.cache_features needs a backbone that is frozen as a whole, model.trainable_backbone: none. "
                f"Received one that trains {len(backbone.trainable_variables)} variables ({names} ...)"
            )
        self._flips = flips
        size = dataset.element_spec["image"].shape[1]
        kept = ("c3", "c4", "c5", "colors") if colors else ("c3", "c4", "c5")

        def forward(image):
            maps = backbone(image, training=False)
            maps = {**maps, "colors": cell_colors(image)} if colors else maps
            return {name: maps[name] for name in kept}

        self._forward = tf.function(forward, reduce_retracing=True)
        specs = self._forward.get_concrete_function(tf.TensorSpec((None, size, size, 3))).structured_outputs
        self._dtypes = {name: spec.dtype for name, spec in specs.items()}
        num_rows = num_photos * (2 if flips else 1)
        gib = sum(spec.shape[1:].num_elements() for spec in specs.values()) * 2 * num_rows / 2**30
        budget.take(gib, f"the maps of {num_photos} photos")
        with tf.device("CPU"):
            # Variables, and not tensors: a row is written, and read, where it lies.
            self._maps = {
                name: tf.Variable(tf.zeros((num_rows, *spec.shape[1:]), tf.float16), trainable=False)
                for name, spec in specs.items()
            }
        self._fill(dataset, num_photos)
        del self._forward
        progress(f"cached the backbone's maps of {num_photos} photos, {gib:.2f} GiB")

    def _fill(self, dataset, num_photos):
        rows = {}
        for batch in dataset:
            names = batch["photo_id"].numpy()
            # A photo with many expressions comes more than once.
            fresh = {name: index for index, name in reversed(list(enumerate(names))) if name not in rows}
            if not fresh:
                continue
            image = tf.gather(batch["image"], list(fresh.values()))
            first = len(rows)
            rows.update({name: first + place for place, name in enumerate(fresh)})
            if len(rows) > num_photos:
                raise ValueError(f"num_photos must be the number of photos in dataset. Received: {num_photos}")
            # A photo's rows stand together: as it is, then mirrored.
            for side, square in enumerate([image, image[:, :, ::-1]] if self._flips else [image]):
                self._write(square, first, side)
        if len(rows) != num_photos:
            raise ValueError(f"num_photos must be {len(rows)}, as many as in dataset. Received: {num_photos}")
        numbers = tf.range(num_photos, dtype=tf.int64)
        with tf.device("CPU"):
            keys = tf.lookup.KeyValueTensorInitializer(list(rows), numbers)
            self._rows = tf.lookup.StaticHashTable(keys, -1)

    def _write(self, image, first, side):
        """Puts the maps of some photos at their rows."""
        step = 2 if self._flips else 1
        rows = step * tf.range(first, first + image.shape[0]) + side
        for name, values in self._forward(image).items():
            values = tf.cast(values, tf.float16)
            if not bool(tf.reduce_all(tf.math.is_finite(values))):
                raise ConfigError(
                    f"train.cache_features: the backbone's map {name} has values beyond 65504, which float16 cannot "
                    "hold; set train.cache_features: false"
                )
            # In place; assigning to a slice made a copy of the whole variable.
            self._maps[name].scatter_update(tf.IndexedSlices(values, rows))

    def __call__(self, photo_id, flipped):
        """Looks the maps of one photo up; graph operations alone.

        Args:
            photo_id: string scalar.
            flipped: bool scalar.

        Returns:
            dict of tensors `c3`, `c4`, `c5`, each `(height, width, channels)`, in the type that the backbone gives.
        """
        row = self._rows.lookup(photo_id)
        if self._flips:
            row = row * 2 + tf.cast(flipped, tf.int64)
        return {name: tf.cast(tf.gather(value, row), self._dtypes[name]) for name, value in self._maps.items()}
