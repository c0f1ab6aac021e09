"""A year of nights: new photos write new shards alone, unchanged ones are not read, held-out splits do not change."""

import json
import os
import shutil

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from lts_keras.config.read import parse_config
from lts_keras.data.checks.check import read_report
from lts_keras.data.prepare import code, records, shards, write
from lts_keras.data.prepare import prepare as prepare_module
from lts_keras.data.prepare.fingerprints import Fingerprints
from lts_keras.data.prepare.plan import PlannedPhoto
from lts_keras.data.prepare.prepare import prepare
from lts_keras.data.schema import DataError
from lts_keras.data.sources.manifest import ManifestSource
from tests.conftest import ROOT, run_python
from tests.lts_keras.data import data_trees
from tests.lts_keras.data.data_trees import contents


def write_photos(root, numbers, split="train", manifest="own.jsonl"):
    """Adds lines to a manifest, and their photos, which are an hour old."""
    with open(root / manifest, "a") as file:
        for number in numbers:
            path = root / f"{number}.jpg"
            path.write_bytes(data_trees.jpeg(number, (40, 60)))
            os.utime(path, (os.path.getmtime(path) - 3600,) * 2)
            item = {"expressions": [f"thing number {number}"], "box": [1, 1, 20, 20 + number % 10]}
            file.write(json.dumps({"image": path.name, "split": split, "objects": [item]}) + "\n")


def configuration(root, *manifests, **further):
    sources = [{"kind": "manifest", "name": "own", "file": name} for name in manifests or ("own.jsonl",)]
    check = {"max_unknown_words": 1.0}
    data = {"root": str(root), "sources": sources, "photos_per_shard": 4, "check": check, **further}
    return parse_config({"data": data})


def shard_files(data_dir):
    """Inode of every shard by name."""
    return {path.name: path.stat().st_ino for path in data_dir.glob("*.tfrecord")}


def photo_ids(data_dir, splits=None):
    found = [
        records.parse_record(serialized)["photo_id"].numpy().decode()
        for path in records.find_shards(data_dir, splits)
        for serialized in records.read_records(path)
    ]
    assert len(set(found)) == len(found)
    return set(found)


@pytest.fixture
def root(tmp_path):
    """Six photos of train, two of val."""
    folder = tmp_path / "photos"
    folder.mkdir()
    write_photos(folder, range(6))
    write_photos(folder, (6, 7), "val")
    return folder


@pytest.mark.parametrize("where", ["own.jsonl", "second.jsonl"])
def test_new_photos_write_new_shards_alone(root, tmp_path, where, monkeypatch):
    before = shard_files(prepare(configuration(root), tmp_path))
    write_photos(root, range(10, 15), manifest=where)
    gathered, gather = [], write.gather
    monkeypatch.setattr(write, "gather", lambda *args: gathered.append(args[1].file) or gather(*args))
    data_dir = prepare(configuration(root, "own.jsonl", *({where} - {"own.jsonl"})), tmp_path)
    after = shard_files(data_dir)
    assert before.items() <= after.items()
    assert len(photo_ids(data_dir)) == 13
    new = {
        name: json.loads(shards.part_path(data_dir, name).read_text())["photo_ids"] for name in after.keys() - before
    }
    assert sorted(sum(new.values(), [])) == [f"own:{number}.jpg" for number in range(10, 15)]
    assert set(gathered) == new.keys()  # no old photo was counted anew
    words = (data_dir / "vocabulary.txt").read_text().split()
    assert {"0", "5", "10", "14"} <= set(words)


def test_a_changed_object_writes_its_shard_alone(root, tmp_path):
    before = shard_files(prepare(configuration(root), tmp_path))
    lines = (root / "own.jsonl").read_text().splitlines()
    (root / "own.jsonl").write_text("\n".join([lines[0].replace("thing", "item"), *lines[1:]]) + "\n")
    data_dir = prepare(configuration(root), tmp_path)
    after = shard_files(data_dir)
    assert len(after.keys() - before) == 1 and len(before.keys() - after) == 1
    assert "item" in (data_dir / "vocabulary.txt").read_text().split()


def test_a_stopped_night_costs_the_next_one_nothing(root, tmp_path):
    before = shard_files(prepare(configuration(root), tmp_path))
    write_photos(root, [20])
    (root / "20.jpg").write_bytes(b"no photo")
    with pytest.raises(DataError, match="unreadable photos: 1 of 9"):
        prepare(configuration(root), tmp_path)
    with pytest.raises(DataError, match="run `lts prepare` first"):
        records.find_shards(tmp_path / "data")
    (root / "20.jpg").write_bytes(data_trees.jpeg(20, (40, 60)))
    data_dir = prepare(configuration(root), tmp_path)
    assert before.items() <= shard_files(data_dir).items() and "own:20.jpg" in photo_ids(data_dir)


