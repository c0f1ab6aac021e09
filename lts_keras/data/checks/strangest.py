"""The strangest of the prepared records, found in one pass: what to look at before hours are spent on training."""

import collections
import dataclasses
import heapq

import tensorflow as tf

from lts_keras.data.checks.mask_findings import box_fits
from lts_keras.data.checks.page import render_template
from lts_keras.data.checks.pictures import draw_object
from lts_keras.data.input.geometry import decode_image
from lts_keras.data.prepare import records
from lts_keras.data.prepare.masks import decode_mask, tight_box
from lts_keras.data.schema import DataError
from lts_keras.data.text import split_words

__all__ = ["Strangest", "find_strangest", "render_strangest"]

_SHOWN = 6
_MOST_SENTENCES = 1_000_000
"""Different sentences counted at a time; beyond, those that stand once are forgotten, and may be counted too low."""
_BATCH = 8192


@dataclasses.dataclass(frozen=True)
class Strange:
    """An object of a record: what its picture needs, and the number that makes it strange."""

    value: float
    photo_id: str
    image_bytes: bytes
    orientation: int
    mask_png: bytes
    box: tuple[float, float, float, float] | None
    ref_id: str
    slice: str
    expressions: tuple[str, ...]


@dataclasses.dataclass
class Strangest:
    """What was found.

    Attributes:
        num_objects, num_masks: objects of all records, and different masks of theirs that have a pixel.
        largest, smallest: lists of `Strange`; `value` is the mask's share of the photo.
        farthest: likewise, masks that do not lie in their boxes; `value` is the largest distance between a side of the
            mask and that of the box, in pixels.
        repeated: list of (sentence as the model reads it, how many objects have it), of those that stand twice or more.
        num_sentences: sentences of all records.
        words: dict, word -> how often it stands in them.
        sentences: dict, word -> the first sentence with it.
    """

    num_objects: int
    num_masks: int
    largest: list
    smallest: list
    farthest: list
    repeated: list
    num_sentences: int
    words: dict
    sentences: dict

    def unknown_words(self, known):
        """List of (word, how often, first sentence) of words that are not in `known`, commonest first."""
        missing = [word for word in self.words if word not in known]
        missing.sort(key=lambda word: (-self.words[word], word))
        return [(word, self.words[word], self.sentences[word]) for word in missing]


def find_strangest(data_dir, num=_SHOWN):
    """Reads all records once; memory holds `num` objects of each kind, the words and the sentences' counts.

    Args:
        data_dir: folder of prepared data.
        num: int, objects of each kind.

    Returns:
        `Strangest`.

    Raises:
        DataError: no prepared data, or a shard that cannot be read.
    """
    largest, smallest, farthest, texts = _Top(num), _Top(num), _Top(num), _Texts()
    num_objects = num_masks = 0
    for record in _read(data_dir):
        masks = {}
        for index in range(len(record["ref_id"])):
            num_objects += 1
            texts.add(record["expressions"][index])
            png = record["mask_png"][index]
            if not record["has_mask"][index] or png in masks:
                continue  # a mask that several refs share is shown once
            mask = masks[png] = decode_mask(png)
            box, tight = tuple(record["box"][index].tolist()), tight_box(mask)
            if tight is None:
                continue
            num_masks += 1
            share = float(mask.mean())
            largest.add(share, share, record, index)
            smallest.add(-share, share, record, index)
            if any(box) and not box_fits(tight, box):
                distance = max(abs(a - b) for a, b in zip(tight, box, strict=True))
                farthest.add(distance, distance, record, index)
    texts.flush()
    kinds = (top.sorted() for top in (largest, smallest, farthest))
    return Strangest(
        num_objects, num_masks, *kinds, texts.repeated(2 * num), texts.num_sentences, texts.words, texts.sentences
    )


def render_strangest(found, name, unknown=None):
    """Renders a page.

    Args:
        found: `Strangest`.
        name: of the configuration.
        unknown: what `Strangest.unknown_words` gives for a file of word vectors, or `None` where there is none.

    Returns:
        HTML text without any reference to another file.
    """
    pictures = {
        kind: [(_draw(one), one) for one in getattr(found, kind)] for kind in ("largest", "smallest", "farthest")
    }
    return render_template("strangest.html", name=name, found=found, pictures=pictures, unknown=unknown)


def _draw(one):
    return draw_object(decode_image(one.image_bytes, one.orientation).numpy(), decode_mask(one.mask_png), one.box)


def _read(data_dir):
    """Yields every record as dict of arrays; `expressions` is a list of lists of bytes."""
    for path in records.find_shards(data_dir):
        parsed = tf.data.TFRecordDataset(path).map(records.parse_record).prefetch(1)
        try:
            for record in parsed:
                expressions = record.pop("expressions").to_list()
                yield {key: value.numpy() for key, value in record.items()} | {"expressions": expressions}
        except (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError) as error:
            raise DataError(f"{path}: the shard is cut or damaged; run `lts prepare` again") from error


class _Top:
    """Keeps the objects with the largest keys; of equal ones the first."""

    def __init__(self, num):
        self._num, self._heap, self._order = num, [], 0

    def add(self, key, value, record, index):
        self._order += 1
        entry = key, -self._order
        if len(self._heap) == self._num and entry < self._heap[0][:2]:
            return
        box = tuple(record["box"][index].tolist())
        one = Strange(
            value=value,
            photo_id=record["photo_id"].decode(),
            image_bytes=record["image_bytes"],
            orientation=int(record["orientation"]),
            mask_png=record["mask_png"][index],
            box=box if any(box) else None,
            ref_id=record["ref_id"][index].decode(),
            slice=f"{record['dataset'][index].decode()}/{record['split'][index].decode()}",
            expressions=tuple(text.decode() for text in record["expressions"][index]),
        )
        push = heapq.heappushpop if len(self._heap) == self._num else heapq.heappush
        push(self._heap, (*entry, one))

    def sorted(self):
        """The strangest first."""
        return [one for *_, one in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]


class _Texts:
    """Counts words and sentences as the model reads them, a few thousand at a time."""

    def __init__(self):
        self.num_sentences, self.words, self.sentences = 0, collections.Counter(), {}
        self._waiting, self._counts, self._num_objects = [], collections.Counter(), 0

    def add(self, expressions):
        """Adds the sentences of one object."""
        self._num_objects += 1
        self.num_sentences += len(expressions)
        self._waiting += [(self._num_objects, text) for text in expressions]
        if len(self._waiting) >= _BATCH:
            self.flush()

    def flush(self):
        """Counts what was added."""
        rows = split_words(tf.constant([text for _, text in self._waiting], tf.string))
        words, lengths = rows.values.numpy(), rows.row_lengths().numpy()
        begin, of_objects = 0, {}
        for (number, text), length in zip(self._waiting, lengths, strict=True):
            row = [word.decode() for word in words[begin : begin + length]]
            begin += length
            self.words.update(row)
            # One object that has a sentence twice repeats nothing.
            of_objects[number, " ".join(row)] = None
            for word in row:
                self.sentences.setdefault(word, text.decode())
        self._counts.update(sentence for _, sentence in of_objects)
        self._waiting = []
        if len(self._counts) > _MOST_SENTENCES:
            self._counts = collections.Counter({text: count for text, count in self._counts.items() if count > 1})

    def repeated(self, num):
        """The sentences of most objects."""
        common = heapq.nsmallest(num, self._counts.items(), key=lambda item: (-item[1], item[0]))
        return [(text, count) for text, count in common if count > 1]
