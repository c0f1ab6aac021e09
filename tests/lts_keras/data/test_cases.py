"""The small inputs after public bug reports, each as its page of the issue says it must end."""

import pytest

from lts_keras.config.read import load_config
from lts_keras.data.checks.check import read_report
from lts_keras.data.prepare import records
from lts_keras.data.prepare.masks import decode_mask
from lts_keras.data.prepare.prepare import prepare
from lts_keras.data.schema import DataError


@pytest.fixture
def run(shared_data, tmp_path, monkeypatch):
    """Function of a case and its configuration: (objects by ref id, report); raises what `prepare` does."""
    folder = shared_data / "cases" / "data"
    if not folder.is_dir():
        pytest.skip(f"no folder of cases: {folder}")

    def run_case(name, config="config"):
        monkeypatch.chdir(folder / name)
        data_dir = prepare(load_config(f"{config}.yaml"), tmp_path / "work")
        found = {}
        for path in records.find_shards(data_dir):
            for serialized in records.read_records(path):
                record = records.parse_record(serialized)
                for place, ref_id in enumerate(record["ref_id"].numpy()):
                    name, dataset = ref_id.decode(), record["dataset"][place].numpy().decode()
                    assert (dataset, name) not in found
                    found[dataset, name] = _object(record, place)
        report = read_report(data_dir)
        assert report["objects"]["read"] == report["objects"]["kept"] + report["objects"]["left_out"]
        # The data set's name matters where there are two.
        names = {dataset for dataset, _ in found}
        return {name if len(names) == 1 else (dataset, name): item for (dataset, name), item in found.items()}, report

    return run_case


def _object(record, place):
    png = record["mask_png"][place].numpy()
    return {
        "photo": record["photo_id"].numpy().decode(),
        "bytes": record["image_bytes"].numpy(),
        "size": (int(record["height"]), int(record["width"])),
        "split": record["split"][place].numpy().decode(),
        "texts": {text.decode() for text in record["expressions"][place].numpy()},
        "mask": decode_mask(png) if png else None,
        "box": record["box"][place].numpy().tolist(),
    }


def kinds(report):
    return {finding["kind"] for finding in report["findings"]}


def reasons(report):
    return {row["reason"]: row["count"] for row in report["left_out"]}


@pytest.mark.parametrize("config", ["config", "split"])
def test_ids_are_local_to_a_coco_file(run, shared_data, config):
    found, report = run("two-coco-files", config)
    # Both annotations are number 0 of photo number 0, of two files.
    assert report["leaks"]["count"] == 0 and report["photos"]["total"] == 2
    splits = set()
    for task, photo, columns in (("task1", "a", (4, 20)), ("task2", "b", (40, 60))):
        (item,) = (one for one in found.values() if one["photo"].startswith(task))
        assert item["bytes"] == (shared_data / f"cases/data/two-coco-files/{task}/{photo}.png").read_bytes()
        assert item["mask"].any(0).nonzero()[0].tolist() == list(range(*columns))
        splits.add(item["split"])
    assert splits == ({"train"} if config == "config" else {"train", "val"})


def test_ids_are_local_to_a_manifest(run):
    found, _ = run("two-manifests-one-name")
    assert {(item["photo"], item["split"]) for item in found.values()} == {("own:a.png", "train"), ("own:b.png", "val")}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("annotation-id-twice", r"i.json: the id 7 stands twice: annotations\[0\] and annotations\[1\]"),
        ("image-id-twice", r"i.json: the id 1 stands twice: images\[0\] and images\[1\]"),
        ("half-an-emoji", r"refs.json: ref 1 \(refs\[0\]\): sentences\[0\]: .*half of a surrogate pair"),
    ],
)
def test_what_cannot_be_right_is_refused_by_name(run, name, words):
    with pytest.raises(DataError, match=words) as caught:
        run(name)
    assert str(caught.value).isascii() and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "found"), [("empty", r"\[\]"), ("five", r"\[2, 2, 14, 28, 0.5\]"), ("null", "null")]
)
def test_a_wrong_value_is_named_by_file_kind_id_and_key(run, config, found):
    with pytest.raises(DataError, match=rf"{config}.json: annotation 1 .*: bbox: expected: .*four.*Received: {found}"):
        run("coco-values-unnamed", config)


@pytest.mark.parametrize(("config", "size"), [("float", (48, 64)), ("float_id", (48, 64))])
def test_whole_floats_are_numbers(run, config, size):
    found, _ = run("coco-values-unnamed", config)
    assert [(item["size"], int(item["mask"].sum())) for item in found.values()] == [(size, 14 * 28)]


def test_the_orientation_is_applied_where_masks_were_drawn_upright(run):
    found, report = run("exif-orientation")
    (item,) = found.values()
    assert item["size"] == (64, 48) and item["mask"][4:20, 4:20].all() and item["mask"].sum() == 256
    assert "turned_photos" in kinds(report)


@pytest.mark.parametrize("config", ["config", "null", "no_refs"])
def test_no_segmentation_is_a_box_alone(run, config):
    found, _ = run("box-with-empty-segmentation", config)
    assert [(item["mask"], item["box"]) for item in found.values()] == [(None, [2, 2, 16, 30])]


def test_a_box_alone_is_a_rival(run):
    found, _ = run("box-beside-outline")
    assert len(found) == 2
    for item in found.values():
        assert item["texts"] and not item["texts"] & {"cup", "the cup", "a cup"}


@pytest.mark.parametrize(("config", "count"), [("config", 1), ("mixed", 2)])
def test_a_brush_mask_with_a_crowd_flag_is_read(run, config, count):
    found, report = run("crowd-flag-on-single-objects", config)
    assert len(found) == count and not report["left_out"]
    assert found["made:1"]["mask"].sum() == 14 * 28 and "the cup" in found["made:1"]["texts"]


@pytest.mark.parametrize(("config", "count"), [("config", 2), ("all_text", 1)])
def test_class_ids_compare_by_value(run, config, count):
    found, report = run("class-id-as-text", config)
    assert len(found) == count and "unknown_classes" not in kinds(report)
    assert any("the cup" in item["texts"] for item in found.values()) == (count == 1)
    assert all("cup" in " ".join(item["texts"]) for item in found.values())


def test_class_names_are_made_into_words(run):
    found, _ = run("class-names")
    assert "the alarm clock" in found["made:1"]["texts"] and "the pad for paper" in found["made:2"]["texts"]
    found, _ = run("class-names", "capitals")
    assert not found["made:1"]["texts"] & found["made:2"]["texts"]
    assert not {"cup", "the cup", "the Cup"} & (found["made:1"]["texts"] | found["made:2"]["texts"])


def test_mask_pictures_say_the_same_in_every_form(run):
    found, report = run("mask-pictures")
    for name in ("cutout.png", "mask.jpg", "palette.png"):
        assert found[name]["mask"].sum() == 256 and found[name]["box"] == [4, 4, 20, 20], name
    assert "jpeg_masks" in kinds(report)


def test_a_box_without_area_is_left_out_and_named(run, tmp_path):
    with pytest.raises(DataError, match="no photo with a usable object is left; box without area: refs.json:1: ref 1"):
        run("box-without-area")
    report = read_report(tmp_path / "work" / "data")
    assert "boxes_without_area" in kinds(report) and reasons(report) == {"box without area": 1}