@hypothesis.given(nights=st.lists(st.integers(0, 9), min_size=1, max_size=40), removed=st.sets(st.integers(0, 60)))
def test_every_photo_stands_in_one_shard_whatever_came_when(nights, removed):
    photos, previous = [], []
    for count in nights:
        photos += [
            PlannedPhoto(
                f"id{len(photos) + place}", "d", 1, [], {("train", "val")[(len(photos) + place) % 5 == 0]: ["x"]}
            )
            for place in range(count)
        ]
        planned = shards.assign(photos, 4, previous)
        kept = {(one.group, one.number): one.photo_ids for one in previous}
        previous = [
            shards.PreviousShard(
                shard.splits[0], int(shard.file.split("-")[1]), tuple(p.photo_id for p in shard.photos)
            )
            for shard in planned
        ]
        now = {(one.group, one.number): one.photo_ids for one in previous}
        # A full shard is never touched again.
        assert all(now[place] == ids for place, ids in kept.items() if len(ids) == 4)
        assert len({shard.file for shard in planned}) == len(planned)
    rest = [photo for photo in photos if int(photo.photo_id[2:]) not in removed]
    for photos_now in (photos, rest):
        planned = shards.assign(photos_now, 4, previous)
        placed = [photo.photo_id for shard in planned for photo in shard.photos]
        assert sorted(placed) == sorted(photo.photo_id for photo in photos_now)
        assert all(0 < len(shard.photos) <= 4 for shard in planned)
    assert len(previous) <= len(photos) / 4 + 2 * (shards._MOST_SMALL + 2)


def test_unchanged_photos_are_not_read_again(root, tmp_path, monkeypatch, capsys):
    prepare(configuration(root), tmp_path)
    monkeypatch.setattr(ManifestSource, "image_bytes", None)
    prepare(configuration(root), tmp_path)
    assert "up to date" in capsys.readouterr().out


def test_verify_reads_what_kept_its_size_and_time(root, tmp_path):
    path = root / "0.jpg"
    data_dir = prepare(configuration(root), tmp_path)
    stamp = path.stat()
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    plan = records.read_manifest(prepare(configuration(root), tmp_path))["plan"]
    prepare(configuration(root), tmp_path, verify=True)
    assert records.read_manifest(data_dir)["plan"] != plan
    # A time that moves is seen without.
    content[-3] ^= 1
    path.write_bytes(content)
    assert records.read_manifest(prepare(configuration(root), tmp_path))["plan"] == plan


def test_a_damaged_shard_is_seen_by_verify_whatever_its_time(root, tmp_path):
    data_dir = prepare(configuration(root), tmp_path)
    for path in data_dir.glob("*.tfrecord"):
        os.utime(path, (os.path.getmtime(path) - 3600,) * 2)
    prepare(configuration(root), tmp_path)
    path = next(data_dir.glob("train-*.tfrecord"))
    whole, stamp = path.read_bytes(), path.stat()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    prepare(configuration(root), tmp_path, verify=True)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("name", ["nowhere.png", "folder"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=f"{name}: cannot read the file: "):
        Fingerprints(tmp_path / "none").digest(tmp_path / name)


def test_the_remembered_files_do_not_grow(root, tmp_path):
    remembered = tmp_path / ".fingerprints.json"
    for number in range(3):
        write_photos(root, [30 + number], manifest="late.jsonl")
        prepare(configuration(root, "own.jsonl", "late.jsonl"), tmp_path)
        (root / "late.jsonl").unlink()
        (root / f"{30 + number}.jpg").unlink()
    names = [name for name in json.loads(remembered.read_text())["files"] if name.endswith("photo ")]
    assert len(names) == 9
    remembered.write_text("{")
    prepare(configuration(root), tmp_path)
    assert len(photo_ids(tmp_path / "data")) == 8


def change_val(root, change):
    lines = (root / "own.jsonl").read_text().splitlines()
    if change == "gone":
        del lines[7]
    elif change == "new":
        write_photos(root, [40], "val", "more.jsonl")
        lines += (root / "more.jsonl").read_text().splitlines()
    elif change == "sentence":
        lines[7] = lines[7].replace("thing", "item")
    elif change == "box":
        lines[7] = lines[7].replace("27", "28")
    elif change == "pixels":
        (root / "7.jpg").write_bytes(data_trees.jpeg(41, (40, 60)))
    (root / "own.jsonl").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("gone", r"1 photo gone \(first: own:7.jpg\)"),
        ("new", r"1 photo new \(first: own:40.jpg\)"),
        ("sentence", r"1 photo changed \(first: own:7.jpg\)"),
        ("box", r"1 photo changed \(first: own:7.jpg\)"),
        ("pixels", r"1 photo changed \(first: own:7.jpg\)"),
    ],
)
def test_a_run_that_would_change_a_frozen_split_stops(root, tmp_path, change, words):
    config = configuration(root, freeze=["val"])
    before = contents(prepare(config, tmp_path))
    write_photos(root, [50])
    shutil.copytree(root, tmp_path / "good")
    change_val(root, change)
    with pytest.raises(DataError, match=f"data.freeze: split val would change: {words}; undo that, or delete .*frozen"):
        prepare(config, tmp_path)
    assert contents(tmp_path / "data") == before
    # More photos of train, and another place, change nothing.
    data_dir = prepare(configuration(tmp_path / "good", freeze=["val"]), tmp_path)
    assert photo_ids(data_dir, ["val"]) == {"own:6.jpg", "own:7.jpg"} and "own:50.jpg" in photo_ids(data_dir)
    (tmp_path / "frozen.json").unlink()
    assert photo_ids(prepare(config, tmp_path))


