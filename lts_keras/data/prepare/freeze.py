"""Splits that must stay as they are: `data.freeze`."""

import hashlib
import json
from pathlib import Path

from lts_keras.data.schema import DataError
from lts_keras.utils.files import atomic_write

__all__ = ["FROZEN_FILE", "check_frozen", "freeze"]

FROZEN_FILE = "frozen.json"


def check_frozen(splits, plan, workdir):
    """Compares splits with what they were when they were frozen.

    What counts is what a photo holds and what is said of it: bytes, frame, refs, expressions, outlines, boxes. Where
    the photo lies does not.

    Args:
        splits: list of str, `data.freeze`.
        plan: `Plan`.
        workdir: work directory.

    Raises:
        DataError: a split would change, is not there, or the file of frozen splits cannot be read.
    """
    path, known = Path(workdir) / FROZEN_FILE, _photos_of_splits(plan)
    old = _read(path)
    for split in splits:
        if split not in known:
            raise DataError(f"data.freeze: the data has the splits {', '.join(sorted(known))}. Received: {split}")
        now = known[split]
        before = old.get(split, now)
        if sorted(before.values()) != sorted(now.values()):
            raise DataError(
                f"data.freeze: split {split} would change: {_difference(before, now)}; undo that, or delete {path} to "
                "freeze it anew (metrics on it cannot be compared with the ones before)"
            )


def freeze(splits, plan, workdir):
    """Writes down the splits of `data.freeze` that were not frozen before."""
    path, known = Path(workdir) / FROZEN_FILE, _photos_of_splits(plan)
    old = _read(path)
    new = {split: known[split] for split in splits if split not in old}
    if new:
        atomic_write(path, json.dumps(old | new, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def _photos_of_splits(plan):
    """Dict, split -> dict, photo id -> digest of the photo and of its objects of that split."""
    found = {}
    for photo in (photo for shard in plan.shards for photo in shard.photos):
        for split in photo.splits:
            facts = (photo.digest, photo.orientation, photo.object_digests[split])
            found.setdefault(split, {})[photo.photo_id] = hashlib.sha256(repr(facts).encode()).hexdigest()
    return found


def _read(path):
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(photos, dict) for photos in content.values()):
            raise ValueError("no photos by split")
        return content
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: not a file of frozen splits; restore or delete it") from error


def _difference(before, now):
    gone, new = sorted(before.keys() - now.keys()), sorted(now.keys() - before.keys())
    changed = sorted(name for name in before.keys() & now.keys() if before[name] != now[name])
    parts = [
        f"{len(names)} photo{'s' if len(names) > 1 else ''} {word} (first: {names[0]})"
        for word, names in (("gone", gone), ("new", new), ("changed", changed))
        if names
    ]
    return ", ".join(parts)
