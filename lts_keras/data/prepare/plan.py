"""What will be written where, decided before a mask is made: photos of all sources joined, leaks, shards."""

import dataclasses
import hashlib
import json
import re

from lts_keras.data.prepare.records import FORMAT
from lts_keras.data.schema import DataError
from lts_keras.data.sources import PhotoError, open_source
from lts_keras.data.sources.base import file_digests

__all__ = ["Plan", "PlannedPhoto", "PlannedShard", "make_plan"]

TRAIN = "train"


@dataclasses.dataclass
class PlannedPhoto:
    """A photo of the records: where its parts are read from.

    Attributes:
        photo_id: as in `Photo`.
        digest: SHA-256 of its bytes.
        parts: list of (index of the source, key); the first one gives the bytes.
        splits: set of the splits of its objects.
        without: split whose objects are left out because they would leak, or `None`.
    """

    photo_id: str
    digest: str
    parts: list
    splits: set
    without: str | None = None


@dataclasses.dataclass(frozen=True)
class PlannedShard:
    """A file and its photos."""

    file: str
    splits: tuple[str, ...]
    photos: tuple[PlannedPhoto, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that decides the prepared data.

    Attributes:
        digest: of the configuration, the annotation files and the photos: equal digests give equal records. The
            thresholds of the checks are no part of it, so that after a change of them no record is written again.
        sources: open sources.
        shards: tuple of `PlannedShard`.
        leaks: list of dicts `photo_id`, `same_as`, `by` ("id" or "content") for photos of train that are held out too.
        problems: list of dicts `kind`, `message`, of photos that could not be read.
        num_photos: photos of all sources, the unreadable ones included.
    """

    digest: str
    sources: tuple
    shards: tuple[PlannedShard, ...]
    leaks: list
    problems: list
    num_photos: int


def make_plan(config):
    """Opens all sources, joins photos by id, finds leaks and assigns photos to shards.

    Args:
        config: `Config`.

    Returns:
        A `Plan`.

    Raises:
        DataError: a source cannot be read, or no photo is left.
    """
    sources = tuple(open_source(section, config.data.root) for section in config.data.sources)
    photos, problems = _join(sources)
    num_photos = len(photos) + len(problems)
    if not num_photos:
        raise DataError("data.sources: no photo with an expression in any source")
    leaks = _find_leaks(photos)
    if config.data.check.on_leak == "drop":
        leaking = {leak["photo_id"] for leak in leaks}
        for photo in photos:
            if photo.photo_id in leaking:
                photo.splits, photo.without = photo.splits - {TRAIN}, TRAIN
    photos = [photo for photo in photos if photo.splits]
    return Plan(
        digest=_digest(config, sources, photos, problems),
        sources=sources,
        shards=_shards(photos, config.data.photos_per_shard),
        leaks=leaks,
        problems=problems,
        num_photos=num_photos,
    )


def _join(sources):
    """Photos of all sources by id. The same id with other pixels is a photo of its own.

    A photo of COCO has one id in every data set. Copies of it of the same size share one record (some are compressed
    anew); a copy of another size cannot, as its masks do not fit: its size is added to its id.
    """
    found, problems = {}, []
    for index, source in enumerate(sources):
        for entry in source.entries():
            try:
                content, height, width = source.fingerprint(entry.key)
            except PhotoError as error:
                problems.append({"kind": error.kind, "message": str(error)})
                continue
            same = f"{width}x{height}" if entry.photo_id.startswith("coco:") else content[:8]
            copies = found.setdefault(entry.photo_id, {})
            photo_id = entry.photo_id if not copies or same in copies else f"{entry.photo_id}@{same}"
            photo = copies.setdefault(same, PlannedPhoto(photo_id, content, [], set()))
            photo.parts.append((index, entry.key))
            photo.splits |= entry.splits
    return [photo for copies in found.values() for photo in copies.values()], problems


def _find_leaks(photos):
    """Photos of train that are held out in any data set: by the id before `@`, or by their bytes."""
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


def _base(photo):
    """Id of a photo of COCO without the size of a copy; a team's own ids are taken as they are."""
    return photo.photo_id.split("@")[0] if photo.photo_id.startswith("coco:") else photo.photo_id


def _shards(photos, photos_per_shard):
    """Groups photos by their set of splits, so that a reader of one split opens few shards of others."""
    groups = {}
    for photo in photos:
        groups.setdefault(tuple(sorted(photo.splits)), []).append(photo)
    shards, names = [], set()
    for splits in sorted(groups):
        group = groups[splits]
        name = re.sub(r"[^0-9A-Za-z_+]+", "_", "-".join(splits))
        name = name if name not in names else f"{name}_{len(names)}"
        names.add(name)
        starts = range(0, len(group), photos_per_shard)
        for number, start in enumerate(starts):
            file = f"{name}-{number:05d}-of-{len(starts):05d}.tfrecord"
            shards.append(PlannedShard(file, splits, tuple(group[start : start + photos_per_shard])))
    return tuple(shards)


def _digest(config, sources, photos, problems):
    """Digest of everything that decides the bytes; the place of the root does not."""
    values = config.data.model_dump(mode="json", exclude={"root", "check"})
    total = hashlib.sha256()
    for part in (
        FORMAT,
        values,
        config.data.check.on_leak,
        config.model.max_tokens,
        [file_digests(source) for source in sources],
    ):
        total.update(json.dumps(part, sort_keys=True).encode() + b"\n")
    for photo in photos:
        total.update(f"{photo.photo_id} {photo.digest} {photo.without} {photo.parts}\n".encode())
    total.update(json.dumps([problem["kind"] for problem in problems]).encode())
    return total.hexdigest()
