"""Sources to sharded records: bounded memory, resumed where it was killed, the same bytes for the same input."""

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from pathlib import Path

from lts_keras.data.checks import check
from lts_keras.data.prepare import records
from lts_keras.data.prepare.code import check_code, record_code, text_code
from lts_keras.data.prepare.fingerprints import Fingerprints
from lts_keras.data.prepare.folder import data_folder, described_data
from lts_keras.data.prepare.freeze import FROZEN_FILE, check_frozen, freeze
from lts_keras.data.prepare.plan import make_plan
from lts_keras.data.prepare.shards import PARTS_FOLDER, STOPPED_FILE, read_previous
from lts_keras.data.prepare.write import gather, write_shard
from lts_keras.data.schema import DataError
from lts_keras.data.sources import source_files
from lts_keras.data.text import write_vocabulary
from lts_keras.utils.files import atomic_folder, digest, replace_folder
from lts_keras.utils.workdir import lock

__all__ = ["prepare"]

_DAY = 24 * 3600
_FINGERPRINTS = ".fingerprints.json"
_OF_PART = ("statistics", "photo_ids", "digest", "code")
"""What is kept beside a shard and not in the manifest."""


def prepare(config, workdir, check_only=False, stop=True, write_shards=None, verify=False):
    """Reads all sources, checks them and writes `<workdir>/data`.

    Shards are kept in a folder of their own until all are there, so a run that was killed goes on where it was; the
    folder's name is the digest of configuration, annotations and photos, so other input never continues it. A shard
    whose photos and annotations are those of the run before is taken over; new photos fill new shards. Files whose size
    and time are those of the run before are not read again.

    Where `data.prepared` is given, the data there is checked, and `<workdir>/data` becomes a link to it.

    Args:
        config: `Config`.
        workdir: work directory.
        check_only: reads and checks everything and writes the report alone.
        stop: whether a finding beyond the thresholds of `data.check` is an error; else the data is written and the
            report says so.
        write_shards: function of (plan, folder) that writes all shards and yields what `write_shard` gives, in order;
            one after the other in this process if `None`. `lts_keras.data.prepare.beam` has another one.
        verify: whether every file is read and every shard's digest compared, whatever its size and time.

    Returns:
        `Path` of the data folder.

    Raises:
        DataError: a source cannot be read, a split of `data.freeze` would change, or the checks found too much. No data
            is left then that a later stage would take for good.
    """
    data_dir = Path(workdir) / "data"
    with lock(Path(workdir) / ".prepare.lock", wait_seconds=_DAY):
        if config.data.prepared is not None:
            return _use_prepared(config, data_dir, stop, verify)
        if data_dir.is_symlink():
            data_dir.unlink()  # What was prepared elsewhere stays as it is.
        print("prepare: reads the annotations and the photos' digests", flush=True)
        fingerprints = Fingerprints(Path(workdir) / _FINGERPRINTS, verify)
        outcome = fingerprints.outcome(_key(config, workdir))
        if not check_only and _is_done(data_dir, outcome, config, fingerprints):
            print(f"prepare: no file has changed; {data_dir} is up to date")
            fingerprints.save(_key(config, workdir), outcome)
            return _judged(config, data_dir, stop)
        plan = make_plan(config, fingerprints, read_previous(data_dir, config.data.photos_per_shard))
        fingerprints.save()  # A run that is killed does not look at every photo again.
        for line in (line for source in plan.sources for line in source.said):
            print(f"prepare: {line}")
        check_frozen(config.data.freeze, plan, workdir)
        if not check_only and _is_done(data_dir, plan.digest, config, fingerprints):
            print(f"prepare: {data_dir} is up to date")
        else:
            _prepare(config, plan, data_dir, check_only, stop, write_shards or _write_shards)
        if (data_dir / records.MANIFEST_FILE).is_file() and not check.read_report(data_dir)["stops"]:
            freeze(config.data.freeze, plan, workdir)
        fingerprints.save(_key(config, workdir), plan.digest)
    return _judged(config, data_dir, stop)


def _judged(config, data_dir, stop):
    """Tells what was found in the data; raises `DataError` where that stops the run."""
    report = check.read_report(data_dir)
    for line in report["warnings"]:
        print(f"prepare: {line}")
    if stop:
        check.raise_if_stopped(report, data_dir)
    check.raise_if_empty(report, data_dir)
    return data_dir


