"""Batches for a refiner: another model's features and coarse masks, paired with the masks of prepared data."""

import contextlib
import dataclasses
import re

import tensorflow as tf

from lts_keras.config.schema import AugmentConfig
from lts_keras.data.features.folder import FeatureFolder, missing, sentence_key
from lts_keras.data.input import geometry
from lts_keras.data.input.placement import place
from lts_keras.data.input.sampling import count_samples
from lts_keras.data.input.stages import Stages
from lts_keras.data.input.training_dataset import training_dataset
from lts_keras.data.prepare import records
from lts_keras.data.schema import DataError

__all__ = ["check_sentences", "data_errors", "feature_dataset", "feature_validation_dataset"]


def feature_dataset(data_dir, features, *, split="train", sampling="per_ref", **options):
    """As `training_dataset`, with features instead of photos; files are read as they are needed.

    Args:
        data_dir: folder of prepared data, which gives the masks and what is drawn.
        features: `FeatureFolder`.
        split: str.
        sampling: `"per_ref"` or `"per_expression"`.
        **options: further arguments of `training_dataset`: `batch_size`, `seed`, `repeat`, `first_epoch` ...

    Returns:
        `tf.data.Dataset` of `(x, y, sample_weight)`, B samples: `x` holds `features` float32 `(B, grid, grid,
        channels)` and `prior` float32 `(B, grid, grid, 1)`, logits; `y` holds `mask` float32 `(B, 2 * grid, 2 * grid,
        1)`, 0 or 1; `sample_weight` holds `mask` float32 `(B,)`, 0 for an object that has a box alone. With `ids`, `x`
        has `ref_id` and `photo_id` too.

    Raises:
        DataError: no such data or split. A file that is found wrong while batches are made ends them with an error of
            TensorFlow's, out of which `data_errors` takes the line.
    """
    stages = _FeatureStages(
        tokenizer=None,
        split=split,
        size=features.header.image_size,
        sampling=sampling,
        num_expressions=None,
        augment=AugmentConfig(),
        image_features=None,
        ids=options.get("ids", False),
        image_resize=features.header.image_resize,
        features=features,
    )
    return training_dataset(data_dir, None, split=split, sampling=sampling, stages=stages, **options)


