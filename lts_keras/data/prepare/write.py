"""Writes one shard: photos read, counted and serialised one at a time; a shard that is there is not written again."""

import dataclasses
import json
import os
import shutil
import uuid
from pathlib import Path

import tensorflow as tf

from lts_keras.data.checks.statistics import Statistics
from lts_keras.data.prepare import records
from lts_keras.data.prepare.code import count_code
from lts_keras.data.prepare.read import REASON_OF, read_planned
from lts_keras.data.prepare.shards import part_path
from lts_keras.data.prepare.split_counts import SplitCounts
from lts_keras.data.sources import PhotoError
from lts_keras.utils.files import atomic_write, digest

__all__ = ["gather", "write_shard"]


def write_shard(sources, shard, folder, data_dir=None):
    """Writes one shard and, after it, what was counted; a shard that is there already is not written again.

    Args:
        sources: open sources of the plan.
        shard: `PlannedShard`.
        folder: where the files go; it belongs to this plan alone.
        data_dir: folder of the data of the run before, whose shard is taken over if it is the same one, or `None`.

    Returns:
        Dict with the shard's entry of the manifest and its `statistics`.
    """
    path = Path(folder) / shard.file
    if (part := _whole_part(folder, shard)) is not None:
        return _counted(part, sources, shard, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    if data_dir is not None and (part := _whole_part(data_dir, shard, verify=True)) is not None:
        if part["photos"]:
            _link(Path(data_dir) / shard.file, path)
        return _counted(part, sources, shard, folder)
    aside = path.with_name(f".{shard.file}.{uuid.uuid4().hex[:8]}")
    try:
        with tf.io.TFRecordWriter(str(aside)) as writer:
            part = gather(sources, shard, writer.write)
        part |= {"digest": shard.digest, "photo_ids": [planned.photo_id for planned in shard.photos]}
        part["code"] = count_code()
        if part["photos"]:
            part |= {"sha256": digest(aside), "bytes": aside.stat().st_size}
            os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    return _keep(part, folder, shard)


def _keep(part, folder, shard):
    atomic_write(part_path(folder, shard.file), json.dumps(part, ensure_ascii=False))
    return part


def _counted(part, sources, shard, folder):
    """The counts of a shard that need not be written again, counted anew where other code made them."""
    if part.get("code") != count_code():
        part = part | gather(sources, shard) | {"code": count_code()}
    return _keep(part, folder, shard)


def _whole_part(folder, shard, verify=False):
    """What was counted of a shard that lies in a folder as it should, or `None`."""
    try:
        part, path = json.loads(part_path(folder, shard.file).read_text(encoding="utf-8")), Path(folder) / shard.file
        whole = not part["photos"] or path.stat().st_size == part["bytes"]
        whole = whole and (not verify or not part["photos"] or digest(path) == part["sha256"])
        return part if whole and part["digest"] == shard.digest else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _link(source, target):
    """Gives a file a second name; copies it where the file system has none."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        aside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        shutil.copyfile(source, aside)
        os.replace(aside, target)


def gather(sources, shard, write=None):
    """Reads, counts and serialises the photos of a shard, one at a time."""
    statistics, num_photos, splits, samples = Statistics(), 0, set(), SplitCounts()
    for planned in shard.photos:
        try:
            photo = read_planned(sources, planned, statistics)
        except PhotoError as error:
            statistics.note(error.kind, str(error), planned.photo_id)
            statistics.leave_out(REASON_OF[error.kind], str(error), planned.num_objects)
            continue
        objects = statistics.add(photo)
        if objects:
            num_photos += 1
            splits |= {item.split for item in objects}
            samples.add((item.split, len(item.expressions)) for item in objects)
            if write:
                write(records.make_record(dataclasses.replace(photo, objects=objects)))
    counted = statistics.to_json()
    totals = {key: sum(one[key] for one in counted["slices"].values()) for key in ("refs", "expressions")}
    return {
        "file": shard.file,
        "photos": num_photos,
        "splits": sorted(splits),
        **totals,
        "slices": {
            name: {key: one[key] for key in ("photos", "refs", "expressions")}
            for name, one in sorted(counted["slices"].items())
        },
        "samples": samples.to_json(),
        "statistics": counted,
    }