def _use_prepared(config, link, stop, verify):
    data_dir = data_folder(config, link.parent)
    report = check.read_report(data_dir)
    print(f"prepare: uses the data in {data_dir}, and writes none")
    (records.verify_shards if verify else records.find_shards)(data_dir)
    if link.exists() and not link.is_symlink() and not os.path.samefile(link, data_dir):
        raise DataError(f"{link}: holds data of its own; data.prepared needs a work directory without")
    if not link.exists() or not os.path.samefile(link, data_dir):
        aside = link.with_name(f".{link.name}.{uuid.uuid4().hex[:8]}")
        aside.symlink_to(data_dir.resolve(), target_is_directory=True)
        os.replace(aside, link)
    if stop:
        check.raise_if_stopped(report, data_dir)
    return data_dir


def _prepare(config, plan, data_dir, check_only, stop, write_shards):
    staging = data_dir.parent / f".data-{plan.digest[:16]}"
    _remove_old(data_dir.parent, staging)
    started, parts = time.monotonic(), []
    for part in _count_shards(plan) if check_only else write_shards(plan, staging, data_dir):
        parts.append(part)
        seconds = time.monotonic() - started
        print(f"prepare: shard {len(parts)} of {len(plan.shards)}: {part['file']} ({seconds:.0f} s)", flush=True)
    report, vocabulary = check.make_report(config, plan, [part["statistics"] for part in parts])
    if check_only or (stop and report["stops"]) or not report["objects"]["kept"]:
        with atomic_folder(data_dir / "check") as folder:
            check.write_report(folder, report, config, plan)
        if not check_only:
            # The folder's last good data belongs to other input: without a manifest nobody trains on it by mistake.
            # Under its other name the next run still finds the shards that it can take over.
            with contextlib.suppress(FileNotFoundError):
                os.replace(data_dir / records.MANIFEST_FILE, data_dir / STOPPED_FILE)
        return
    check.write_report(staging / "check", report, config, plan)
    write_vocabulary(staging / "vocabulary.txt", vocabulary)
    _write_manifest(config, plan, staging, [part for part in parts if part["photos"]])
    for path in (*staging.glob(".*"), *(staging / PARTS_FOLDER).glob(".*")):
        path.unlink()  # What a killed run was writing.
    replace_folder(staging, data_dir)


def _count_shards(plan):
    """Reads all photos and writes nothing."""
    return (gather(plan.sources, shard) for shard in plan.shards)


def _write_shards(plan, folder, data_dir):
    return (write_shard(plan.sources, shard, folder, data_dir) for shard in plan.shards)


def _write_manifest(config, plan, staging, parts):
    shards = [{key: value for key, value in part.items() if key not in _OF_PART} for part in parts]
    words = staging / "vocabulary.txt"
    records.write_manifest(
        staging,
        shards,
        plan=plan.digest,
        code={"records": record_code(), "text": text_code()},
        data=described_data(config),
        sources=[source.name for source in plan.sources],
        vocabulary={"file": words.name, "sha256": digest(words)},
        photos_per_shard=config.data.photos_per_shard,
    )


def _key(config, workdir):
    """Digest of all but the content of the sources' files that decides a plan: equal keys and files, equal plans."""
    data, frozen = config.data, Path(workdir) / FROZEN_FILE
    facts = (
        record_code(),
        check_code(),
        data.model_dump(mode="json"),
        config.model.max_tokens,
        # A file that appears may take the place of another one.
        [[str(path) for path in source_files(section, data.root)] for section in data.sources],
        digest(frozen) if frozen.is_file() else None,
    )
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _is_done(data_dir, plan_digest, config, fingerprints):
    """Whether the folder holds this plan's data, whole, and judged by these thresholds."""
    try:
        if plan_digest is None or records.read_manifest(data_dir).get("plan") != plan_digest:
            return False
        records.verify_shards(data_dir, fingerprints.digest_of_output)
        return check.read_report(data_dir).get("thresholds") == config.data.check.model_dump()
    except DataError:
        return False


def _remove_old(workdir, staging):
    """Removes what killed runs on other input left a day ago or earlier."""
    for folder in workdir.glob(".data-*"):
        if folder != staging and folder.is_dir() and time.time() - folder.stat().st_mtime > _DAY:
            shutil.rmtree(folder, ignore_errors=True)
