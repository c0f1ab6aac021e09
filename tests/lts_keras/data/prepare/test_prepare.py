import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from lts_keras.config.read import parse_config
from lts_keras.data.checks.check import read_report, validate
from lts_keras.data.prepare import prepare as prepare_module
from lts_keras.data.prepare import records, write
from lts_keras.data.prepare.prepare import prepare
from lts_keras.data.schema import DataError
from lts_keras.data.text import read_vocabulary
from tests.lts_keras.data import data_trees
from tests.lts_keras.data.data_trees import contents
from tests.processes import started


@pytest.fixture
def tree(tmp_path):
    return tmp_path / "tree", data_trees.write_refer(tmp_path / "tree")


def parsed(data_dir, splits=None):
    return [
        records.parse_record(serialized)
        for path in records.find_shards(data_dir, splits)
        for serialized in records.read_records(path)
    ]


def photo_ids(data_dir, splits=None):
    return sorted(record["photo_id"].numpy().decode() for record in parsed(data_dir, splits))


def test_everything_is_written(tree, tmp_path):
    root, section = tree
    data_dir = prepare(data_trees.config(root, section), tmp_path / "work")
    assert photo_ids(data_dir) == ["coco:1", "coco:2", "coco:3", "coco:4"]
    assert photo_ids(data_dir, ["train"]) == ["coco:1", "coco:2"]
    # The words of the train split alone: "big", "cat" and others stand in val and test.
    assert " ".join(read_vocabulary(data_dir / "vocabulary.txt")) == "dog a left one parts person right the two"
    shards = records.read_manifest(data_dir)["shards"]
    assert sum(shard["refs"] for shard in shards) == 7
    assert sum(shard["expressions"] for shard in shards) == 10
    assert shards[0]["slices"] == {
        "refcoco/testA": {"photos": 1, "refs": 1, "expressions": 1},
        "refcoco/testB": {"photos": 1, "refs": 2, "expressions": 2},
    }
    validate(data_trees.config(root, section), tmp_path / "work")
    assert sorted(os.listdir(tmp_path / "work")) == [".fingerprints.json", ".prepare.lock", "data"]


def test_the_same_input_gives_the_same_bytes(tree, tmp_path):
    root, section = tree
    first = contents(prepare(data_trees.config(root, section), tmp_path / "a"))
    # Other place, other order in the folder, other times of the files.
    shutil.copytree(root, tmp_path / "copy", copy_function=shutil.copyfile)
    second = contents(prepare(data_trees.config(tmp_path / "copy", section), tmp_path / "b"))
    assert first == second


def test_a_second_run_leaves_everything_as_it_is(tree, tmp_path, capsys):
    root, section = tree
    data_dir = prepare(data_trees.config(root, section), tmp_path)
    times = {path: path.stat().st_mtime_ns for path in data_dir.rglob("*")}
    prepare(data_trees.config(root, section), tmp_path)
    assert "up to date" in capsys.readouterr().out
    assert times == {path: path.stat().st_mtime_ns for path in data_dir.rglob("*")}


@pytest.mark.parametrize("change", ["damage", "remove"])
def test_a_damaged_shard_is_made_again(tree, tmp_path, change):
    root, section = tree
    data_dir = prepare(data_trees.config(root, section), tmp_path)
    before = contents(data_dir)
    shard = next(data_dir.glob("train-*.tfrecord"))
    shard.write_bytes(shard.read_bytes()[::-1]) if change == "damage" else shard.unlink()
    assert contents(prepare(data_trees.config(root, section), tmp_path)) == before


def test_changed_input_is_prepared_anew(tree, tmp_path):
    root, section = tree
    before = contents(prepare(data_trees.config(root, section), tmp_path))
    (root / "photos" / "000000000001.jpg").write_bytes(data_trees.jpeg(7, data_trees.SIZES[1]))
    after = contents(prepare(data_trees.config(root, section), tmp_path))
    assert before["manifest.json"] != after["manifest.json"]
    # The other two shards are those of before, their names too.
    kept = [name for name in before if name.endswith(".tfrecord") and before[name] == after.get(name)]
    assert len(kept) == 2
    assert contents(prepare(data_trees.config(root, section), tmp_path / "fresh")) == after