def test_data_that_stops_a_later_stage_is_not_frozen(root, tmp_path):
    shutil.copy(root / "0.jpg", root / "8.jpg")
    with open(root / "own.jsonl", "a") as file:
        item = {"expressions": ["thing"], "box": [1, 1, 20, 20]}
        file.write(json.dumps({"image": "8.jpg", "split": "val", "objects": [item]}) + "\n")
    data_dir = prepare(configuration(root, freeze=["val"]), tmp_path, stop=False)
    assert "by content" in read_report(data_dir)["stops"][0] and not (tmp_path / "frozen.json").exists()
    change_val(root, "gone")
    lines = (root / "own.jsonl").read_text().splitlines()
    (root / "own.jsonl").write_text("\n".join(line for line in lines if "8.jpg" not in line) + "\n")
    prepare(configuration(root, freeze=["val"]), tmp_path, stop=False)
    assert list(json.loads((tmp_path / "frozen.json").read_text())["val"]) == ["own:6.jpg"]


def test_a_frozen_split_must_be_there(root, tmp_path):
    with pytest.raises(DataError, match="data.freeze: the data has the splits train, val. Received: vall"):
        prepare(configuration(root, freeze=["vall"]), tmp_path)
    (tmp_path / "frozen.json").write_text("[]")
    with pytest.raises(DataError, match=r"frozen.json: not a file of frozen splits"):
        prepare(configuration(root, freeze=["val"]), tmp_path)


def test_prepared_data_is_shared_and_never_written(root, tmp_path, capsys):
    made = prepare(configuration(root), tmp_path / "first")
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    for number, place in enumerate((tmp_path / "first", made)):
        workdir = tmp_path / f"run{number}"
        config = configuration(root, prepared=str(place))
        assert prepare(config, workdir) == made
        assert (workdir / "data" / "manifest.json").samefile(made / "manifest.json")
        assert "writes none" in capsys.readouterr().out
    # Preparing there without it takes the link away, and leaves what it pointed to.
    assert prepare(configuration(root), tmp_path / "run0") == tmp_path / "run0" / "data"
    assert not (tmp_path / "run0" / "data").is_symlink()
    assert before == {path: path.stat().st_mtime_ns for path in made.rglob("*")}


def test_prepared_data_of_other_sources_is_refused(root, tmp_path):
    prepare(configuration(root), tmp_path / "first")
    place = str(tmp_path / "first")
    with pytest.raises(DataError, match=r"sources\[0\].file was 'own.jsonl'. Received: 'b.jsonl'"):
        prepare(configuration(root, "b.jsonl", prepared=place), tmp_path / "run")
    with pytest.raises(DataError, match="made from 1 sources. Received: 2"):
        prepare(configuration(root, "own.jsonl", "b.jsonl", prepared=place), tmp_path / "run")
    with pytest.raises(DataError, match="vocabulary_min_count: 1. Received: 2"):
        prepare(configuration(root, prepared=place, vocabulary_min_count=2), tmp_path / "run")
    with pytest.raises(DataError, match="data.prepared: .*nowhere: no prepared data there"):
        prepare(configuration(root, prepared=str(tmp_path / "nowhere")), tmp_path / "run")
    # Without sources of its own the configuration takes what is there.
    assert prepare(parse_config({"data": {"prepared": place}}), tmp_path / "run")
    prepare(configuration(root), tmp_path / "own")
    with pytest.raises(DataError, match="holds data of its own"):
        prepare(configuration(root, prepared=place), tmp_path / "own")