def feature_validation_dataset(data_dir, features, *, split="val", batch_size=18):
    """Every sentence of a split once, the same batches each time, all whole.

    Args:
        data_dir: folder of prepared data.
        features: `FeatureFolder`.
        split: str.
        batch_size: int.

    Returns:
        `tf.data.Dataset` as that of `feature_dataset`, its number of batches known; the last one is filled with samples
        of weight 0.
    """
    data = feature_dataset(
        data_dir, features, split=split, sampling="per_expression", batch_size=batch_size, shuffle=False,
        deterministic=True, fill_remainder=False,
    )  # fmt: skip

    def fill(x, y, weights):
        count = tf.shape(weights["mask"])[0]
        places = tf.range(batch_size)
        x, y, weights = tf.nest.map_structure(lambda value: tf.gather(value, places % count), (x, y, weights))
        weights = {"mask": weights["mask"] * tf.cast(places < count, tf.float32)}
        return tf.nest.map_structure(
            lambda value: tf.ensure_shape(value, [batch_size, *value.shape[1:]]), (x, y, weights)
        )

    batches = -(-count_samples(data_dir, split, "per_expression") // batch_size)
    return data.map(fill).apply(tf.data.experimental.assert_cardinality(batches)).prefetch(1)


@dataclasses.dataclass(frozen=True)
class _FeatureStages(Stages):
    """The stages of a training on features: no photo is decoded, no sentence read."""

    features: FeatureFolder | None = None

    def decode(self, record, chosen, seed):
        """-> (photo, samples): names and targets; the features are read behind the shuffling, which holds samples."""
        has_mask = tf.cast(tf.gather(record["has_mask"], chosen.objects), tf.float32)
        samples = {
            "mask": self._masks(record, chosen),
            "weight": chosen.weights * has_mask,
            "expression": chosen.expressions,
            **{name: tf.gather(record[name], chosen.objects) for name in ("dataset", "ref_id")},
        }
        return {"photo_id": record["photo_id"]}, samples

    def _masks(self, record, chosen):
        """uint8 0 or 1 `(n, 2 * grid, 2 * grid, 1)`; a mask is decoded once for all its sentences."""
        objects, rows = tf.unique(chosen.objects)
        placement = place(record["height"], record["width"], self.size, self.image_resize)
        cells = 2 * self.features.header.grid
        stride = self.size // cells

        def share(index):
            return tf.cond(
                record["has_mask"][index],
                lambda: geometry.cover(tf.io.decode_png(record["mask_png"][index], 1), placement, self.size, stride),
                lambda: geometry.cover_box(record["box"][index], placement, self.size, stride),
            )

        shape = tf.TensorSpec([cells, cells, 1], tf.float32)
        shares = tf.map_fn(share, objects, fn_output_signature=shape, parallel_iterations=1)
        return tf.gather(tf.cast(geometry.target(shares), tf.uint8), rows)

    def finish(self, photo, sample):
        """-> (x, y, sample_weight) of one sample."""
        header = self.features.header
        words = [sample[name] for name in ("dataset", "ref_id", "expression")]
        features, prior = tf.numpy_function(self._read, words, [tf.float32, tf.float32])
        features = tf.ensure_shape(features, [header.grid, header.grid, header.channels])
        x = {"features": features, "prior": tf.ensure_shape(prior, [header.grid, header.grid, 1])}
        names = {"photo_id": photo["photo_id"], "ref_id": sample["ref_id"]} if self.ids else {}
        return {**x, **names}, {"mask": tf.cast(sample["mask"], tf.float32)}, {"mask": sample["weight"]}

    def _read(self, *words):
        return self.features.read(*(word.decode("utf-8") for word in words))


def check_sentences(data_dir, features, splits):
    """Compares the index with prepared data, before anything is trained or judged.

    Args:
        data_dir: folder of prepared data.
        features: `FeatureFolder`.
        splits: sequence of str. Every sentence of these needs a file; splits that the data lacks are passed over.

    Raises:
        DataError: naming the first sentence without a line, or the first line of a sentence that the data does not
            have in any split.
    """
    unknown = set(features.files)
    for record in tf.data.TFRecordDataset(records.find_shards(data_dir)).map(_words, tf.data.AUTOTUNE):
        datasets, refs, of_split = (record[name].numpy() for name in ("dataset", "ref_id", "split"))
        for dataset, ref_id, split, texts in zip(datasets, refs, of_split, record["expressions"], strict=True):
            for text in texts.numpy():
                key = sentence_key(dataset.decode(), ref_id.decode(), text.decode("utf-8"))
                if split.decode() in splits and key not in features.files:
                    raise missing(features, key)
                unknown.discard(key)
    if unknown:
        key = min(unknown, key=features.lines.get)
        raise DataError(
            f"{features.folder / 'index.jsonl'}: line {features.lines[key]}: no sentence {key[2]!r} of ref {key[1]} of "
            f"{key[0]} in the prepared data {data_dir}; was it prepared from other sources?"
        )


def _words(serialized):
    record = records.parse_record(serialized)
    return {name: record[name] for name in ("dataset", "ref_id", "split", "expressions")}


_LINE = re.compile(r"DataError: (?P<line>[^\n]*)")


@contextlib.contextmanager
def data_errors():
    """Within the block, a `DataError` out of a data set's threads, which TensorFlow wraps, is raised as itself."""
    try:
        yield
    except tf.errors.OpError as error:
        found = _LINE.search(str(error))
        if found is None:
            raise
        raise DataError(found["line"].strip()) from error