def test_a_killed_run_goes_on_and_ends_the_same(tree, tmp_path, monkeypatch):
    root, section = tree
    config = data_trees.config(root, section)
    expected = contents(prepare(config, tmp_path / "whole"))
    written, original = [], prepare_module.write_shard

    def die_at_third(sources, shard, *folders):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(shard.file)
        return original(sources, shard, *folders)

    monkeypatch.setattr(prepare_module, "write_shard", die_at_third)
    with pytest.raises(KeyboardInterrupt):
        prepare(config, tmp_path / "work")
    assert not (tmp_path / "work" / "data").exists()
    gathered, gather = [], write.gather
    monkeypatch.setattr(prepare_module, "write_shard", original)
    monkeypatch.setattr(
        write,
        "gather",
        lambda sources, shard, write: gathered.append(shard.file) or gather(sources, shard, write),
    )
    data_dir = prepare(config, tmp_path / "work")
    assert not set(gathered) & set(written)
    assert contents(data_dir) == expected


def test_a_process_that_is_killed_leaves_nothing_that_looks_whole(tmp_path):
    script = (
        "import sys; from lts_keras.config import parse_config; from lts_keras.data.prepare.prepare import prepare; "
        "prepare(parse_config({'data': {'photos_per_shard': 8, 'sources': "
        "[{'kind': 'scenes', 'num_photos': {'train': 160, 'val': 8}}]}}), sys.argv[1])"
    )
    command = [sys.executable, "-c", script]
    until = time.monotonic() + 60
    with started([*command, tmp_path / "work"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        while not list((tmp_path / "work").glob(".data-*/parts/train-00003*.json")) and time.monotonic() < until:
            time.sleep(0.01)
    with pytest.raises(DataError, match="run `lts prepare` first"):
        records.find_shards(tmp_path / "work" / "data")
    config = {"photos_per_shard": 8, "sources": [{"kind": "scenes", "num_photos": {"train": 160, "val": 8}}]}
    config = parse_config({"data": config})
    assert contents(prepare(config, tmp_path / "work")) == contents(prepare(config, tmp_path / "other"))


def test_two_runs_at_once_do_no_harm(tmp_path, capsys):
    config = parse_config({"data": {"sources": [{"kind": "scenes", "num_photos": {"train": 20}}]}})
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(prepare, config, tmp_path) for _ in range(2)]
    assert [run.result() for run in runs] == [tmp_path / "data"] * 2
    assert capsys.readouterr().out.count("up to date") == 1
    records.verify_shards(tmp_path / "data")


def test_a_photo_of_several_data_sets_is_one_record(tree, tmp_path):
    root, section = tree
    other = data_trees.write_refer(root, "refcoco+")
    data_dir = prepare(data_trees.config(root, section, other), tmp_path)
    assert photo_ids(data_dir) == ["coco:1", "coco:2", "coco:3", "coco:4"]
    record = next(record for record in parsed(data_dir) if record["photo_id"].numpy() == b"coco:1")
    assert [name.decode() for name in record["dataset"].numpy()] == ["refcoco", "refcoco", "refcoco+", "refcoco+"]


def boxes(root, number=3, size=(20, 20), split="train"):
    """A refs file with a box alone on a photo of COCO's id `number`, its picture squeezed to `size`."""
    folder = root / "boxes"
    folder.mkdir(exist_ok=True)
    (folder / "a.jpg").write_bytes(data_trees.jpeg(number, size))
    content = {
        "images": [{"id": number, "file_name": "a.jpg", "height": size[0], "width": size[1]}],
        "refs": [{"ref_id": 0, "split": split, "image_id": number, "bbox": [1, 2, 9, 9], "sentences": ["it"]}],
    }
    (folder / "refs.json").write_text(json.dumps(content))
    return {"kind": "coco", "name": "boxes", "refs": "boxes/refs.json", "photos": "boxes", "coco_photos": True}


def test_a_squeezed_copy_is_a_record_of_its_own(tree, tmp_path):
    root, section = tree
    data_dir = prepare(data_trees.config(root, section, boxes(root, number=1)), tmp_path)
    assert photo_ids(data_dir, ["train"]) == ["coco:1", "coco:1@20x20", "coco:2"]


def test_a_leak_by_id_stops(tree, tmp_path):
    root, section = tree
    with pytest.raises(DataError, match=r"1 photo of train .* first: coco:3@20x20 \(as coco:3, by id\).*on_leak: stop"):
        prepare(data_trees.config(root, section, boxes(root)), tmp_path)
    assert read_report(tmp_path / "data")["leaks"]["count"] == 1
    with pytest.raises(DataError, match="run `lts prepare` first"):
        records.find_shards(tmp_path / "data")


def test_a_leak_is_dropped_from_train_alone(tree, tmp_path):
    root, section = tree
    data_dir = prepare(data_trees.config(root, section, boxes(root), on_leak="drop"), tmp_path)
    assert photo_ids(data_dir) == ["coco:1", "coco:2", "coco:3", "coco:4"]
    assert "it" not in read_vocabulary(data_dir / "vocabulary.txt")


def test_a_leak_that_is_meant_is_reported_alone(tree, tmp_path, capsys):
    root, section = tree
    data_dir = prepare(data_trees.config(root, section, boxes(root), on_leak="report"), tmp_path)
    assert "coco:3@20x20" in photo_ids(data_dir, ["train"])
    assert "1 photo of train stands in a held-out split too" in capsys.readouterr().out


def test_new_thresholds_write_no_record_again(tree, tmp_path, monkeypatch):
    root, section = tree
    (root / "photos" / "000000000001.jpg").unlink()
    with pytest.raises(DataError, match="unreadable photos: 1 of 4"):
        prepare(data_trees.config(root, section), tmp_path)
    monkeypatch.setattr(write, "gather", None)
    data_dir = prepare(data_trees.config(root, section, max_unreadable_photos=0.5), tmp_path)
    assert photo_ids(data_dir) == ["coco:2", "coco:3", "coco:4"]
    monkeypatch.undo()
    with pytest.raises(DataError, match="unreadable photos: 1 of 4"):
        prepare(data_trees.config(root, section), tmp_path)


def test_a_leak_within_one_photo_keeps_its_held_out_refs(tree, tmp_path):
    root, section = tree
    data_dir = prepare(
        data_trees.config(root, section, boxes(root, size=data_trees.SIZES[3]), on_leak="drop"), tmp_path
    )
    (record,) = (record for record in parsed(data_dir) if record["photo_id"].numpy() == b"coco:3")
    assert record["split"].numpy().tolist() == [b"val"]


def test_a_leak_by_content_is_found(tree, tmp_path):
    root, section = tree
    shutil.copy(root / "photos" / "000000000003.jpg", root / "own.jpg")
    (root / "own.jsonl").write_text(
        json.dumps({"image": "own.jpg", "objects": [{"expressions": ["it"], "box": [1, 1, 9, 9]}]})
    )
    own = {"kind": "manifest", "name": "own", "file": "own.jsonl"}
    with pytest.raises(DataError, match=r"own:own.jpg \(as coco:3, by content\)"):
        prepare(data_trees.config(root, section, own), tmp_path)


def test_real_photo_154_leaks_into_three_data_sets(shared_data, tmp_path):
    data = {
        "root": str(shared_data / "data"),
        "sources": [
            {
                "kind": "coco",
                "name": "refer_boxes",
                "refs": "refer_boxes/refs.json",
                "photos": "refer_boxes/images",
                "rename_splits": {"*": "train"},
            },
            {"kind": "refer", "name": "refer", "dataset": "refcoco", "split_by": "unc", "folder": "refer"},
        ],
    }
    with pytest.raises(DataError, match="coco:154"):
        prepare(parse_config({"data": data}), tmp_path)
    data["check"] = {"on_leak": "drop", "max_unknown_words": 1.0}
    data_dir = prepare(parse_config({"data": data}), tmp_path)
    assert "coco:154@256x256" not in photo_ids(data_dir, ["train"])
    assert len(photo_ids(data_dir, ["train"])) >= 310


def test_check_only_writes_the_report_alone(tree, tmp_path):
    root, section = tree
    data_dir = prepare(data_trees.config(root, section), tmp_path, check_only=True)
    assert sorted(contents(data_dir)) == ["check/report.html", "check/report.json"]
    with pytest.raises(DataError, match="run `lts prepare` first"):
        records.find_shards(data_dir)


def test_without_stopping_the_data_is_there_for_a_later_stage_to_judge(tree, tmp_path):
    root, section = tree
    config = data_trees.config(root, section, boxes(root))
    data_dir = prepare(config, tmp_path, stop=False)
    assert records.find_shards(data_dir)
    with pytest.raises(DataError, match="on_leak: stop"):
        validate(config, tmp_path)
    with pytest.raises(DataError, match="on_leak: stop"):
        prepare(config, tmp_path)


def test_no_photo_at_all_is_one_clear_line(tree, tmp_path):
    root, section = tree
    with pytest.raises(DataError, match="no photo with an expression"):
        prepare(data_trees.config(root, section | {"rename_splits": {"*": "drop"}}), tmp_path)
