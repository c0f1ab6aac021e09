"""What will be written where, decided before a mask is made: photos of all sources joined, leaks, shards."""

import collections
import dataclasses
import hashlib
import json

from lts_keras.data.prepare import shards
from lts_keras.data.prepare.code import check_code
from lts_keras.data.prepare.read import REASON_OF, look_alike
from lts_keras.data.prepare.shards import PlannedShard
from lts_keras.data.schema import DataError
from lts_keras.data.sources import PhotoError, open_sources

__all__ = ["Plan", "PlannedPhoto", "make_plan"]

TRAIN = "train"


@dataclasses.dataclass
class PlannedPhoto:
    """A photo of the records: where its parts are read from.

    Attributes:
        photo_id: as in `Photo`.
        digest: SHA-256 of its bytes.
        orientation: EXIF code of the turn between its bytes and the frame of its annotations.
        parts: list of (index of the source, key); the first one gives the bytes.
        object_digests: dict, split -> list of digests of what is said of its objects, one of each part.
        num_objects: its referred objects in all parts.
        coco_id: its number in COCO, if it is known to have one.
        without: split whose objects are left out because they would leak, or `None`.
        annotated: digest of the further objects that are annotated on it.
    """

    photo_id: str
    digest: str
    orientation: int
    parts: list
    object_digests: dict
    num_objects: int = 0
    coco_id: int | str | None = None
    without: str | None = None
    annotated: str = ""

    @property
    def splits(self):
        """Set of the splits of its objects that are kept."""
        return set(self.object_digests) - {self.without}


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that decides the prepared data.

    Attributes:
        digest: of shards, checks and what the vocabulary depends on: equal digests give equal data. The thresholds of
            the checks are no part of it, so that after a change of them no record is written again.
        sources: open sources.
        shards: tuple of `PlannedShard`.
        leaks: list of dicts `photo_id`, `same_as`, `by` ("id" or "content") for photos of train that are held out too.
        problems: list of dicts `kind`, `message`, `photo_id`, of photos that could not be read, or are there twice.
        num_photos: photos of all sources, the unreadable ones included.
    """

    digest: str
    sources: tuple
    shards: tuple[PlannedShard, ...]
    leaks: list
    problems: list
    num_photos: int


def make_plan(config, fingerprints, previous=()):
    """Opens all sources, joins photos by id, finds leaks and assigns photos to shards.

    Args:
        config: `Config`.
        fingerprints: `Fingerprints`.
        previous: what `shards.read_previous` gives: whole shards of a run before are kept as they are.

    Returns:
        A `Plan`.

    Raises:
        DataError: a source cannot be read, or no photo is left.
    """
    sources = open_sources(config.data)
    for path in (path for source in sources for path in source.files):
        fingerprints.digest(path)  # so that a change of it is seen
    photos, problems = _join(sources, fingerprints)
    num_photos = len(photos) + len(problems)
    if not num_photos:
        raise DataError(f"data.sources: no photo with an expression in any source{_why_none(sources)}")
    leaks = _find_leaks(photos)
    if config.data.check.on_leak == "drop":
        leaking = {leak["photo_id"] for leak in leaks}
        for photo in photos:
            if photo.photo_id in leaking:
                photo.without = TRAIN
                if not photo.splits:  # It will not be read any more; the objects of the others are counted then.
                    source = sources[photo.parts[0][0]]
                    source.left_out.add("leak", f"{photo.photo_id}: all its objects", photo.num_objects)
    problems += _twice(photos)
    planned = shards.assign([photo for photo in photos if photo.splits], config.data.photos_per_shard, previous)
    return Plan(
        digest=_digest(config, planned, leaks, problems),
        sources=sources,
        shards=planned,
        leaks=leaks,
        problems=problems,
        num_photos=num_photos,
    )


def _why_none(sources):
    """Words on what was left out, for data of which nothing is left."""
    rows = [(reason, row) for source in sources for reason, row in source.left_out.rows.items()]
    words = "; ".join(f"{row['count']} left out: {reason} (first: {row['first']})" for reason, row in rows)
    if words:
        return f": {words}"
    files = ", ".join(str(path) for source in sources for path in source.files)
    return f": nothing refers to a photo in {files}" if files else ""


def _join(sources, fingerprints):
    """Photos of all sources by id. The same id with other pixels is a photo of its own.

    A photo of COCO has one id in every data set. Copies of it in the same frame share one record (some are compressed
    anew); a copy in another one cannot, as its masks do not fit: its size is added to its id. Nor can what says to be a
    photo of COCO, and is another one.
    """
    found, problems = {}, []
    for index, source in enumerate(sources):
        for entry in source.entries():
            try:
                content, height, width, orientation = fingerprints.photo(source, entry.key)
                frame = source.frame(entry.key, height, width, orientation)
            except PhotoError as error:
                problems.append({"kind": error.kind, "message": str(error), "photo_id": entry.photo_id})
                source.left_out.add(REASON_OF[error.kind], str(error), entry.num_objects)
                continue
            if entry.coco_id is not None:
                turn = "" if frame.orientation == 1 else f"-{frame.orientation}"
                same = f"{frame.width}x{frame.height}{turn}"
            else:
                same = content[:8] if frame.orientation == orientation else f"{content[:8]}-{frame.orientation}"
            copies = found.setdefault(entry.photo_id, {})
            if same in copies and copies[same].digest != content and not _is_copy(sources, copies[same], source, entry):
                same = f"{same}-{content[:8]}"
            photo_id = entry.photo_id if not copies or same in copies else f"{entry.photo_id}@{same}"
            photo = copies.setdefault(same, PlannedPhoto(photo_id, content, frame.orientation, [], {}))
            photo.parts.append((index, entry.key))
            photo.num_objects += entry.num_objects
            photo.coco_id = entry.coco_id
            photo.annotated = _annotated(photo.annotated, source.annotated(entry.key))
            for split, digest in source.object_digests(entry.key, fingerprints.digest).items():
                photo.object_digests.setdefault(split, []).append(digest)
    return [photo for copies in found.values() for photo in copies.values()], problems


def _annotated(before, objects):
    """Digest of the annotated objects of one more part of a photo, which is `before` of those without any."""
    return hashlib.sha256(repr((before, objects)).encode()).hexdigest() if objects else before


def _is_copy(sources, planned, source, entry):
    """Whether a photo shows what a planned one of the same size shows: its bytes alone are others."""
    index, key = planned.parts[0]
    return look_alike(sources[index].image_bytes(key), source.image_bytes(entry.key))


def _find_leaks(photos):
    """Photos of train that are held out in any data set: by their number in COCO, or by their bytes."""
    held_ids, held_digests = {}, {}
    for photo in photos:
        if photo.splits - {TRAIN}:
            held_ids.setdefault(_base(photo), photo.photo_id)
            held_digests.setdefault(photo.digest, photo.photo_id)
    leaks = []
    for photo in photos:
        if TRAIN in photo.splits:
            by_id, by_content = held_ids.get(_base(photo)), held_digests.get(photo.digest)
            if by_id or by_content:
                by = "id" if by_id else "content"
                leaks.append({"photo_id": photo.photo_id, "same_as": by_id or by_content, "by": by})
    return leaks


def _twice(photos):
    """Findings on photos of equal bytes in one split, which are a record each."""
    first, found = {}, []
    for photo in photos:
        of_splits = [(photo.digest, split) for split in sorted(photo.splits)]
        same = next((first[one] for one in of_splits if one in first), None)
        if same is not None:
            message = f"{photo.photo_id}: the same bytes as {same}"
            found.append({"kind": "same_photos", "message": message, "photo_id": photo.photo_id})
        for one in of_splits:
            first.setdefault(one, photo.photo_id)
    return found


def _base(photo):
    """COCO's number of a photo, whatever its size; a photo that has none is known by its id."""
    return photo.photo_id if photo.coco_id is None else ("coco", photo.coco_id)


def _digest(config, planned, leaks, problems):
    """Digest of everything that decides shards, vocabulary and findings; the place of the root does not."""
    facts = (
        check_code(),
        [shard.digest for shard in planned],
        [source.model_dump(mode="json") for source in config.data.sources],
        config.data.photos_per_shard,
        config.data.vocabulary_min_count,
        config.data.check.on_leak,
        config.model.max_tokens,
        leaks,
        sorted(collections.Counter(problem["kind"] for problem in problems).items()),
    )
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
