"""Which photo stands in which shard; whole shards of a run before are kept, so that new photos make new shards."""

import dataclasses
import hashlib
import json
import re
from pathlib import Path

from lts_keras.data.prepare.code import record_code
from lts_keras.data.prepare.records import FORMAT, MANIFEST_FILE

__all__ = ["PARTS_FOLDER", "STOPPED_FILE", "PlannedShard", "PreviousShard", "assign", "part_path", "read_previous"]

PARTS_FOLDER = "parts"
"""What was counted of each shard, beside the shards."""
STOPPED_FILE = "manifest.stopped.json"
"""The manifest of data that a stopped run took out of use."""
_LONGEST_NAME = 100
_MOST_SMALL = 16
"""Shards of one set of splits that may be less than half full, before they are joined."""


@dataclasses.dataclass(frozen=True)
class PlannedShard:
    """A file and its photos; equal digests are equal bytes."""

    file: str
    splits: tuple[str, ...]
    photos: tuple
    digest: str


@dataclasses.dataclass(frozen=True)
class PreviousShard:
    """A shard of the run before: its group, number, and the ids of its photos."""

    group: str
    number: int
    photo_ids: tuple[str, ...]


def part_path(folder, file):
    """Path of what was counted of a shard."""
    return Path(folder) / PARTS_FOLDER / f"{file}.json"


def read_previous(data_dir, photos_per_shard):
    """Shards of prepared data, as a list of `PreviousShard`; empty where there is none, or with shards of another size.

    Nothing is trusted but which photos stood together: a shard is used again only if its digest is the same.
    """
    for name in (MANIFEST_FILE, STOPPED_FILE):
        try:
            manifest = json.loads((Path(data_dir) / name).read_text(encoding="utf-8"))
            if manifest["format"] != FORMAT or manifest["photos_per_shard"] != photos_per_shard:
                return []
            return [_previous(data_dir, shard["file"]) for shard in manifest["shards"]]
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return []
    return []


def _previous(data_dir, file):
    part = json.loads(part_path(data_dir, file).read_text(encoding="utf-8"))
    group, number, _ = re.fullmatch(r"(.+)-(\d+)-([0-9a-f]+)\.tfrecord", file).groups()
    return PreviousShard(group, int(number), tuple(part["photo_ids"]))


def assign(photos, photos_per_shard, previous=()):
    """Groups photos by their set of splits, so that a reader of one split opens few shards of others.

    Args:
        photos: list of `PlannedPhoto`, in the order of the sources.
        photos_per_shard: int.
        previous: list of `PreviousShard`. One whose photos are all there, in the same splits, stays together; the other
            photos fill new shards.

    Returns:
        Tuple of `PlannedShard`, by group and number.
    """
    groups, names = {}, {}
    for photo in photos:
        groups.setdefault(tuple(sorted(photo.splits)), []).append(photo)
    for splits in sorted(groups):
        # File systems take names of 255 bytes.
        name = re.sub(r"[^0-9A-Za-z_+]+", "_", "-".join(splits))[:_LONGEST_NAME]
        names[splits] = name if name not in names.values() else f"{name}_{len(names)}"
    found = []
    for splits, group in sorted(groups.items()):
        kept = _kept([shard for shard in previous if shard.group == names[splits]], group, photos_per_shard)
        used = {photo_id for ids in kept.values() for photo_id in ids}
        by_id, rest = {photo.photo_id: photo for photo in group}, [one for one in group if one.photo_id not in used]
        numbered = {number: [by_id[photo_id] for photo_id in ids] for number, ids in kept.items()}
        start = max(kept, default=-1) + 1
        for number, first in enumerate(range(0, len(rest), photos_per_shard), start):
            numbered[number] = rest[first : first + photos_per_shard]
        found += [_shard(names[splits], number, splits, numbered[number]) for number in sorted(numbered)]
    return tuple(found)


def _kept(previous, group, photos_per_shard):
    """Dict, number -> photo ids, of the shards that stay together; many small ones do not."""
    known = {photo.photo_id for photo in group}
    kept = {shard.number: shard.photo_ids for shard in previous if known.issuperset(shard.photo_ids)}
    small = [number for number, ids in kept.items() if len(ids) < photos_per_shard / 2]
    return {number: ids for number, ids in kept.items() if len(small) <= _MOST_SMALL or number not in small}


def _shard(name, number, splits, photos):
    total = hashlib.sha256(record_code().encode())
    for photo in photos:
        of_objects = (photo.without, sorted(photo.object_digests.items()), photo.annotated)
        total.update(repr((photo.photo_id, photo.digest, photo.orientation, *of_objects)).encode())
    digest = total.hexdigest()
    return PlannedShard(f"{name}-{number:05d}-{digest[:12]}.tfrecord", splits, tuple(photos), digest)
