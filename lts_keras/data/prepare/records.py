"""One record per photograph: serialised, parsed by graph operations, and the manifest that lists the shards."""

import hashlib
import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from lts_keras.data.prepare.masks import encode_mask
from lts_keras.data.schema import DataError
from lts_keras.utils.files import atomic_write, digest

__all__ = [
    "MANIFEST_FILE",
    "data_digest",
    "find_shards",
    "make_record",
    "parse_record",
    "read_manifest",
    "read_records",
    "verify_shards",
    "write_manifest",
]

FORMAT = 3
"""Version of the record and of the manifest; part of every digest."""
MANIFEST_FILE = "manifest.json"


def make_record(photo):
    """Serialises a photo and its objects.

    Args:
        photo: `Photo`.

    Returns:
        Bytes of a `tf.train.Example`, the same for the same photo. Boxes are clipped to the photo; an expression
        without target has a box of zeros; an object with a box alone has an empty `mask_png`.
    """
    objects, pngs = photo.objects, {}
    for item in objects:
        # Refs to one object share the mask array, which is then encoded once.
        if item.mask is not None and id(item.mask) not in pngs:
            pngs[id(item.mask)] = encode_mask(item.mask)
    features = {
        "photo/id": _strings([photo.photo_id]),
        "photo/bytes": _strings([photo.image_bytes]),
        "photo/height": _ints([photo.height]),
        "photo/width": _ints([photo.width]),
        "photo/orientation": _ints([photo.orientation]),
        "object/ref_id": _strings(item.ref_id for item in objects),
        "object/dataset": _strings(item.dataset for item in objects),
        "object/split": _strings(item.split for item in objects),
        "object/category": _strings(item.category for item in objects),
        "object/mask_png": _strings(b"" if item.mask is None else pngs[id(item.mask)] for item in objects),
        "object/has_mask": _ints(int(item.mask is not None) for item in objects),
        "object/box": _floats(side for item in objects for side in _clip(item.box, photo.height, photo.width)),
        "object/several": _ints(int(item.several) for item in objects),
        "object/num_expressions": _ints(len(item.expressions) for item in objects),
        "object/expressions": _strings(text for item in objects for text in item.expressions),
        "photo/other_category": _strings(category for category, _ in photo.others),
        "photo/other_box": _floats(side for _, box in photo.others for side in _clip(box, photo.height, photo.width)),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    # The order of a protobuf map is otherwise free, and the shards would not be byte-equal.
    return example.SerializeToString(deterministic=True)


def parse_record(serialized):
    """Parses one record; graph operations alone.

    Args:
        serialized: string scalar, as `make_record` gives.

    Returns:
        Dict of tensors, N objects and M others: `photo_id`, `image_bytes` string (); `height`, `width`, `orientation`
        int64 (); `ref_id`, `dataset`, `split`, `category`, `mask_png` string (N,); `has_mask`, `several` bool (N,);
        `box` float32 (N, 4) as x0, y0, x1, y1; `expressions` string ragged (N, None); `other_category` string (M,),
        `other_box` float32 (M, 4), of annotated objects that nothing refers to. Sides, masks and boxes are those of the
        pixels that `decode_image(image_bytes, orientation)` gives.
    """
    strings = tf.io.FixedLenSequenceFeature((), tf.string, allow_missing=True)
    ints = tf.io.FixedLenSequenceFeature((), tf.int64, allow_missing=True)
    boxes = tf.io.FixedLenSequenceFeature((4,), tf.float32, allow_missing=True)
    names = ("ref_id", "dataset", "split", "category", "mask_png")
    spec = {f"object/{name}": strings for name in (*names, "expressions")}
    spec |= {
        "photo/id": tf.io.FixedLenFeature((), tf.string),
        "photo/bytes": tf.io.FixedLenFeature((), tf.string),
        "photo/height": tf.io.FixedLenFeature((), tf.int64),
        "photo/width": tf.io.FixedLenFeature((), tf.int64),
        "photo/orientation": tf.io.FixedLenFeature((), tf.int64),
        "object/has_mask": ints,
        "object/several": ints,
        "object/num_expressions": ints,
        "object/box": boxes,
        "photo/other_category": strings,
        "photo/other_box": boxes,
    }
    parsed = tf.io.parse_single_example(serialized, spec)
    return {
        "photo_id": parsed["photo/id"],
        "image_bytes": parsed["photo/bytes"],
        "height": parsed["photo/height"],
        "width": parsed["photo/width"],
        "orientation": parsed["photo/orientation"],
        **{name: parsed[f"object/{name}"] for name in names},
        "has_mask": parsed["object/has_mask"] > 0,
        "several": parsed["object/several"] > 0,
        "box": parsed["object/box"],
        "other_category": parsed["photo/other_category"],
        "other_box": parsed["photo/other_box"],
        "expressions": tf.RaggedTensor.from_row_lengths(
            parsed["object/expressions"], parsed["object/num_expressions"], validate=False
        ),
    }


def read_records(path):
    """Yields the serialised records of one shard as bytes.

    Raises:
        DataError: the file is missing, cut or damaged.
    """
    try:
        for serialized in tf.data.TFRecordDataset(str(path)):
            yield serialized.numpy()
    except (tf.errors.DataLossError, tf.errors.NotFoundError, tf.errors.OutOfRangeError) as error:
        raise DataError(f"{path}: the shard is missing, cut or damaged; run `lts prepare` again") from error


def write_manifest(data_dir, shards, **further):
    """Writes `manifest.json`, the last file of prepared data: without it no later stage takes the folder for whole.

    Args:
        data_dir: folder of the shards.
        shards: list of dicts with `file`, `sha256`, `bytes`, `photos`, `splits`, `refs`, `expressions`, `slices`.
        further: plain values stored beside them.
    """
    manifest = {"format": FORMAT, **further, "shards": shards}
    return atomic_write(Path(data_dir) / MANIFEST_FILE, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")


def read_manifest(data_dir):
    """Returns the manifest of prepared data as a dict.

    Raises:
        DataError: there is none, it cannot be read, or another version of the library wrote it.
    """
    path = Path(data_dir) / MANIFEST_FILE
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        shards = manifest["shards"]
        whole = all({"file", "sha256", "bytes", "splits"} <= shard.keys() for shard in shards)
    except FileNotFoundError:
        raise DataError(f"{path}: no prepared data here; run `lts prepare` first") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole, manifest = False, {}
    if not whole:
        raise DataError(f"{path}: not a manifest of prepared data; run `lts prepare` again")
    if manifest.get("format") != FORMAT:
        found = f"format {FORMAT} is needed; run `lts prepare` again. Received: {manifest.get('format')!r}"
        raise DataError(f"{path}: {found}")
    return manifest


def data_digest(data_dir):
    """SHA-256 of what training and evaluation read, as hexadecimal text: the records in their order, and the words.

    The findings of the checks and the version of their code, which the manifest has too, do not enter.

    Raises:
        DataError: as `read_manifest`.
    """
    manifest = read_manifest(data_dir)
    parts = [shard["sha256"] for shard in manifest["shards"]] + [manifest.get("vocabulary", {}).get("sha256")]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def find_shards(data_dir, splits=None):
    """Returns the paths of the shards that hold a photo of one of `splits` (all if `None`), in manifest order.

    Sizes are compared with the manifest; `verify_shards` compares the digests.

    Raises:
        DataError: no manifest, a shard missing or of another size, or a split that the data does not have.
    """
    shards = read_manifest(data_dir)["shards"]
    known = sorted({split for shard in shards for split in shard["splits"]})
    wanted = known if splits is None else [splits] if isinstance(splits, str) else list(splits)
    unknown = [split for split in wanted if split not in known]
    if unknown:
        raise DataError(f"{data_dir}: the data has the splits {', '.join(known)}. Received: {', '.join(unknown)}")
    found = []
    for shard in shards:
        path = Path(data_dir) / shard["file"]
        if not path.is_file() or path.stat().st_size != shard["bytes"]:
            raise DataError(f"{path}: missing or not of the manifest's {shard['bytes']} bytes; run `lts prepare` again")
        if set(wanted) & set(shard["splits"]):
            found.append(str(path))
    return found


def verify_shards(data_dir, digest=digest):
    """Compares the digest of every shard and of the vocabulary with the manifest.

    Args:
        data_dir: folder of the shards.
        digest: function that gives the SHA-256 of a file; one that remembers files by size and time reads none twice.

    Raises:
        DataError: a file was changed, cut or removed; the message names it.
    """
    manifest = read_manifest(data_dir)
    for item in [*manifest["shards"], *([manifest["vocabulary"]] if "vocabulary" in manifest else [])]:
        path = Path(data_dir) / item["file"]
        if not path.is_file() or digest(path) != item["sha256"]:
            raise DataError(f"{path}: missing or not as the manifest has it; run `lts prepare` again")


def _clip(box, height, width):
    if box is None:
        return (0.0, 0.0, 0.0, 0.0)
    return np.clip(box, 0, (width, height, width, height)).tolist()


def _strings(values):
    values = [value.encode("utf-8") if isinstance(value, str) else value for value in values]
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def _ints(values):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def _floats(values):
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))