@pytest.mark.parametrize(
    ("file", "old", "new", "made_again"),
    [
        ("text.py", "def split_words(", "# Words.\ndef split_words(", False),
        ("text.py", '"""Splits expressions into', '"""Cuts expressions into', False),
        ("text.py", "_BATCH = ", "_BATCH = 1 + ", True),
        ("sources/manifest.py", "< 5", "< 6", True),
        ("input/augment.py", "import", "import os\nimport", False),
        ("checks/mask_findings.py", "import", "import os\nimport", False),
    ],
)
def test_records_are_made_again_when_their_code_changes_and_only_then(
    root, tmp_path, monkeypatch, file, old, new, made_again
):
    copy = shutil.copytree(code._DATA, tmp_path / "data_package")
    monkeypatch.setattr(code, "_DATA", copy)
    code._digest.cache_clear()
    try:
        before = shard_files(prepare(configuration(root), tmp_path))
        text = (copy / file).read_text()
        assert old in text
        (copy / file).write_text(text.replace(old, new, 1))
        code._digest.cache_clear()
        after = shard_files(prepare(configuration(root), tmp_path))
    finally:
        code._digest.cache_clear()
    assert (before != after) == made_again


def test_counts_are_made_again_when_their_code_changes_and_shards_stay(root, tmp_path, monkeypatch):
    before = shard_files(prepare(configuration(root), tmp_path))
    monkeypatch.setattr(write, "count_code", lambda: "other")
    monkeypatch.setattr(prepare_module, "_is_done", lambda *_: False)
    gathered, gather = [], write.gather
    monkeypatch.setattr(write, "gather", lambda *args: gathered.append(args[1].file) or gather(*args))
    data_dir = prepare(configuration(root), tmp_path)
    assert shard_files(data_dir) == before and sorted(gathered) == sorted(before)
    assert len(photo_ids(data_dir)) == 8
    gathered.clear()
    prepare(configuration(root), tmp_path)
    assert not gathered


def test_the_manifest_says_which_code_wrote_it(root, tmp_path):
    manifest = records.read_manifest(prepare(configuration(root), tmp_path))
    assert manifest["format"] == records.FORMAT
    assert manifest["code"] == {"records": code.record_code(), "text": code.text_code()}


def test_shards_are_linked_and_not_copied(root, tmp_path, monkeypatch):
    """Where the file system has no links, they are copied: the data is the same."""
    expected = contents(prepare(configuration(root), tmp_path))
    write_photos(root, [60])
    monkeypatch.setattr(write.os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    found = contents(prepare(configuration(root), tmp_path))
    assert all(found[name] == content for name, content in expected.items() if name.endswith(".tfrecord"))


def test_times_within_the_grain_of_the_clock_are_not_trusted(root, tmp_path):
    path = root / "0.jpg"
    path.write_bytes(data_trees.jpeg(0, (40, 60)))  # just now
    before = records.read_manifest(prepare(configuration(root), tmp_path))["plan"]
    stamp = path.stat()
    changed = np.frombuffer(path.read_bytes(), "uint8").copy()
    changed[-3] ^= 1
    path.write_bytes(changed.tobytes())
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert records.read_manifest(prepare(configuration(root), tmp_path))["plan"] != before


def test_the_command_of_the_page(root, tmp_path):
    (line,) = [line for line in (ROOT / "docs/data.md").read_text().splitlines() if "data.prepared=runs" in line]
    prepare(configuration(root), tmp_path / "refcoco")
    (tmp_path / "own.yaml").write_text("data: {sources: [{kind: manifest, name: own, file: own.jsonl}]}")
    words = line.replace("configs/table5_filters_2.yaml", str(tmp_path / "own.yaml"))
    words = words.replace("runs/", f"{tmp_path}/").replace("=/data", f"={root}").split()
    assert words[0] == "lts"
    done = run_python("-m", "lts_keras.commands.cli", *words[1:])
    assert done.returncode == 0 and "writes none" in done.stdout, done.stderr
